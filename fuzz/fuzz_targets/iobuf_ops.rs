//! Runs operations that the bytes spell on three buffers and on byte vectors, and compares.
#![no_main]

use std::collections::VecDeque;

use iobuf::{AlignedRoom, IoBuf, Reader, Writer};

const BUFS: usize = 3;
/// More than this no buffer gets, so that one run stays short.
const LEN_MAX: usize = 1 << 20;

/// Reads numbers off the input; zeros behind its end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn index(&mut self) -> usize {
        usize::from(self.byte()) % BUFS
    }

    /// Mostly small, sometimes several blocks.
    fn amount(&mut self) -> usize {
        let n = usize::from(self.byte());
        match n % 4 {
            0 => n * 300,
            1 => n * 8 + usize::from(self.byte()),
            _ => n / 4,
        }
    }
}

#[derive(Default)]
struct Pair {
    buf: IoBuf,
    model: VecDeque<u8>,
}

impl Pair {
    fn front(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.model.len());
        self.model.drain(..n).collect()
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.model.extend(bytes);
    }

    fn check(&mut self) {
        assert_eq!(self.buf.len(), self.model.len());
        assert_eq!(self.buf, *self.model.make_contiguous());
        assert!(self.buf.slices().all(|slice| !slice.is_empty()));
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut numbers = Numbers(data);
    let mut pairs: [Pair; BUFS] = Default::default();
    while !numbers.0.is_empty() {
        step(&mut numbers, &mut pairs);
        pairs.iter_mut().for_each(Pair::check);
    }
});

fn step(numbers: &mut Numbers<'_>, pairs: &mut [Pair; BUFS]) {
    let op = numbers.byte();
    let (i, j) = (numbers.index(), numbers.index());
    let n = numbers.amount();
    let bytes: Vec<u8> = (0..n).map(|at| (at as u8).wrapping_mul(op | 1)).collect();
    let mut other = std::mem::take(&mut pairs[j]);
    // The buffer itself, if both are the same, is empty meanwhile.
    let pair = &mut pairs[i];
    if pair.buf.len() + other.buf.len() + n > LEN_MAX {
        return;
    }
    match op % 20 {
        0 => {
            pair.buf.append(&bytes);
            pair.extend(&bytes);
        }
        1 => {
            pair.buf.append_fill(op, n);
            pair.extend(&vec![op; n]);
        }
        2 => {
            pair.extend(&bytes);
            pair.buf.append_user_data(bytes);
        }
        3 => {
            let mut writer = Writer::new(&mut pair.buf);
            bytes.chunks(7).for_each(|chunk| bytes::BufMut::put_slice(&mut writer, chunk));
            drop(writer);
            pair.extend(&bytes);
        }
        4 => {
            let buf = std::mem::take(&mut other.buf);
            pair.buf.append_buf(buf);
            pair.model.append(&mut other.model);
        }
        5 => {
            pair.buf.append_buf(other.buf.clone());
            pair.model.extend(&other.model);
        }
        6 => {
            let cut = other.buf.cut(n);
            pair.buf.append_buf(cut);
            let front = other.front(n);
            pair.extend(&front);
        }
        7 => {
            let moved = other.buf.cut_into(&mut pair.buf, n);
            let front = other.front(n);
            assert_eq!(moved, front.len());
            pair.extend(&front);
        }
        8 => {
            assert_eq!(pair.buf.pop_front(n), pair.front(n).len());
        }
        9 => {
            let left = pair.model.len().saturating_sub(n);
            assert_eq!(pair.buf.pop_back(n), pair.model.len() - left);
            pair.model.truncate(left);
        }
        10 => {
            let delim = &bytes[..n.min(12)];
            let all = pair.model.make_contiguous();
            let at = (!delim.is_empty())
                .then(|| all.windows(delim.len()).position(|window| window == delim))
                .flatten();
            let cut = pair.buf.cut_until(delim);
            assert_eq!(cut.as_ref().map(IoBuf::len), at);
            if let Some(at) = at {
                assert_eq!(cut.unwrap(), pair.front(at));
                pair.front(delim.len());
            }
        }
        11 => {
            let area = pair.buf.reserve(n);
            pair.buf.append(b"tail");
            let front = numbers.amount();
            pair.buf.pop_front(front.min(pair.model.len()));
            pair.front(front);
            pair.buf.assign(area, &bytes);
            pair.extend(&bytes);
            pair.extend(b"tail");
        }
        12 => {
            let pos = numbers.amount();
            let shared = other.buf.append_to(&mut pair.buf, n, pos);
            let range: Vec<u8> = other.model.iter().copied().skip(pos).take(n).collect();
            assert_eq!(shared, range.len());
            pair.extend(&range);
        }
        13 => {
            pair.buf.resize(n, op);
            pair.model.resize(n, op);
        }
        14 => {
            assert_eq!(pair.buf.make_contiguous(), &*pair.model.make_contiguous());
        }
        15 => {
            let read = pair.buf.append_from(&mut &bytes[..], n.max(1)).unwrap();
            pair.extend(&bytes[..read]);
        }
        16 => {
            let mut written = Vec::new();
            let taken = pair.buf.write_into(&mut written, n).unwrap();
            assert_eq!(written, pair.front(taken));
        }
        17 => {
            let mut room = AlignedRoom::new(n, 1 << (op % 13)).unwrap();
            room.pieces_mut().for_each(|piece| piece.fill(op));
            room.append_to(&mut pair.buf, n);
            pair.extend(&vec![op; n]);
        }
        18 => {
            let mut reader = Reader::new(&other.buf);
            let skip = numbers.amount().min(other.model.len());
            bytes::Buf::advance(&mut reader, skip);
            pair.buf.append_buf(reader.share(n));
            let range: Vec<u8> = other.model.iter().copied().skip(skip).take(n).collect();
            pair.extend(&range);
        }
        _ => {
            let order = pair.buf.cmp(&other.buf);
            assert_eq!(order, pair.model.make_contiguous().cmp(&other.model.make_contiguous()));
            assert_eq!(pair.buf.fetch(&mut vec![0; n]), pair.model.make_contiguous().get(..n));
        }
    }
    if i != j {
        pairs[j] = other;
    } else {
        pairs[i].buf.append_buf(other.buf);
        pairs[i].model.append(&mut other.model);
    }
}
