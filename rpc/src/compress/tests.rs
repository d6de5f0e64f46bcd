//! Every compressor, whatever it is given; and the registry.

use proptest::prelude::*;

use super::*;

const KINDS: [CompressType; 4] =
    [CompressType::SNAPPY, CompressType::GZIP, CompressType::ZLIB, CompressType::LZ4];

proptest! {
    #[test]
    fn what_was_compressed_comes_back(
        word in proptest::collection::vec(any::<u8>(), 0..40),
        times in 0usize..2000,
        cut in any::<proptest::sample::Index>(),
    ) {
        let bytes = word.repeat(times);
        // Two pieces of memory that do not touch.
        let cut = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
        let mut body = IoBuf::new();
        body.append_user_data(bytes[..cut].to_vec());
        body.append_user_data(bytes[cut..].to_vec());
        for kind in KINDS {
            let small = compress(kind, &body).unwrap();
            prop_assert_eq!(&decompress(kind, &small, bytes.len()).unwrap(), &body);
            if let Some(less) = bytes.len().checked_sub(1) {
                prop_assert_eq!(decompress(kind, &small, less), Err(CompressError::TooLarge));
            }
        }
    }

    #[test]
    fn rubbish_is_refused_within_the_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in KINDS {
            if let Ok(out) = decompress(kind, &IoBuf::from(&bytes[..]), usize::MAX) {
                prop_assert!(out.len() <= GROWN_FREE);
            }
        }
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = IoBuf::from(vec![0; 16 << 20]);
    for kind in [CompressType::GZIP, CompressType::ZLIB, CompressType::LZ4] {
        let bomb = compress(kind, &zeros).unwrap();
        assert!(bomb.len() < (16 << 20) / GROWTH_MAX, "{}", bomb.len());
        assert_eq!(decompress(kind, &bomb, usize::MAX), Err(CompressError::TooLarge), "{}", name(kind));
    }
    // As dense as snappy can be.
    let bomb = compress(CompressType::SNAPPY, &zeros).unwrap();
    assert_eq!(decompress(CompressType::SNAPPY, &bomb, usize::MAX).unwrap(), zeros);
}

#[test]
fn a_declared_size_takes_no_memory() {
    let huge_snappy = IoBuf::from(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0][..]);
    let huge_lz4 = IoBuf::from(&[0xff, 0xff, 0xff, 0x7f, 0x10, 0][..]);
    for (kind, body) in [(CompressType::SNAPPY, huge_snappy), (CompressType::LZ4, huge_lz4)] {
        assert!(matches!(decompress(kind, &body, usize::MAX), Err(CompressError::Malformed(_))));
    }
}

#[test]
fn formats_are_not_taken_for_one_another_and_end_where_they_end() {
    let text = IoBuf::from("abc".repeat(100));
    for kind in KINDS {
        let good = compress(kind, &text).unwrap();
        let mut longer = good.clone();
        longer.append(b"x");
        assert!(decompress(kind, &longer, 1000).is_err(), "{}", name(kind));
        for size in 0..good.len() {
            let mut shorter = good.clone();
            assert!(decompress(kind, &shorter.cut(size), 1000).is_err(), "{} {size}", name(kind));
        }
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            assert_ne!(decompress(other, &good, 1000), Ok(text.clone()), "{} as {}", name(kind), name(other));
        }
    }
    assert!(decompress(CompressType::SNAPPY, &IoBuf::new(), 10).is_err(), "not even its size");
}

struct Reversed;

impl Compressor for Reversed {
    fn name(&self) -> &'static str {
        "reversed"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        Ok(body.to_vec().into_iter().rev().collect::<Vec<_>>().into())
    }

    fn decompress(&self, body: &IoBuf, _: usize) -> Result<IoBuf, CompressError> {
        self.compress(body)
    }
}

#[test]
fn users_give_numbers_a_meaning() {
    let kind = CompressType::new(700);
    assert_eq!((name(kind), compress(kind, &"abc".into())), ("unknown", Err(CompressError::Unregistered)));
    register(kind, &Reversed).unwrap();
    assert_eq!(name(kind), "reversed");
    assert_eq!(compress(kind, &"abc".into()).unwrap(), "cba");
    assert_eq!(decompress(kind, &"abc".into(), 2), Err(CompressError::TooLarge));
    for refused in [700, 0, 2, 1024, -1] {
        assert!(register(CompressType::new(refused), &Reversed).is_err(), "{refused}");
    }
    assert_eq!(names(), "snappy gzip zlib lz4 reversed");
}
