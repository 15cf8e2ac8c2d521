//! What is said on the wire: frames of the network mix over and over under numbers and times of now, and between them
//! commits of calendar accounts that write when they are told to.

use std::collections::HashMap;

use almanac::devnet::cbor::Value;
use almanac::devnet::frames::{self, Stamp, datetime};
use almanac::devnet::keys::{Curve, KeyForm, SigningKey};
use almanac::devnet::{Account, Mix, Repo, Tid, Traffic, Write};
use bytes::Bytes;
use chrono::Utc;
use sha2::{Digest, Sha256};

use crate::fixture::{SEED, Scale};

/// Accounts that write calendar records, beside those of the mix.
pub const WRITERS: usize = 40;

/// Record keys are as long as the network's, and so are the frames.
const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";

/// A network that goes on.
pub struct Network {
    frames: Vec<Bytes>,
    next: usize,
    seq: i64,
    writers: Vec<Writer>,
    turn: usize,
    /// The last event that was written.
    event: Option<(String, almanac::event::Cid)>,
}

struct Writer {
    account: Account,
    repo: Repo,
}

/// What a directory tells of accounts.
#[derive(Default)]
pub struct Documents {
    /// DID documents by DID.
    pub by_did: HashMap<String, String>,
    /// DIDs by handle.
    pub by_handle: HashMap<String, String>,
}

/// A commit of a calendar account, framed, and the record that it writes.
pub struct Told {
    pub frame: Bytes,
    pub uri: String,
}

impl Network {
    /// Makes `count` frames of the network mix, and the calendar accounts.
    pub fn make(scale: Scale, count: usize) -> (Self, Documents) {
        eprintln!("live: making {count} frames of the network mix");
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mut traffic = Traffic::with_size(SEED, Mix::Network, scale.size(), threads);
        let mut made = Vec::with_capacity(count);
        while made.len() < count {
            let batch = traffic.next_frames((count - made.len()).min(1024));
            made.extend(batch.into_iter().map(|frame| Bytes::from(frame.bytes)));
        }
        let writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
        let mut documents = Documents::default();
        let all = traffic.did_documents().into_iter().map(|(did, document)| (did.to_owned(), document));
        let own = writers.iter().map(|writer| (writer.account.did.clone(), writer.account.did_document()));
        for (did, document) in all.chain(own).collect::<Vec<_>>() {
            if let Some(handle) = document["alsoKnownAs"][0].as_str().and_then(|known| known.strip_prefix("at://")) {
                documents.by_handle.insert(handle.to_owned(), did.clone());
            }
            documents.by_did.insert(did, document.to_string());
        }
        // Above every number of the mix, so that all numbers take as many bytes.
        let network = Network { frames: made, next: 0, seq: 9_000_000_000, writers, turn: 0, event: None };
        (network, documents)
    }

    /// For the report.
    pub fn describe(&self) -> String {
        let bytes: usize = self.frames.iter().map(Bytes::len).sum();
        let mean = bytes / self.frames.len().max(1);
        format!("{} frames of the network mix in turns, {mean} bytes each", self.frames.len())
    }

    /// The next frame of the mix.
    pub fn mixed(&mut self) -> Bytes {
        let frame = &self.frames[self.next % self.frames.len()];
        self.next += 1;
        self.seq += 1;
        restamped(frame, self.seq)
    }

    /// The next account writes a record: events and RSVPs to them by turns.
    pub fn told(&mut self) -> Told {
        self.seq += 1;
        self.turn += 1;
        let (collection, record) = match &self.event {
            Some((uri, cid)) if self.turn.is_multiple_of(2) => (RSVP, rsvp(uri, cid)),
            _ => (EVENT, event(self.turn)),
        };
        let writer = self.turn % self.writers.len();
        let (told, cid) = self.writers[writer].write(self.seq, collection, record);
        if collection == EVENT {
            self.event = Some((told.uri.clone(), cid));
        }
        told
    }
}

impl Writer {
    fn new(number: usize) -> Self {
        let entropy: [u8; 32] = Sha256::digest(format!("writer {number}")).into();
        let did = format!("did:plc:{}", &data_encoding::BASE32_NOPAD.encode(&entropy).to_lowercase()[..24]);
        let account = Account {
            handle: format!("writer-{number}.example.com"),
            pds: "https://pds1.example.net".to_owned(),
            key: SigningKey::from_entropy(Curve::K256, entropy),
            key_form: KeyForm::Multikey,
            did,
        };
        let repo = Repo::new(account.did.clone(), account.key.clone());
        Writer { account, repo }
    }

    fn write(&mut self, seq: i64, collection: &str, record: Vec<u8>) -> (Told, almanac::event::Cid) {
        let micros = Utc::now().timestamp_micros();
        let last = self.repo.head().map_or(0, |head| head.rev.micros() + 1);
        let rev = Tid::new(micros.unsigned_abs().max(last), 7);
        let path = format!("{collection}/{rev}");
        let commit = self.repo.apply(&[Write::Create { path: path.clone(), record }], rev).expect("every path is new");
        let frame = frames::commit(Stamp { seq, did: &self.account.did, micros }, &commit).into();
        (Told { frame, uri: format!("at://{}/{path}", self.account.did) }, commit.records[0].0)
    }
}

/// An event record like those of the network, about 500 bytes.
fn event(number: usize) -> Vec<u8> {
    let now = Utc::now().timestamp_micros();
    let (starts, ends) = (now + 86_400_000_000, now + 90_000_000_000);
    Value::map([
        ("$type", Value::text(EVENT)),
        ("name", Value::text(format!("Street organ concert, the {number}th"))),
        ("description", Value::text("Bring a chair, a coat and somebody who can sing. ".repeat(4))),
        ("createdAt", Value::Text(datetime(now))),
        ("startsAt", Value::Text(datetime(starts))),
        ("endsAt", Value::Text(datetime(ends))),
        ("mode", Value::text("community.lexicon.calendar.event#inperson")),
        ("status", Value::text("community.lexicon.calendar.event#scheduled")),
        (
            "locations",
            Value::List(vec![Value::map([
                ("$type", Value::text("community.lexicon.location.geo")),
                ("latitude", Value::text("38.2527")),
                ("longitude", Value::text("-85.7585")),
            ])]),
        ),
    ])
    .encode()
}

fn rsvp(uri: &str, cid: &almanac::event::Cid) -> Vec<u8> {
    Value::map([
        ("$type", Value::text(RSVP)),
        ("subject", Value::map([("uri", Value::text(uri)), ("cid", Value::Text(cid.to_string()))])),
        ("status", Value::text("community.lexicon.calendar.rsvp#going")),
        ("createdAt", Value::Text(datetime(Utc::now().timestamp_micros()))),
    ])
    .encode()
}

/// The frame under another number and the time of now. Nothing that is signed says either.
fn restamped(frame: &Bytes, seq: i64) -> Bytes {
    let mut frame = frame.to_vec();
    // The key `seq` and an integer of eight bytes; the key `time` and a text of 24.
    let mut put = |key: &[u8], value: &[u8]| {
        let at = memchr::memmem::find(&frame, key).expect("a numbered frame says it") + key.len();
        frame[at..at + value.len()].copy_from_slice(value);
    };
    put(b"\x63seq\x1b", &seq.to_be_bytes());
    put(b"\x64time\x78\x18", datetime(Utc::now().timestamp_micros()).as_bytes());
    frame.into()
}
