//! Everything about one connection, as `/sockets/ID` shows it: names and values in brpc's order, where we have the same
//! (`spec/builtin-services.md` §12). Reads alone.

use std::os::fd::AsRawFd;

use super::Socket;

impl Socket {
    /// The number of its descriptor, if it has one.
    pub(crate) fn descriptor_number(&self) -> Option<i32> {
        self.descriptor().map(|descriptor| descriptor.as_raw_fd())
    }

    /// Names and values.
    pub(crate) fn dump(&self) -> Vec<(&'static str, String)> {
        let totals = self.totals();
        let mut all = vec![
            ("version", (self.id() >> 32).to_string()),
            ("in_size", totals.in_bytes.to_string()),
            ("in_num_messages", totals.in_messages.to_string()),
            ("out_size", totals.out_bytes.to_string()),
            ("out_num_messages", totals.out_messages.to_string()),
            ("fd", self.descriptor_number().map_or_else(|| "-".to_owned(), |number| number.to_string())),
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
        if let Some(silent) = self.silent_for() {
            all.push(("last_read_to_now", format!("{}ms", silent.as_millis())));
        }
        if let Some(info) = self.tcp_info() {
            all.push(("tcpi", format!("{info:#?}").replace("TcpInfo ", "")));
        }
        all
    }
}
