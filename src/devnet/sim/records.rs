//! Records as JSON, the way XRPC shows them: links as `{"$link"}`, bytes as `{"$bytes"}`.
//! Spec: <https://atproto.com/specs/data-model>.

use ipld_core::ipld::Ipld;
use serde_json::{Value as Json, json};

/// The JSON form of a DAG-CBOR record; null for bytes that are none.
pub(super) fn to_json(record: &[u8]) -> Json {
    serde_ipld_dagcbor::from_slice::<Ipld>(record).map_or(Json::Null, json_of)
}

fn json_of(value: Ipld) -> Json {
    match value {
        Ipld::Null => Json::Null,
        Ipld::Bool(b) => b.into(),
        Ipld::Integer(n) => i64::try_from(n).map_or(Json::Null, Json::from),
        Ipld::Float(f) => f.into(),
        Ipld::String(text) => text.into(),
        Ipld::Bytes(bytes) => json!({"$bytes": data_encoding::BASE64_NOPAD.encode(&bytes)}),
        Ipld::List(items) => items.into_iter().map(json_of).collect(),
        Ipld::Map(fields) => Json::Object(fields.into_iter().map(|(key, value)| (key, json_of(value))).collect()),
        Ipld::Link(cid) => json!({"$link": cid.to_string()}),
    }
}
