//! Protobuf messages encoded into and decoded from buffers, without a copy in between.

use iobuf::{BLOCK_PAYLOAD, IoBuf, Reader, Writer};
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Inner {
    #[prost(sint64, tag = "1")]
    number: i64,
    #[prost(string, tag = "20000")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Outer {
    #[prost(bytes = "vec", tag = "1")]
    copied: Vec<u8>,
    #[prost(bytes = "bytes", tag = "2")]
    shared: bytes::Bytes,
    #[prost(message, repeated, tag = "3")]
    inner: Vec<Inner>,
    #[prost(fixed32, repeated, tag = "4")]
    packed: Vec<u32>,
    #[prost(double, tag = "5")]
    ratio: f64,
}

fn outer() -> impl Strategy<Value = Outer> {
    let data =
        || prop_oneof![proptest::collection::vec(any::<u8>(), 0..100), Just(vec![7; 3 * BLOCK_PAYLOAD])];
    let inner = (any::<i64>(), "[a-z]{0,30}").prop_map(|(number, name)| Inner { number, name });
    let lists = (proptest::collection::vec(inner, 0..20), proptest::collection::vec(any::<u32>(), 0..50));
    (data(), data(), lists, -1e9..1e9_f64).prop_map(|(copied, shared, (inner, packed), ratio)| Outer {
        copied,
        shared: shared.into(),
        inner,
        packed,
        ratio,
    })
}

/// The same bytes in pieces of `n`.
fn scattered(bytes: &[u8], n: usize) -> IoBuf {
    bytes.chunks(n).fold(IoBuf::new(), |mut buf, chunk| {
        buf.append_user_data(chunk.to_vec());
        buf
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trips(message in outer(), piece in 1..40_usize) {
        let expected = message.encode_to_vec();
        let mut direct = IoBuf::new();
        message.encode(&mut direct).unwrap();
        prop_assert_eq!(&direct, &expected);
        let mut written = IoBuf::from("#");
        message.encode_length_delimited(&mut Writer::new(&mut written)).unwrap();
        prop_assert_eq!(written.pop_front(1), 1);

        prop_assert_eq!(&Outer::decode(direct.clone()).unwrap(), &message);
        prop_assert_eq!(&Outer::decode(Reader::new(&direct)).unwrap(), &message);
        prop_assert_eq!(&Outer::decode_length_delimited(&mut written).unwrap(), &message);
        prop_assert!(written.is_empty());
        let pieces = scattered(&expected, piece);
        prop_assert_eq!(&Outer::decode(Reader::new(&pieces)).unwrap(), &message);
        prop_assert_eq!(&Outer::decode(pieces).unwrap(), &message);
    }

    #[test]
    fn bad_input_is_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1..10_usize) {
        let buf = scattered(&bytes, piece);
        let (lent, owned) = (Outer::decode(Reader::new(&buf)), Outer::decode(buf));
        let plain = Outer::decode(&bytes[..]);
        prop_assert_eq!(lent.is_ok(), plain.is_ok());
        prop_assert_eq!(owned.is_ok(), plain.is_ok());
    }
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_message() {
    let message = Outer { copied: vec![1; 300], ratio: 0.5, packed: vec![1, 2, 3], ..Outer::default() };
    let bytes = message.encode_to_vec();
    for n in 0..bytes.len() {
        let buf = scattered(&bytes[..n], 7);
        assert_eq!(Outer::decode(Reader::new(&buf)).ok(), Outer::decode(&bytes[..n]).ok());
    }
}
