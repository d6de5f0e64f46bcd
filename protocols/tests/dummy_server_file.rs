//! The file that asks a running process for its pages. One test, as the process has one working directory.

use std::time::{Duration, Instant};

use protocols::Bundled;
use rpc::server::{DUMMY_SERVER_FILE, dummy_server_address, start_dummy_server_at};

#[test]
fn a_file_starts_the_server_of_a_process_with_a_channel() {
    let folder = std::env::temp_dir().join(format!("bobbin-dummy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    std::fs::write(DUMMY_SERVER_FILE, "0\n").unwrap();
    let channel = rpc::Channel::<Bundled>::builder().connect("127.0.0.1:1").unwrap();
    let begin = Instant::now();
    while dummy_server_address().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    assert!(start_dummy_server_at::<Bundled>(0).is_err());
    drop(channel);
    std::fs::remove_dir_all(&folder).unwrap();
}
