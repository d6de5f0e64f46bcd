//! Random sequences of operations on a few buffers, checked against plain byte vectors.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use bytes::{Buf, BufMut};
use iobuf::{AlignedRoom, IoBuf, IoPortal, Reader, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

const BUFS: usize = 4;

/// Where [`Op::ThroughFile`] writes to; there is one test.
static FILE: OnceLock<File> = OnceLock::new();

/// One operation; the first number says on which buffer, a second one with whom.
#[derive(Clone, Debug)]
enum Op {
    Append(usize, Vec<u8>),
    AppendFill(usize, u8, usize),
    PushBack(usize, u8),
    UserData(usize, Vec<u8>),
    Write(usize, Vec<Vec<u8>>),
    Encode(usize, Vec<u8>),
    AppendBuf(usize, usize),
    AppendClone(usize, usize),
    CloneTo(usize, usize),
    Cut(usize, usize, usize),
    CutInto(usize, usize, usize),
    CutToSlice(usize, usize),
    CutUntil(usize, usize, Vec<u8>),
    PopFront(usize, usize),
    PopBack(usize, usize),
    AppendTo(usize, usize, usize, usize),
    Hole(usize, Vec<u8>, Vec<u8>, usize),
    CopyToBytes(usize, usize),
    Share(usize, usize, usize, usize),
    Elsewhere(usize, Vec<u8>),
    Slices(usize, Vec<Vec<u8>>),
    Resize(usize, usize, u8),
    MakeContiguous(usize),
    AppendFrom(usize, Vec<u8>, usize),
    WriteInto(usize, usize),
    ThroughFile(usize, usize),
    Aligned(usize, usize, usize),
    Clear(usize),
}

/// Few different bytes, so that delimiters occur; seldom more than a block of them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(0..4_u8, 0..40),
        2 => vec(0..4_u8, 0..2000),
        1 => (0..4_u8, 8000..17_000_usize).prop_map(|(byte, n)| {
            (0..n).map(|i| if i % 1000 == 0 { byte } else { 3 }).collect()
        }),
    ]
}

/// Mostly small, sometimes more than there is.
fn amount() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..30_usize, 3 => 0..3000_usize, 1 => 0..40_000_usize, 1 => Just(usize::MAX)]
}

fn op() -> impl Strategy<Value = Op> {
    let buf = || 0..BUFS;
    prop_oneof![
        4 => (buf(), bytes()).prop_map(|(i, data)| Op::Append(i, data)),
        1 => (buf(), any::<u8>(), 0..9000_usize).prop_map(|(i, byte, n)| Op::AppendFill(i, byte, n)),
        2 => (buf(), 0..4_u8).prop_map(|(i, byte)| Op::PushBack(i, byte)),
        3 => (buf(), bytes()).prop_map(|(i, data)| Op::UserData(i, data)),
        2 => (buf(), vec(bytes(), 0..4)).prop_map(|(i, parts)| Op::Write(i, parts)),
        1 => (buf(), bytes()).prop_map(|(i, data)| Op::Encode(i, data)),
        2 => (buf(), buf()).prop_map(|(i, j)| Op::AppendBuf(i, j)),
        1 => (buf(), buf()).prop_map(|(i, j)| Op::AppendClone(i, j)),
        1 => (buf(), buf()).prop_map(|(i, j)| Op::CloneTo(i, j)),
        3 => (buf(), buf(), amount()).prop_map(|(i, j, n)| Op::Cut(i, j, n)),
        3 => (buf(), buf(), amount()).prop_map(|(i, j, n)| Op::CutInto(i, j, n)),
        1 => (buf(), 0..3000_usize).prop_map(|(i, n)| Op::CutToSlice(i, n)),
        2 => (buf(), buf(), vec(0..4_u8, 0..5)).prop_map(|(i, j, delim)| Op::CutUntil(i, j, delim)),
        2 => (buf(), amount()).prop_map(|(i, n)| Op::PopFront(i, n)),
        2 => (buf(), amount()).prop_map(|(i, n)| Op::PopBack(i, n)),
        2 => (buf(), buf(), amount(), amount()).prop_map(|(i, j, n, pos)| Op::AppendTo(i, j, n, pos)),
        2 => (buf(), bytes(), bytes(), amount()).prop_map(|(i, hole, tail, n)| Op::Hole(i, hole, tail, n)),
        1 => (buf(), amount()).prop_map(|(i, n)| Op::CopyToBytes(i, n)),
        1 => (buf(), buf(), amount(), amount()).prop_map(|(i, j, skip, n)| Op::Share(i, j, skip, n)),
        1 => (buf(), bytes()).prop_map(|(i, data)| Op::Elsewhere(i, data)),
        1 => (buf(), vec(bytes(), 0..5)).prop_map(|(i, parts)| Op::Slices(i, parts)),
        1 => (buf(), 0..20_000_usize, 0..4_u8).prop_map(|(i, n, byte)| Op::Resize(i, n, byte)),
        1 => buf().prop_map(Op::MakeContiguous),
        2 => (buf(), bytes(), 1..100_000_usize).prop_map(|(i, data, max)| Op::AppendFrom(i, data, max)),
        1 => (buf(), amount()).prop_map(|(i, max)| Op::WriteInto(i, max)),
        2 => (buf(), 1..300_000_usize).prop_map(|(i, max)| Op::ThroughFile(i, max)),
        1 => (buf(), 0..10_000_usize, 0..13_u32).prop_map(|(i, n, log)| Op::Aligned(i, n, 1 << log)),
        1 => buf().prop_map(Op::Clear),
    ]
}

