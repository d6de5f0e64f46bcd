//! Everything about one connection, as `/sockets/ID` shows it: names and values in brpc's order, where we have the same
//! (`spec/builtin-services.md` §12). Reads alone.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Socket, clock};

impl Socket {
    /// The number of its descriptor.
    pub(crate) fn descriptor_number(&self) -> i32 {
        self.descriptor().as_raw_fd()
    }

    /// Names and values.
    pub(crate) fn dump(&self) -> Vec<(&'static str, String)> {
        let totals = self.totals();
        let last_read = self.input.traffic.last_at.load(Ordering::Relaxed); // a statistic
        let mut all = vec![
            ("version", (self.id() >> 32).to_string()),
            ("in_size", totals.in_bytes.to_string()),
            ("in_num_messages", totals.in_messages.to_string()),
            ("out_size", totals.out_bytes.to_string()),
            ("out_num_messages", totals.out_messages.to_string()),
            ("fd", self.descriptor_number().to_string()),
            ("remote_side", self.remote().to_string()),
            ("local_side", self.local().to_string()),
            ("role", format!("{:?}", self.role())),
            ("this_id", self.id().to_string()),
            ("preferred_index", self.input.protocol_index().to_string()),
            ("ssl_state", "SSL_OFF".to_owned()),
            ("protocol", self.protocol_name().unwrap_or("-").to_owned()),
            ("connected", self.is_connected().to_string()),
            ("peer_closed", self.is_peer_closed().to_string()),
            ("read_buf", self.input.buffered().map_or("being read".to_owned(), |bytes| bytes.to_string())),
            ("unwritten", self.unwritten().to_string()),
            ("overcrowded", self.is_overcrowded().to_string()),
        ];
        if last_read != 0 {
            let ago = clock::millis(Instant::now()).saturating_sub(last_read);
            all.push(("last_read_to_now", format!("{ago}ms")));
        }
        if let Some(info) = self.tcp_info() {
            all.push(("tcpi", format!("{info:#?}").replace("TcpInfo ", "")));
        }
        all
    }
}
