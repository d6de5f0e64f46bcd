//! nginx with one worker that answers by itself.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A folder with the configuration; gone with this value.
pub(crate) struct Nginx {
    folder: PathBuf,
}

impl Nginx {
    pub(crate) fn prepare(address: SocketAddr) -> Self {
        let folder =
            std::env::temp_dir().join(format!("bobbin-nginx-{}-{}", std::process::id(), address.port()));
        fs::create_dir(&folder).expect("a folder of its own");
        fs::write(folder.join("nginx.conf"), config(address)).expect("a configuration file");
        Nginx { folder }
    }

    pub(crate) fn args(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.display());
        ["-p", &folder, "-c", "nginx.conf", "-e", "error.log"].map(str::to_owned).to_vec()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Connections live as long as the client wants, as those of the other servers do.
fn config(address: SocketAddr) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_time 1d;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address} backlog=1024;
        location = /hello {{
            return 200 \"hello\\n\";
        }}
    }}
}}
"
    )
}
