//! What receivers are sent: `{"type": …, "timestamp": …, "data": {…}}`.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::subscription::Kind;
use crate::event::Environment;
use crate::event_log::Told;

fn text(kind: &str, time: DateTime<Utc>, data: &Value) -> Bytes {
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({ "type": kind, "timestamp": time, "data": data }).to_string().into()
}

/// An event. `record` is the record in the data model's JSON form, null for a delete.
pub(super) fn event(told: &Told, kind: Kind, record: &Value) -> Bytes {
    let name = match kind {
        Kind::Put => "record.put",
        Kind::Delete => "record.delete",
    };
    let data = json!({
        "environment": told.environment,
        "origin": told.origin.map(|origin| origin.as_str()),
        "uri": told.uri().map(|uri| uri.to_string()),
        "did": told.did,
        "collection": told.collection,
        "rkey": told.rkey,
        "rev": told.rev,
        "cid": told.cid,
        "record": record,
        "position": told.position,
        "upstream": told.upstream,
    });
    text(name, told.seen_at, &data)
}

/// A test, about nothing.
pub fn ping(environment: &Environment, subscription: &str, time: DateTime<Utc>) -> Bytes {
    text("ping", time, &json!({ "environment": environment.as_str(), "subscription": subscription }))
}
