//! An answer to an event, from an app's input.

use serde_json::{Map, Value};

use super::super::{EVENT, RSVP};
use super::input::{Input, set};
use super::time;
use crate::event::{AtUri, Cid};

const ANSWERS: [&str; 3] = ["going", "interested", "notgoing"];

pub(super) fn read(input: &mut Input<'_, '_>) -> Map<String, Value> {
    let mut record = Map::new();
    match input.get("subject") {
        Some(given) => set(&mut record, "subject", input.object("subject", given, subject)),
        None => input.fault("subject", "missing: an object with the event's uri, and its cid if known"),
    }
    if input.get("status").is_none() {
        input.fault("status", "missing: going, interested or notgoing");
    }
    set(&mut record, "status", input.token("status", RSVP, &ANSWERS));
    // The lexicon has no such field. Every app writes it, and of several answers it says which is the last.
    set(&mut record, "createdAt", input.time("createdAt").map(time::written));
    record
}

fn subject(input: &mut Input<'_, '_>) -> Option<Map<String, Value>> {
    let mut subject = Map::new();
    if input.get("$type").is_some() {
        input.declared("com.atproto.repo.strongRef");
        set(&mut subject, "$type", Some("com.atproto.repo.strongRef"));
    }
    if let Some(text) = input.required_text("uri", 3_000) {
        match AtUri::parse(text) {
            Ok(uri) if uri.did.as_str().len() > crate::decode::MAX_DID_BYTES => {
                input.fault("uri", "its DID is too long")
            }
            Ok(uri) if uri.collection.as_str() == EVENT => set(&mut subject, "uri", Some(uri.to_string())),
            Ok(_) => input.fault("uri", format!("not an event: its collection is not {EVENT}")),
            Err(_) => input.fault("uri", format!("not the AT-URI of a record by DID: at://did:…/{EVENT}/…")),
        }
    }
    if let Some(text) = input.text("cid", 200) {
        match text.parse::<Cid>() {
            Ok(cid) => set(&mut subject, "cid", Some(cid.to_string())),
            Err(_) => input.fault("cid", "not the CID of a record (bafyrei…)"),
        }
    }
    Some(subject)
}
