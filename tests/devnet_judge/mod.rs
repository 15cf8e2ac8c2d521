//! Other people's decoders, to judge what the generator writes: ciborium for CBOR,
//! serde_ipld_dagcbor for its canonical form, rs-car for CAR.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use almanac::event::Cid;
use ciborium::Value;

/// Decodes exactly one item, which must be in canonical form.
pub fn decode(bytes: &[u8]) -> Value {
    let strict: ipld_core::ipld::Ipld = serde_ipld_dagcbor::from_slice(bytes).unwrap();
    assert_eq!(serde_ipld_dagcbor::to_vec(&strict).unwrap(), bytes, "canonical form");
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes after the item", rest.len());
    value
}

/// Decodes a frame into header and body.
pub fn decode_frame(bytes: &[u8]) -> (Value, Value) {
    let mut rest = bytes;
    let _: Value = ciborium::from_reader(&mut rest).unwrap();
    (decode(&bytes[..bytes.len() - rest.len()]), decode(rest))
}

/// A field of a map.
pub fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map().unwrap().iter().find(|(k, _)| k.as_text() == Some(key)).map(|(_, value)| value)
}

/// A text field.
pub fn text<'a>(map: &'a Value, key: &str) -> Option<&'a str> {
    get(map, key).and_then(Value::as_text)
}

/// An integer field.
pub fn int(map: &Value, key: &str) -> Option<i64> {
    get(map, key).and_then(Value::as_integer).map(|n| n.try_into().unwrap())
}

/// A link, `None` for null.
pub fn link(value: &Value) -> Option<Cid> {
    match value {
        Value::Null => None,
        Value::Tag(42, inner) => {
            let bytes = inner.as_bytes().unwrap();
            assert_eq!(bytes[0], 0);
            Some(Cid::from_bytes(&bytes[1..]).unwrap())
        }
        other => panic!("not a link: {other:?}"),
    }
}

/// The blocks of a CAR in order, their hashes checked, and its one root.
pub fn read_car(car: &[u8]) -> (Vec<(Cid, Vec<u8>)>, Cid) {
    let mut reader = car;
    let reading = pin!(rs_car::car_read_all(&mut reader, true));
    // Reading from memory never waits.
    let Poll::Ready(read) = reading.poll(&mut Context::from_waker(Waker::noop())) else { panic!("memory was late") };
    let (blocks, header) = read.unwrap();
    assert_eq!((header.version as u64, header.roots.len()), (1, 1));
    let own = |cid: &rs_car::Cid| Cid::from_bytes(&cid.to_bytes()).unwrap();
    (blocks.iter().map(|(cid, bytes)| (own(cid), bytes.clone())).collect(), own(&header.roots[0]))
}
