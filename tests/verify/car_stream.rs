//! CARs in pieces of every size against the same CARs whole.

use almanac::decode::{Car, CarPart, CarStream, MAX_SECTION_BYTES, Reason, Reject};
use almanac::devnet::car;
use almanac::devnet::cbor::cid_of;
use bytes::Bytes;

/// All parts, and how it ended.
fn read(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<CarPart>, Result<(), Reject>) {
    let mut stream = CarStream::new();
    let mut parts = vec![];
    for piece in pieces {
        stream.push(piece);
        loop {
            match stream.next_part() {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(reject) => return (parts, Err(reject)),
            }
        }
    }
    (parts, stream.finish())
}

fn pieces(bytes: &Bytes, size: usize) -> Vec<Bytes> {
    (0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size))).collect()
}

fn reason(bytes: &[u8]) -> Option<Reason> {
    let bytes = Bytes::copy_from_slice(bytes);
    let reasons: Vec<Option<Reason>> =
        [1, 3, bytes.len().max(1)].map(|size| read(pieces(&bytes, size)).1.err().map(|r| r.reason)).into();
    assert!(reasons.windows(2).all(|pair| pair[0] == pair[1]), "{reasons:?}");
    reasons[0]
}

#[test]
fn pieces_of_every_size_give_the_same_blocks() {
    let bytes: Bytes =
        std::fs::read("replay-fixtures/captures/pds-05-fifty-accounts/cars/since-3n2uygtihxx2l.car").unwrap().into();
    let whole = Car::parse(&bytes).unwrap();
    for size in (1..100).chain([1_000, 4_096, bytes.len() - 1, bytes.len()]) {
        let (parts, end) = read(pieces(&bytes, size));
        end.unwrap();
        assert_eq!(parts[0], CarPart::Root(whole.root()));
        assert_eq!(parts.len(), 1 + whole.len());
        for part in &parts[1..] {
            let CarPart::Block { cid, at, bytes: block } = part else { panic!("{part:?}") };
            assert_eq!(whole.block(cid, "block").unwrap(), block);
            assert_eq!(bytes[*at as usize..][..block.len()], block[..], "where the block stands");
        }
    }
}

#[test]
fn a_car_that_ends_too_early_is_told_from_one_that_ends() {
    let block = b"\xa0".repeat(300);
    let cid = cid_of(&block);
    let bytes = car::write(&cid, [(&cid, &block[..]), (&cid, &block[..])]);
    let section = 2 + 36 + block.len();
    let header = bytes.len() - 2 * section;
    for end in 0..=bytes.len() {
        let expected = match end {
            _ if end < header => Some(Reason::CarHeader),
            _ if (end - header).is_multiple_of(section) => None,
            _ => Some(Reason::CarLength),
        };
        assert_eq!(reason(&bytes[..end]), expected, "{end} bytes");
    }
}

#[test]
fn what_is_no_car_is_refused_at_once() {
    let block = b"\xa0".to_vec();
    let cid = cid_of(&block);
    let good = car::write(&cid, [(&cid, &block[..])]);
    let with = |more: &[u8]| [&good[..], more].concat();
    assert_eq!(reason(&good), None);
    assert_eq!(reason(b"<!doctype html><html><body>502 Bad Gateway</body></html>"), Some(Reason::CarHeader));
    assert_eq!(reason(&with(&[0])), Some(Reason::CarCid));
    assert_eq!(reason(&with(&[0x80, 0])), Some(Reason::CarLength));
    assert_eq!(reason(&with(&[0xff, 0xff, 0xff, 0x7f])), Some(Reason::CarLength));
    assert_eq!(reason(&with(&[0x80, 0x80, 0x80, 0x80, 1])), Some(Reason::CarLength));
    assert_eq!(reason(&with(&[2, 1, 2])), Some(Reason::CarCid));
    assert_eq!(reason(&[1, 0xa0]), Some(Reason::CarHeader));
}

/// What is kept between chunks is bounded by a section, whatever a length claims.
#[test]
fn sections_have_a_limit() {
    let cid = cid_of(b"");
    let largest = vec![0; MAX_SECTION_BYTES - 36];
    let good = car::write(&cid, [(&cid, &largest[..])]);
    assert_eq!(read([Bytes::from(good)]).1, Ok(()));
    let too_large = car::write(&cid, [(&cid, &[&largest[..], &[0]].concat()[..])]);
    // Refused by its length alone: the rest need not come.
    let start = Bytes::from(too_large).slice(..100);
    assert_eq!(read([start]).1.unwrap_err().reason, Reason::CarLength);
}
