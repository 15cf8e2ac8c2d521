//! Records that are as large, long and strange as the protocol lets them be: the log and the index hold them, and go on.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod frames;
    pub mod postgres;
}

use almanac::devnet::cbor::Value;
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Frame, Repo, Tid, Write, frames};
use support::postgres::TestDb;
use support::{almanac as executable, frames as dump};

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
const MICROS: i64 = 1_795_000_000_000_000;

/// Commits of one account, one record each.
fn commits(did: &str, writes: Vec<(String, Value)>) -> Vec<Frame> {
    let mut repo = Repo::new(did, SigningKey::from_entropy(Curve::K256, [7; 32]));
    let mut frames = Vec::new();
    for (i, (path, record)) in writes.into_iter().enumerate() {
        let (seq, micros) = (i as i64 + 1, MICROS + i as i64 * 1_000);
        let write = Write::Create { path, record: record.encode() };
        let commit = repo.apply(&[write], Tid::new(micros as u64, 0)).unwrap();
        frames.push(Frame { seq, bytes: frames::commit(frames::Stamp { seq, did, micros }, &commit) });
    }
    frames
}

fn event(fields: Vec<(&str, Value)>) -> Value {
    let own = [("$type", Value::text(EVENT)), ("createdAt", Value::text("2026-11-22T00:00:00Z"))];
    Value::map(own.into_iter().chain(fields))
}

/// Letters that no compression makes small, so that what is long stays long in an index.
fn noise(len: usize) -> String {
    let mut x = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b'a' + (x % 26) as u8)
    })
    .take(len)
    .collect()
}

#[tokio::test]
async fn the_largest_and_strangest_records_are_held_and_the_next_one_too() {
    // 512 bytes are the longest DID that ingest takes, 512 the longest record key.
    let did = format!("did:web:{}", noise(504));
    let key = |first: char| format!("{first}{}", noise(511));
    let words: String = (0..90_000).map(|i| format!("w{i}{} ", noise(3))).collect();
    let subject =
        format!("at://{did}/{}.{}/{}", ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join("."), noise(63), key('s'));
    let strong = |uri: &str| Value::map([("uri", Value::text(uri)), ("cid", Value::text("bafy"))]);
    let rsvp = |uri: &str, status: String| {
        Value::map([("$type", Value::text(RSVP)), ("status", Value::text(status)), ("subject", strong(uri))])
    };
    let frames = commits(
        &did,
        vec![
            (format!("{EVENT}/{}", key('a')), event(vec![("name", Value::text("long key"))])),
            (
                format!("{EVENT}/tokens"),
                event(vec![
                    ("mode", Value::text(noise(900_000))),
                    ("status", Value::text(noise(400))),
                    ("name", Value::text(noise(20_000))),
                ]),
            ),
            (format!("{EVENT}/words"), event(vec![("description", Value::text(words))])),
            (
                format!("{EVENT}/nul"),
                event(vec![("name", Value::text("a\0b")), ("x\0", Value::List(vec![Value::text("\0")]))]),
            ),
            (
                format!("{EVENT}/times"),
                event(vec![
                    ("startsAt", Value::text("-9999-01-01T00:00:00")),
                    ("endsAt", Value::text("+262000-01-01")),
                ]),
            ),
            (format!("{RSVP}/{}", key('r')), rsvp(&subject, noise(100_000))),
            (format!("{RSVP}/far"), rsvp(&format!("at://did:web:{}/a.b.c/d", noise(2_000)), "going".to_owned())),
            (format!("{EVENT}/last"), event(vec![("name", Value::text("the next one"))])),
        ],
    );
    let db = TestDb::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.frames");
    dump::write(&file, &frames);
    let summary = executable::json(db.url().expose(), &["replay", "--json", file.to_str().unwrap()]);
    assert_eq!((&summary["events_appended"], &summary["refused"]), (&8.into(), &serde_json::json!({})), "{summary}");

    let events: Vec<(String, Option<String>, Option<String>, String)> =
        sqlx::query_as("select rkey, name, mode, problems::text from calendar.events order by rkey")
            .fetch_all(db.pool())
            .await
            .unwrap();
    let rkeys: Vec<&str> = events.iter().map(|row| &row.0[..row.0.len().min(6)]).collect();
    assert_eq!(rkeys.len(), 6, "{rkeys:?}");
    let row = |rkey: &str| events.iter().find(|row| row.0 == rkey).unwrap();
    assert_eq!(row("last").1.as_deref(), Some("the next one"));
    assert_eq!(row("nul").1.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(row("tokens").2, None, "900,000 letters are no mode");
    assert!(row("tokens").3.contains("900000 bytes"), "{}", row("tokens").3);
    assert!(row("times").3.contains("startsAt") && row("times").3.contains("endsAt"), "{}", row("times").3);
    let rsvps: Vec<(Option<String>,)> =
        sqlx::query_as("select subject_uri from calendar.rsvps order by subject_uri nulls last")
            .fetch_all(db.pool())
            .await
            .unwrap();
    assert_eq!(rsvps, [(Some(subject),), (None,)]);

    // What was too much for the index once would be so again: a rebuild takes the same rows by another way.
    let before = executable::checksum(db.url().expose());
    executable::json(db.url().expose(), &["rebuild", "--json"]);
    assert_eq!(executable::checksum(db.url().expose()), before);
}
