//! A record's JSON form back into the bytes that its CID is over.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64_NOPAD};
use ipld_core::ipld::Ipld;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Cid, Codec};

/// The record's DAG-CBOR and the CID over it. What a JSON form may hide (a float, a link that is none) is an error.
///
/// <https://atproto.com/specs/data-model#json-representation>
pub fn encode_record(value: &Value) -> Result<(Vec<u8>, Cid), String> {
    if !value.is_object() {
        return Err("the record is not a map".to_owned());
    }
    let bytes = serde_ipld_dagcbor::to_vec(&ipld(value)?).map_err(|e| e.to_string())?;
    let cid = Cid::new(Codec::DagCbor, Sha256::digest(&bytes).into());
    Ok((bytes, cid))
}

// Nesting is bounded by the parser of the JSON.
fn ipld(value: &Value) -> Result<Ipld, String> {
    Ok(match value {
        Value::Null => Ipld::Null,
        Value::Bool(b) => Ipld::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(n) => Ipld::Integer(n.into()),
            None => return Err(format!("the number {n} is none that a record can hold")),
        },
        Value::String(s) => Ipld::String(s.clone()),
        Value::Array(items) => Ipld::List(items.iter().map(ipld).collect::<Result<_, _>>()?),
        Value::Object(entries) => match special(entries) {
            Some(special) => special?,
            None => {
                let entries = entries.iter().map(|(key, value)| Ok((key.clone(), ipld(value)?)));
                Ipld::Map(entries.collect::<Result<BTreeMap<_, _>, String>>()?)
            }
        },
    })
}

/// `{"$link": …}` and `{"$bytes": …}`.
fn special(entries: &serde_json::Map<String, Value>) -> Option<Result<Ipld, String>> {
    let (key, Value::String(text)) = entries.iter().next().filter(|_| entries.len() == 1)? else { return None };
    match key.as_str() {
        "$link" => Some(text.parse().map(Ipld::Link).map_err(|e| format!("{text:?} is no link: {e}"))),
        "$bytes" => {
            let digits = text.trim_end_matches('=');
            let decoded = BASE64_NOPAD.decode(digits.as_bytes()).or_else(|_| BASE64.decode(text.as_bytes()));
            Some(decoded.map(Ipld::Bytes).map_err(|e| format!("not base64: {e}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode::record_json;

    #[test]
    fn what_is_read_is_written_back_byte_for_byte() {
        let cid = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i";
        let record = json!({
            "$type": "x.y.z", "name": "…", "n": -7, "big": 9_007_199_254_740_993_i64, "none": null, "list": [true, {"a": 1}],
            "blob": {"$type": "blob", "ref": {"$link": cid}, "size": 5}, "bytes": {"$bytes": "AAEC/w"},
            "longer": 1, "b": 2,
        });
        let (bytes, _) = encode_record(&record).unwrap();
        assert_eq!(record_json(&bytes).unwrap(), record);
        // Padding is taken as well and changes nothing.
        let mut padded = record.clone();
        padded["bytes"]["$bytes"] = "AAEC/w==".into();
        assert_eq!(encode_record(&padded).unwrap().0, bytes);
    }

    #[test]
    fn what_no_record_can_hold_is_refused() {
        for bad in [
            json!([1]),
            json!({"a": 1.5}),
            json!({"a": {"$link": "x"}}),
            json!({"a": {"$bytes": "!"}}),
            json!({"a": u64::MAX}),
        ] {
            assert!(encode_record(&bad).is_err(), "{bad}");
        }
    }
}
