//! Messages from a file, cut into header and body, copied, merged and written to `/dev/null`: the loop that brpc's
//! documentation gives figures for (`spec/iobuf.md` §1.8). Run: `cargo bench -p bobbin-iobuf --bench file_to_null`.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::Buf;
use iobuf::{IoBuf, IoPortal, Reader};

/// Bytes of a header: a mark of eight and the length of the body.
const HEADER: usize = 12;
/// Bytes of the file.
const FILE_BYTES: usize = 8 << 20;
/// A read asks for so many bytes, and as many are merged before they are written.
const BATCH: usize = 256 << 10;
/// Each size is measured for so long.
const MEASURE: Duration = Duration::from_secs(1);

fn file_of_messages(body: usize) -> (File, usize) {
    let path = std::env::temp_dir().join(format!("iobuf-bench-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let mut message = b"messages".to_vec();
    message.extend((body as u32).to_be_bytes());
    message.resize(HEADER + body, b'b');
    let count = FILE_BYTES / message.len();
    file.write_all(&message.repeat(count)).unwrap();
    (file, count)
}

/// Reads the file from its beginning once, and returns the messages and bytes that went through.
fn pass(file: &File, null: &File) -> (usize, usize) {
    let (mut portal, mut merged) = (IoPortal::new(), IoBuf::new());
    let (mut messages, mut offset, mut written) = (0, 0, 0);
    loop {
        let n = portal.read_from_at(file.as_fd(), offset, BATCH).unwrap();
        offset += n as u64;
        while portal.len() >= HEADER {
            let mut reader = Reader::new(&portal);
            reader.advance(8);
            let body = reader.get_u32() as usize;
            if portal.len() < HEADER + body {
                break;
            }
            let (header, body) = (portal.cut(HEADER), portal.cut(body));
            let copy = body.clone();
            merged.append_buf(header);
            merged.append_buf(copy);
            drop(black_box(body));
            messages += 1;
        }
        while merged.len() >= BATCH || (n == 0 && !merged.is_empty()) {
            written += merged.write_to(null.as_fd(), usize::MAX).unwrap();
        }
        if n == 0 {
            return (messages, written);
        }
    }
}

fn main() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    println!("| message | messages a second | MB/s |\n|---|---|---|");
    for body in [16, 128, 1024, 16 << 10] {
        let (file, count) = file_of_messages(body);
        let (mut messages, mut bytes) = (0, 0);
        let start = Instant::now();
        while start.elapsed() < MEASURE {
            let (more, written) = pass(&file, &null);
            assert_eq!((more, written), (count, count * (HEADER + body)));
            messages += more;
            bytes += written;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "| {HEADER} + {body} B | {:.0} | {:.0} |",
            messages as f64 / seconds,
            bytes as f64 / seconds / 1e6
        );
    }
}
