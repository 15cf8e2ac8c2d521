//! An account that writes one event or RSVP after the other, as frames.

use almanac::devnet::frames::{self, Stamp};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Frame, Repo, Tid, Write, cbor};

pub const EVENT: &str = "community.lexicon.calendar.event";
pub const RSVP: &str = "community.lexicon.calendar.rsvp";

/// Pinned by RSVPs. Not what any event has: counts do not ask.
const CID: &str = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i";

pub struct Writer {
    pub did: &'static str,
    repo: Repo,
}

impl Writer {
    pub fn new(did: &'static str, entropy: u8) -> Self {
        Writer { did, repo: Repo::new(did, SigningKey::from_entropy(Curve::K256, [entropy; 32])) }
    }

    /// The address of an event of it.
    pub fn uri(&self, rkey: &str) -> String {
        format!("at://{}/{EVENT}/{rkey}", self.did)
    }

    /// One frame in which it creates the event `rkey`.
    pub fn event(&mut self, seq: i64, rkey: &str) -> Frame {
        let record = cbor::Value::map([
            ("$type", cbor::Value::text(EVENT)),
            ("name", cbor::Value::text(rkey)),
            ("createdAt", cbor::Value::text("2026-11-22T08:00:00.000Z")),
            ("startsAt", cbor::Value::text("2027-06-05T18:00:00.000Z")),
        ]);
        self.create(seq, &format!("{EVENT}/{rkey}"), &record)
    }

    /// One frame in which it goes to an event.
    pub fn rsvp(&mut self, seq: i64, rkey: &str, uri: &str) -> Frame {
        let subject = cbor::Value::map([("uri", cbor::Value::text(uri)), ("cid", cbor::Value::text(CID))]);
        let record = cbor::Value::map([
            ("$type", cbor::Value::text(RSVP)),
            ("subject", subject),
            ("status", cbor::Value::text(format!("{RSVP}#going").as_str())),
            ("createdAt", cbor::Value::text("2026-11-22T08:00:00.000Z")),
        ]);
        self.create(seq, &format!("{RSVP}/{rkey}"), &record)
    }

    fn create(&mut self, seq: i64, path: &str, record: &cbor::Value) -> Frame {
        let micros = 1_760_000_000_000_000 + seq * 1_000_000;
        let write = Write::Create { path: path.to_owned(), record: record.encode() };
        let commit = self.repo.apply(&[write], Tid::new(micros as u64, 1)).unwrap();
        Frame { seq, bytes: frames::commit(Stamp { seq, did: self.did, micros }, &commit) }
    }
}
