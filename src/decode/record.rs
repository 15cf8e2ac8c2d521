//! A record's bytes in the data model's JSON form.

use ipld_core::ipld::Ipld;
use serde_json::{Map, Value};

use super::cbor::check_canonical;
use super::{Reason, Reject};

/// Records may have at most this many bytes.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// Refuses bytes that cannot be a record: too many, not canonical, not a map.
pub fn check_record(bytes: &[u8]) -> Result<(), Reject> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(Reject::new(Reason::RecordTooLarge, format!("{} bytes", bytes.len())));
    }
    if bytes.first().is_none_or(|b| b >> 5 != 5) {
        return Err(Reject::new(Reason::BlockShape, "the record is not a map"));
    }
    check_canonical(bytes)
}

/// The record as JSON: links as `{"$link": …}`, bytes as `{"$bytes": …}`.
///
/// <https://atproto.com/specs/data-model#json-representation>
pub fn record_json(bytes: &[u8]) -> Result<Value, Reject> {
    check_record(bytes)?;
    let ipld: Ipld = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|e| Reject::new(Reason::BlockShape, format!("record cannot be read: {e}")))?;
    json(ipld)
}

fn json(value: Ipld) -> Result<Value, Reject> {
    Ok(match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(b) => b.into(),
        Ipld::Integer(i) => match i64::try_from(i) {
            Ok(i) => i.into(),
            Err(_) => return Err(Reject::new(Reason::IntegerRange, i.to_string())),
        },
        Ipld::Float(f) => return Err(Reject::new(Reason::Float, f.to_string())),
        Ipld::String(s) => s.into(),
        Ipld::Bytes(b) => tagged("$bytes", data_encoding::BASE64_NOPAD.encode(&b)),
        Ipld::Link(cid) => tagged("$link", cid.to_string()),
        Ipld::List(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        Ipld::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, Reject>>()?)
        }
    })
}

fn tagged(key: &str, text: String) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), text.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_bytes_have_their_json_form() {
        let cid = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i";
        let value: Ipld = Ipld::Map(
            [
                ("a".to_owned(), Ipld::Link(cid.parse().unwrap())),
                ("b".to_owned(), Ipld::Bytes(vec![0, 1, 2, 255])),
                ("c".to_owned(), Ipld::Integer(-7)),
            ]
            .into(),
        );
        let bytes = serde_ipld_dagcbor::to_vec(&value).unwrap();
        assert_eq!(
            record_json(&bytes).unwrap(),
            serde_json::json!({"a": {"$link": cid}, "b": {"$bytes": "AAEC/w"}, "c": -7})
        );
    }

    #[test]
    fn a_record_is_a_map_of_bounded_size() {
        assert_eq!(check_record(&[0x80]).unwrap_err().reason, Reason::BlockShape);
        assert_eq!(check_record(&[]).unwrap_err().reason, Reason::BlockShape);
        assert_eq!(check_record(&vec![0xa0; 1_000_001]).unwrap_err().reason, Reason::RecordTooLarge);
    }
}