fn position(text: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { None } else { text.windows(needle.len()).position(|window| window == needle) }
}

#[derive(Default)]
struct World {
    bufs: [IoBuf; BUFS],
    models: [Vec<u8>; BUFS],
}

impl World {
    fn front(&mut self, i: usize, n: usize) -> Vec<u8> {
        let n = n.min(self.models[i].len());
        self.models[i].drain(..n).collect()
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Append(i, data) => {
                self.bufs[i].append(&data);
                self.models[i].extend(data);
            }
            Op::AppendFill(i, byte, n) => {
                self.bufs[i].append_fill(byte, n);
                self.models[i].extend(vec![byte; n]);
            }
            Op::PushBack(i, byte) => {
                self.bufs[i].push_back(byte);
                self.models[i].push(byte);
            }
            Op::UserData(i, data) => {
                self.bufs[i].append_user_data(data.clone());
                self.models[i].extend(data);
            }
            Op::Write(i, parts) => {
                let mut writer = Writer::new(&mut self.bufs[i]);
                for part in parts {
                    writer.put_slice(&part);
                    self.models[i].extend(part);
                }
                assert_eq!(writer.total_len(), self.models[i].len());
            }
            Op::Encode(i, data) => {
                (&mut self.bufs[i]).limit(data.len()).put_slice(&data);
                self.models[i].extend(data);
            }
            Op::AppendBuf(i, j) => {
                let (buf, model) = (std::mem::take(&mut self.bufs[j]), std::mem::take(&mut self.models[j]));
                self.bufs[i].append_buf(buf);
                self.models[i].extend(model);
            }
            Op::AppendClone(i, j) if self.models[j].len() < 100_000 => {
                let (buf, model) = (self.bufs[j].clone(), self.models[j].clone());
                self.bufs[i].append_buf(buf);
                self.models[i].extend(model);
            }
            Op::AppendClone(..) => {}
            Op::CloneTo(i, j) => {
                self.bufs[j] = self.bufs[i].clone();
                self.models[j] = self.models[i].clone();
            }
            Op::Cut(i, j, n) => {
                let (cut, model) = (self.bufs[i].cut(n), self.front(i, n));
                (self.bufs[j], self.models[j]) = (cut, model);
            }
            Op::CutInto(i, j, n) => {
                let mut out = std::mem::take(&mut self.bufs[j]);
                let mut out_model = std::mem::take(&mut self.models[j]);
                let model = self.front(i, n);
                assert_eq!(self.bufs[i].cut_into(&mut out, n), model.len());
                out_model.extend(model);
                (self.bufs[j], self.models[j]) = (out, out_model);
            }
            Op::CutToSlice(i, n) => {
                let mut slice = vec![0; n];
                let got = self.bufs[i].cut_to_slice(&mut slice);
                assert_eq!(slice[..got], self.front(i, n));
            }
            Op::CutUntil(i, j, delim) => {
                let at = position(&self.models[i], &delim);
                let cut = self.bufs[i].cut_until(&delim);
                assert_eq!(cut.as_ref().map(IoBuf::len), at);
                if let (Some(at), Some(cut)) = (at, cut) {
                    let model = self.front(i, at);
                    self.front(i, delim.len());
                    (self.bufs[j], self.models[j]) = (cut, model);
                }
            }
            Op::PopFront(i, n) => assert_eq!(self.bufs[i].pop_front(n), self.front(i, n).len()),
            Op::PopBack(i, n) => {
                let left = self.models[i].len().saturating_sub(n);
                assert_eq!(self.bufs[i].pop_back(n), self.models[i].len() - left);
                self.models[i].truncate(left);
            }
            Op::AppendTo(i, j, n, pos) => {
                let mut out = std::mem::take(&mut self.bufs[j]);
                let mut out_model = std::mem::take(&mut self.models[j]);
                let from = self.models[i].get(pos..).unwrap_or_default();
                let range = &from[..n.min(from.len())];
                assert_eq!(self.bufs[i].append_to(&mut out, n, pos), range.len());
                out_model.extend_from_slice(range);
                (self.bufs[j], self.models[j]) = (out, out_model);
            }
            Op::Hole(i, hole, tail, n) => {
                let area = self.bufs[i].reserve(hole.len());
                self.bufs[i].append(&tail);
                let n = n.min(self.models[i].len());
                self.bufs[i].pop_front(n);
                let before = self.bufs[i].clone();
                self.front(i, n);
                self.bufs[i].assign(area, &hole);
                let zeros = [&self.models[i][..], &vec![0; hole.len()], &tail].concat();
                assert_eq!(before, zeros, "a clone keeps what it saw");
                self.models[i].extend(hole);
                self.models[i].extend(tail);
            }
            Op::CopyToBytes(i, n) => {
                let n = n.min(self.models[i].len());
                let bytes = self.bufs[i].copy_to_bytes(n);
                assert_eq!(bytes, self.front(i, n));
            }
            Op::Share(i, j, skip, n) => {
                let skip = skip.min(self.models[i].len());
                let mut reader = Reader::new(&self.bufs[i]);
                reader.advance(skip);
                let shared = reader.share(n);
                let end = self.models[i].len().min(skip.saturating_add(n));
                assert_eq!((reader.position(), reader.remaining()), (end, self.models[i].len() - end));
                let model = self.models[i][skip..end].to_vec();
                (self.bufs[j], self.models[j]) = (shared, model);
            }
            Op::Elsewhere(i, data) => {
                // The same buffer on a thread with blocks of its own.
                let mut buf = std::mem::take(&mut self.bufs[i]);
                self.models[i].extend(&data);
                let thread = std::thread::spawn(move || {
                    buf.append(&data);
                    buf
                });
                self.bufs[i] = thread.join().unwrap();
            }
            Op::Slices(i, parts) => {
                let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
                self.bufs[i].append_slices(&slices);
                self.models[i].extend(parts.concat());
            }
            Op::Resize(i, n, byte) => {
                self.bufs[i].resize(n, byte);
                self.models[i].resize(n, byte);
            }
            Op::MakeContiguous(i) => {
                let before = self.bufs[i].clone();
                assert_eq!(self.bufs[i].make_contiguous(), self.models[i]);
                assert!(self.bufs[i].block_count() <= 1);
                assert_eq!(before, self.bufs[i]);
            }
            Op::AppendFrom(i, data, max) => {
                let mut reader = &data[..];
                let n = self.bufs[i].append_from(&mut reader, max).unwrap();
                assert!(n <= max.min(data.len()) && (n > 0 || data.is_empty()));
                self.models[i].extend(&data[..n]);
            }
            Op::WriteInto(i, max) => {
                let mut written = Vec::new();
                let n = self.bufs[i].write_into(&mut written, max).unwrap();
                assert!(n <= max && (n > 0 || max == 0 || self.models[i].is_empty()));
                assert_eq!(written, self.front(i, n));
            }
            Op::ThroughFile(i, max) => self.through_file(i, max),
            Op::Aligned(i, n, align) => {
                let mut room = AlignedRoom::new(n, align).unwrap();
                room.pieces_mut().for_each(|piece| piece.fill(2));
                room.append_to(&mut self.bufs[i], n);
                self.models[i].extend(vec![2; n]);
            }
            Op::Clear(i) => {
                self.bufs[i].clear();
                self.models[i].clear();
            }
        }
    }

    /// Writes a buffer to a file and reads it back, a large read at a time or many small ones.
    fn through_file(&mut self, i: usize, max: usize) {
        let file = FILE.get_or_init(|| {
            let path = std::env::temp_dir().join(format!("iobuf-model-{}", std::process::id()));
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            file
        });
        let mut written = 0;
        while !self.bufs[i].is_empty() {
            written += self.bufs[i].write_to_at(file.as_fd(), written as u64, usize::MAX).unwrap();
        }
        assert_eq!(written, self.models[i].len());
        let mut portal = IoPortal::new();
        while portal.len() < written {
            let n = max.min(written - portal.len());
            let got = portal.read_from_at(file.as_fd(), portal.len() as u64, n).unwrap();
            assert!(got > 0 && got <= n);
            if got.is_multiple_of(3) {
                portal.return_cached_blocks();
            }
        }
        self.bufs[i] = portal.into_buf();
    }

    fn check(&self) {
        for (buf, model) in self.bufs.iter().zip(&self.models) {
            assert_eq!((buf.len(), buf.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(buf, model);
        }
    }

    fn check_views(&self) {
        for (buf, model) in self.bufs.iter().zip(&self.models) {
            assert_eq!(buf.slices().count(), buf.block_count());
            assert!(buf.slices().all(|slice| !slice.is_empty()));
            assert!(buf.slices().rev().eq(buf.slices().collect::<Vec<_>>().into_iter().rev()));
            let from = model.len() / 3;
            for needle in [&[1][..], &[1, 2], &[0, 1, 0], &[3; 20]] {
                let expected = position(&model[from..], needle).map(|at| from + at);
                assert_eq!(buf.find(needle, from), expected);
            }
            for n in [0, 1, 13, model.len() / 2, model.len(), model.len() + 1] {
                assert_eq!(buf.fetch(&mut vec![0xee; n]), model.get(..n));
            }
        }
        for (buf, model) in self.bufs.iter().zip(&self.models) {
            assert!(buf.iter().eq(model.iter().copied()));
            assert!(buf.iter().rev().eq(model.iter().rev().copied()));
            let (mut iter, mut bytes) = (buf.iter(), model.iter());
            while let (Some(byte), Some(last)) = (iter.next(), iter.next_back()) {
                assert_eq!((Some(&byte), Some(&last)), (bytes.next(), bytes.next_back()));
                assert_eq!(iter.len(), bytes.len());
            }
        }
        for (i, j) in [(0, 1), (1, 2), (2, 3)] {
            assert_eq!(self.bufs[i] == self.bufs[j], self.models[i] == self.models[j]);
            assert_eq!(self.bufs[i].cmp(&self.bufs[j]), self.models[i].cmp(&self.models[j]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_byte_vectors(ops in vec(op(), 1..60)) {
        let mut world = World::default();
        for op in ops {
            world.run(op);
            world.check();
        }
        world.check_views();
    }
}
