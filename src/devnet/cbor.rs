//! DAG-CBOR, the writing half only: values in, their one canonical byte form out.
//!
//! Canonical means: shortest heads, definite lengths, map keys sorted by length and then bytewise, links under tag 42.
//! Floats cannot be written because AT Protocol data has none. Spec: <https://atproto.com/specs/data-model>.

use sha2::{Digest, Sha256};

use crate::event::{Cid, Codec};

/// A value of the AT Protocol data model.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// A map. Keys may be given in any order; a key given twice is written twice, which no reader accepts.
    Map(Vec<(String, Value)>),
    /// A link to a block.
    Link(Cid),
}

impl Value {
    /// A map of these fields.
    pub fn map<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Self {
        Value::Map(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    /// A link, or null where there is nothing to link to.
    pub fn link_or_null(cid: Option<Cid>) -> Self {
        cid.map_or(Value::Null, Value::Link)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        out
    }

    /// Appends the canonical bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => put_null(out),
            Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
            Value::Int(n) => put_int(out, *n),
            Value::Bytes(b) => put_bytes(out, b),
            Value::Text(t) => put_text(out, t),
            Value::List(items) => {
                put_head(out, 4, items.len() as u64);
                items.iter().for_each(|item| item.encode_into(out));
            }
            Value::Map(fields) => {
                let mut order: Vec<&(String, Value)> = fields.iter().collect();
                order.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
                put_head(out, 5, order.len() as u64);
                for (key, value) in order {
                    put_text(out, key);
                    value.encode_into(out);
                }
            }
            Value::Link(cid) => put_link(out, cid),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

/// The CID of a DAG-CBOR block.
pub fn cid_of(block: &[u8]) -> Cid {
    Cid::new(Codec::DagCbor, Sha256::digest(block).into())
}

/// Appends the head of an item: major type 0 to 7 and its argument in the shortest form.
pub fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    if argument < 24 {
        out.push(major | argument as u8);
    } else if let Ok(n) = u8::try_from(argument) {
        out.extend([major | 24, n]);
    } else if let Ok(n) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend(n.to_be_bytes());
    } else if let Ok(n) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend(n.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend(argument.to_be_bytes());
    }
}

/// Appends an integer.
pub fn put_int(out: &mut Vec<u8>, n: i64) {
    if n < 0 { put_head(out, 1, !(n as u64)) } else { put_head(out, 0, n as u64) }
}

/// Appends a text string.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a byte string.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a link: tag 42 over the binary CID behind a zero byte.
pub fn put_link(out: &mut Vec<u8>, cid: &Cid) {
    out.extend([0xd8, 42]);
    put_head(out, 2, Cid::LEN as u64 + 1);
    out.push(0);
    out.extend(cid.to_bytes());
}

/// Appends `null`.
pub fn put_null(out: &mut Vec<u8>) {
    out.push(0xf6);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, hex: &str) {
        assert_eq!(data_encoding::HEXLOWER.encode(&value.encode()), hex, "{value:?}");
    }

    #[test]
    fn heads_are_the_shortest() {
        check(Value::Int(23), "17");
        check(Value::Int(24), "1818");
        check(Value::Int(256), "190100");
        check(Value::Int(65_536), "1a00010000");
        check(Value::Int(1 << 32), "1b0000000100000000");
        check(Value::Int(-1), "20");
        check(Value::Int(-500), "3901f3");
        check(Value::Int(i64::MIN), "3b7fffffffffffffff");
    }

    #[test]
    fn map_keys_go_by_length_and_then_bytes() {
        let map = Value::map([("aa", Value::Int(1)), ("b", Value::Null), ("a", Value::Bool(true))]);
        check(map, "a36161f56162f662616101");
        check(Value::List(vec![Value::text("é"), Value::Bytes(vec![1, 2])]), "8262c3a9420102");
    }

    #[test]
    fn the_empty_tree_has_its_well_known_cid() {
        let block = Value::map([("l", Value::Null), ("e", Value::List(vec![]))]).encode();
        assert_eq!(cid_of(&block).to_string(), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    }
}
