//! An index of any size, made fast: log rows are written as COPY and folded by Almanac's own rebuild. Nothing of it was on
//! a wire: signatures are not there to be checked, everything else is as ingest leaves it.

use almanac::db::{self, Target};
use almanac::devnet::Tid;
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::frames::datetime;
use almanac::devnet::keys::{Curve, KeyForm, SigningKey};
use almanac::event::{Cid, Environment};
use almanac::{event_log, projection};
use chrono::Utc;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPoolCopyExt;

use crate::replay::run_sql;

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
/// Events of one account.
const EVENTS_EACH: usize = 20;
/// Rows in one COPY.
const BATCH: usize = 20_000;

/// How many rows an index of `events` has: for two events one RSVP.
pub fn rows(events: usize) -> usize {
    events + events / 2
}

/// Migrates the database at `url`, writes `events` events and half as many RSVPs into its log, and folds them.
pub async fn fill(url: &db::DatabaseUrl, environment: &str, events: usize) {
    eprintln!("growth: filling an index of {events} events");
    let db = db::open(&Target::Url(url.clone()), 10).await.expect("the new database opens");
    db.migrate().await.expect("an empty database can be migrated");
    let environment = Environment::parse(environment).expect("a literal that is a name");
    event_log::stamp(db.pool(), &environment).await.expect("an empty database has no environment");
    let mut maker = Maker { state: 1, now: Utc::now().timestamp_micros(), last: None };
    let mut accounts = String::new();
    let mut position = 0;
    while position < rows(events) {
        let mut text = String::new();
        for _ in 0..BATCH.min(rows(events) - position) {
            position += 1;
            maker.row(position, environment.as_str(), events, &mut text, &mut accounts);
        }
        let into =
            "copy log.event (position, dedup, environment, kind, did, collection, rkey, rev, cid, record, origin,
             upstream, seq, seen_at, live, verification, origin_rule) from stdin";
        let mut copy = db.pool().copy_in_raw(into).await.expect("COPY begins");
        copy.send(text.as_bytes()).await.expect("COPY goes on");
        copy.finish().await.expect("COPY ends");
    }
    let into = "copy ingest.repo (did, rev, data, state, pds, signing_key, identity_at, standing, standing_kept,
         standing_rule, standing_since) from stdin";
    let mut copy = db.pool().copy_in_raw(into).await.expect("COPY begins");
    copy.send(accounts.as_bytes()).await.expect("COPY goes on");
    copy.finish().await.expect("COPY ends");
    let mut connection = db.connect().await.expect("the database answers");
    run_sql(&mut connection, format!("update log.head set position = {position}")).await;
    projection::rebuild(&db, |_| {}).await.expect("a log of ours is folded");
    // Each by itself: in a transaction there is no VACUUM.
    run_sql(&mut connection, "vacuum analyze".to_owned()).await;
    run_sql(&mut connection, "checkpoint".to_owned()).await;
    db.close().await;
}

struct Maker {
    state: u64,
    now: i64,
    last: Option<(String, Cid)>,
}

impl Maker {
    /// SplitMix64.
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// Words of which few are common and most are rare, as in every language.
    fn words(&mut self, count: u64) -> String {
        let word = |maker: &mut Self| {
            let (a, b) = (maker.below(4_000), maker.below(4_000));
            let number = (a * b / 4_000) as usize;
            format!("{}{}", STEMS[number % STEMS.len()], number / STEMS.len())
        };
        (0..count).map(|_| word(self)).collect::<Vec<_>>().join(" ")
    }

    /// One log row, and with an account's first the account's.
    fn row(&mut self, position: usize, environment: &str, events: usize, text: &mut String, accounts: &mut String) {
        let authors = (events / EVENTS_EACH).max(1);
        let author = position % authors;
        let hash: [u8; 32] = Sha256::digest(author.to_be_bytes()).into();
        let did = format!("did:plc:{}", &data_encoding::BASE32_NOPAD.encode(&hash).to_lowercase()[..24]);
        // Over the last year, the newest last.
        let micros = self.now - ((rows(events) - position) as i64 + 1) * (31_536_000_000_000 / rows(events) as i64);
        let rev = Tid::new(micros.unsigned_abs(), 3);
        let (collection, record) = match &self.last {
            Some((uri, cid)) if position.is_multiple_of(3) => (RSVP, rsvp(uri, cid, micros)),
            _ => (EVENT, self.event(micros)),
        };
        let cid = cid_of(&record);
        if collection == EVENT {
            self.last = Some((format!("at://{did}/{EVENT}/{rev}"), cid));
        }
        if position <= authors {
            let key = SigningKey::from_entropy(Curve::K256, hash).verification_method(KeyForm::Multikey).1;
            let now = Utc::now().to_rfc3339();
            *accounts += &format!(
                "{did}\t{rev}\t{cid}\tsynced\thttps://pds1.example.net\tdid:key:{key}\t{now}\tnetwork\tt\t{RULE}\t{now}\n"
            );
        }
        let mut dedup = Sha256::new();
        dedup.update(did.as_bytes());
        dedup.update(rev.to_string().as_bytes());
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        *text += &format!(
            "{position}\t\\\\x{}\t{environment}\tput\t{did}\t{collection}\t{rev}\t{rev}\t{cid}\t\\\\x{}\tnetwork\t\
             filled\t{position}\t{}\tt\tfull\t{RULE}\n",
            hex(&dedup.finalize()[..16]),
            hex(&record),
            datetime(micros),
        );
    }

    fn event(&mut self, micros: i64) -> Vec<u8> {
        let starts = micros + self.below(60 * 86_400) as i64 * 1_000_000;
        let (lat, lon) = (self.below(160), self.below(360));
        Value::map([
            ("$type", Value::text(EVENT)),
            ("name", Value::Text(self.words(4))),
            ("description", Value::Text(self.words(30))),
            ("createdAt", Value::Text(datetime(micros))),
            ("startsAt", Value::Text(datetime(starts))),
            ("endsAt", Value::Text(datetime(starts + 7_200_000_000))),
            ("mode", Value::text("community.lexicon.calendar.event#inperson")),
            ("status", Value::text("community.lexicon.calendar.event#scheduled")),
            (
                "locations",
                Value::List(vec![Value::map([
                    ("$type", Value::text("community.lexicon.location.geo")),
                    ("latitude", Value::Text(format!("{}.25", lat as i64 - 80))),
                    ("longitude", Value::Text(format!("{}.75", lon as i64 - 180))),
                ])]),
            ),
        ])
        .encode()
    }
}

fn rsvp(uri: &str, cid: &Cid, micros: i64) -> Vec<u8> {
    Value::map([
        ("$type", Value::text(RSVP)),
        ("subject", Value::map([("uri", Value::text(uri)), ("cid", Value::Text(cid.to_string()))])),
        ("status", Value::text("community.lexicon.calendar.rsvp#going")),
        ("createdAt", Value::Text(datetime(micros))),
    ])
    .encode()
}

/// [`almanac::event::OriginRule::NetworkMode`]: what is said of everybody who is nobody's of ours.
const RULE: u8 = 11;

const STEMS: [&str; 16] = [
    "jazz", "walk", "choir", "garden", "code", "market", "film", "chess", "run", "book", "tango", "picnic", "ferry",
    "clay", "moon", "harvest",
];
