//! CAR v1, the writing half only. Spec: <https://ipld.io/specs/transport/car/carv1/>.

use super::cbor::Value;
use crate::event::Cid;

/// Writes a CAR with one root. Blocks stand in the order given; nothing checks that they match their CIDs.
pub fn write<'a>(root: &Cid, blocks: impl IntoIterator<Item = (&'a Cid, &'a [u8])>) -> Vec<u8> {
    let mut out = header(Some(root));
    out.reserve(8 * 1024);
    blocks.into_iter().for_each(|(cid, bytes)| put_block(&mut out, cid, bytes));
    out
}

/// The head of a CAR with one root or none. Blocks follow it.
pub fn header(root: Option<&Cid>) -> Vec<u8> {
    let roots = root.map(|root| Value::Link(*root)).into_iter().collect();
    let header = Value::map([("version", Value::Int(1)), ("roots", Value::List(roots))]).encode();
    let mut out = Vec::with_capacity(header.len() + 2);
    put_varint(&mut out, header.len() as u64);
    out.extend(header);
    out
}

/// Appends one block.
pub fn put_block(out: &mut Vec<u8>, cid: &Cid, bytes: &[u8]) {
    put_varint(out, (Cid::LEN + bytes.len()) as u64);
    out.extend(cid.to_bytes());
    out.extend_from_slice(bytes);
}

/// Appends an unsigned LEB128 number.
fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_carry_seven_bits_a_byte() {
        let mut out = Vec::new();
        put_varint(&mut out, 127);
        put_varint(&mut out, 300);
        assert_eq!(out, [0x7f, 0xac, 0x02]);
    }
}
