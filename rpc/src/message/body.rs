//! A message body about to be written: its size, and its bytes where the frame wants them.
//!
//! The codec of a protocol sees bodies through [`Body`] and needs to know no message type.

use iobuf::{IoBuf, Writer};

/// Messages up to this size are encoded on the stack and appended in one piece.
const ON_STACK_MAX: usize = 512;

/// Something that can be written as the body of a frame.
pub trait Body {
    /// Its size in bytes; the same as long as the body is borrowed.
    fn size(&self) -> usize;

    /// Writes it into exactly [`size`](Self::size) bytes.
    ///
    /// # Panics
    /// If `out` has another size.
    fn copy_into(&self, out: &mut [u8]);

    /// Appends it, without copying where its bytes are shared blocks already.
    fn append_to(&self, out: &mut IoBuf);
}

/// A protobuf message as a [`Body`].
#[derive(Debug)]
pub struct MessageBody<'a, M>(pub &'a M);

impl<M: prost::Message> Body for MessageBody<'_, M> {
    fn size(&self) -> usize {
        self.0.encoded_len()
    }

    fn copy_into(&self, mut out: &mut [u8]) {
        self.0.encode(&mut out).expect("the caller gave as many bytes as the message has");
        assert!(out.is_empty());
    }

    fn append_to(&self, out: &mut IoBuf) {
        let size = self.size();
        if size <= ON_STACK_MAX {
            let mut stack = [0; ON_STACK_MAX];
            self.copy_into(&mut stack[..size]);
            out.append(&stack[..size]);
        } else {
            self.0.encode(&mut Writer::new(out)).expect("an IoBuf has room for every message");
        }
    }
}

/// Bytes that are encoded already.
impl Body for IoBuf {
    fn size(&self) -> usize {
        self.len()
    }

    fn copy_into(&self, out: &mut [u8]) {
        assert_eq!(self.copy_to(out, 0), out.len());
    }

    fn append_to(&self, out: &mut IoBuf) {
        out.append_buf(self.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Text;
    use super::*;
    use prost::Message;

    #[test]
    fn both_ways_of_writing_give_the_same_bytes() {
        for size in [0, 1, 100, ON_STACK_MAX - 4, ON_STACK_MAX, 100_000] {
            let text = Text { message: "z".repeat(size), number: None };
            let body = MessageBody(&text);
            let mut appended = IoBuf::new();
            body.append_to(&mut appended);
            let mut copied = vec![0; body.size()];
            body.copy_into(&mut copied);
            assert_eq!(copied, text.encode_to_vec());
            assert_eq!(appended.to_vec(), copied);
            let mut again = IoBuf::new();
            Body::append_to(&appended, &mut again);
            assert_eq!(again.to_vec(), copied);
            assert_eq!(appended.size(), copied.len());
        }
    }
}
