//! Server-sent events (HTML Living Standard §9.2): records of lines in a body that goes on.

use std::time::{Duration, Instant};

use iobuf::IoBuf;
use rpc::RpcError;

use super::progressive::ProgressiveAttachment;

/// One event, to be sent with [`EventStream::send`].
///
/// ```
/// use protocols::http::Event;
/// let event = Event::new("two\nlines").event("news").id("7");
/// assert_eq!(event.to_string(), "id: 7\nevent: news\ndata: two\ndata: lines\n\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Event {
    id: Option<String>,
    event: Option<String>,
    data: String,
    retry: Option<Duration>,
}

impl Event {
    /// An event with this data. Lines may end in LF, CR or both; the receiver sees LF.
    pub fn new(data: impl Into<String>) -> Self {
        Event { data: data.into(), ..Event::default() }
    }

    /// The name of the event; `message` if there is none. Ends of lines in it become blanks.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// What a receiver that comes back names as `Last-Event-ID`. Ends of lines in it become blanks, and so does NUL.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// How long a receiver waits before it comes back, in whole milliseconds.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }
}

/// The event as it is sent.
impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(id) = &self.id {
            writeln!(f, "id: {}", one_line(id))?;
        }
        if let Some(event) = &self.event {
            writeln!(f, "event: {}", one_line(event))?;
        }
        if let Some(retry) = self.retry {
            writeln!(f, "retry: {}", retry.as_millis())?;
        }
        for line in lines(&self.data) {
            writeln!(f, "data: {line}")?;
        }
        f.write_str("\n")
    }
}

/// The lines of a text: what a receiver takes for the end of a line ends one here, so that no text can forge a field.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\r', '\n']) {
            None => {
                rest = None;
                Some(text)
            }
            Some(end) => {
                let behind = &text[end..];
                rest = Some(behind.strip_prefix("\r\n").unwrap_or(&behind[1..]));
                Some(&text[..end])
            }
        }
    })
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n', '\0'], " ")
}

/// A body of events that is written while it is read. Made by
/// [`HttpCall::event_stream`](super::HttpCall::event_stream); the body ends when it is dropped.
#[derive(Debug)]
pub struct EventStream {
    body: ProgressiveAttachment,
}

impl EventStream {
    pub(super) fn new(body: ProgressiveAttachment) -> Self {
        EventStream { body }
    }

    /// Sends an event. Never blocks; see [`wait_for_room`](Self::wait_for_room).
    ///
    /// # Errors
    /// As [`ProgressiveAttachment::write`].
    pub fn send(&self, event: &Event) -> Result<(), RpcError> {
        self.body.write(event.to_string())
    }

    /// Sends a line that receivers ignore; proxies close connections that are silent for long. Never blocks.
    ///
    /// # Errors
    /// As [`ProgressiveAttachment::write`].
    pub fn comment(&self, text: &str) -> Result<(), RpcError> {
        let mut out = IoBuf::new();
        lines(text).for_each(|line| out.append(format!(": {line}\n").as_bytes()));
        out.append(b"\n");
        self.body.write(out)
    }

    /// As [`ProgressiveAttachment::wait_for_room`]; parks the bthread.
    ///
    /// # Errors
    /// As there.
    pub fn wait_for_room(&self, unwritten: usize, deadline: Option<Instant>) -> Result<(), RpcError> {
        self.body.wait_for_room(unwritten, deadline)
    }

    /// The body beneath.
    pub fn body(&self) -> &ProgressiveAttachment {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_forges_a_field() {
        let event = Event::new("a\r\nid: 2\revent: x\n")
            .event("e\nid: 3")
            .id("1\r\n\0")
            .retry(Duration::from_secs(2));
        let sent = "id: 1   \nevent: e id: 3\nretry: 2000\ndata: a\ndata: id: 2\ndata: event: x\ndata: \n\n";
        assert_eq!(event.to_string(), sent);
        assert_eq!(Event::new("").to_string(), "data: \n\n");
    }
}
