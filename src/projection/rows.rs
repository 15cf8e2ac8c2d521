//! What the index shows of a record, with the address parts that every row has.

use serde_json::Value;

use crate::calendar::{Record, RecordKey, View, Word};
use crate::event::{AtUri, Cid};

/// A record that the index shows.
pub(super) struct Shown {
    pub uri: String,
    pub key: RecordKey,
    pub cid: Cid,
    pub rev: String,
    pub record: Value,
    pub view: View,
}

/// The address of a record.
pub(super) fn uri_of(key: &RecordKey) -> String {
    AtUri { did: key.did.clone(), collection: key.collection.clone(), rkey: key.rkey.clone() }.to_string()
}

/// Reads a live record. `None` for collections that have no table, which stay in the log, and for records whose bytes were
/// purged.
pub(super) fn show(key: &RecordKey, word: &Word, bytes: &[u8]) -> Option<Shown> {
    let cid = word.cid?;
    if bytes.is_empty() {
        return None;
    }
    match Record::read(&key.collection, &key.rkey, bytes) {
        Ok(record) => record.map(|Record { json, view }| Shown {
            uri: uri_of(key),
            key: key.clone(),
            cid,
            rev: word.rev.to_string(),
            record: json,
            view,
        }),
        Err(reject) => {
            // What is in the log was checked on its way in: these bytes changed since.
            tracing::error!(uri = uri_of(key), %reject, "a record in the log cannot be read and is not shown");
            None
        }
    }
}
