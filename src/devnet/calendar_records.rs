//! Calendar records as the network holds them: three in five break the published lexicon in some way.

use super::calendar::{EVENT, RSVP};
use super::cbor::Value;
use super::dice::Dice;
use super::frames::datetime;
use crate::event::Cid;

/// Of 1,000 records so many break the lexicon.
const FLAWED_PERMILLE: usize = 590;

type Fields = Vec<(&'static str, Value)>;

fn set(fields: &mut Fields, key: &'static str, value: Value) {
    fields.retain(|(k, _)| *k != key);
    fields.push((key, value));
}

fn texts(fields: &[(&'static str, &str)]) -> Value {
    Value::map(fields.iter().map(|(k, v)| (*k, Value::text(*v))))
}

/// An event record, as DAG-CBOR.
pub(super) fn event(dice: &mut Dice, now: i64) -> Vec<u8> {
    let starts = now + (dice.below(200) as i64 - 10) * 86_400_000_000 + dice.below(24) as i64 * 3_600_000_000;
    let name_len = 2 + dice.below(4);
    let text_len = 4 + dice.below(30);
    let mut fields: Fields = vec![
        ("$type", EVENT.into()),
        ("name", dice.words(WORDS, name_len).into()),
        ("description", dice.words(WORDS, text_len).into()),
        ("createdAt", datetime(now).into()),
        ("startsAt", datetime(starts).into()),
        ("mode", format!("{EVENT}#{}", dice.pick(&["inperson", "virtual", "hybrid"])).into()),
        ("status", format!("{EVENT}#{}", dice.pick(STATUSES)).into()),
    ];
    if dice.permille(700) {
        let ends = starts + (1 + dice.below(30)) as i64 * 1_800_000_000;
        fields.push(("endsAt", datetime(ends).into()));
    }
    if dice.permille(700) {
        let count = 1 + usize::from(dice.permille(150));
        fields.push(("locations", Value::List((0..count).map(|_| location(dice)).collect())));
    }
    if dice.permille(300) {
        let uri = format!("https://example.org/e/{}", dice.below(1_000_000));
        fields.push(("uris", Value::List(vec![texts(&[("uri", &uri), ("name", "Tickets")])])));
    }
    if dice.permille(100) {
        fields.push(("rsvpExpected", Value::Bool(dice.permille(500))));
    }
    if dice.permille(FLAWED_PERMILLE) {
        for _ in 0..1 + dice.below(2) {
            spoil_event(dice, &mut fields, now, starts);
        }
    }
    Value::map(fields).encode()
}

fn location(dice: &mut Dice) -> Value {
    let (lat, lon) = (dice.below(1_600_000) as i64 - 800_000, dice.below(3_600_000) as i64 - 1_800_000);
    let degrees = |n: i64| format!("{}{}.{:04}", if n < 0 { "-" } else { "" }, n.abs() / 10_000, n.abs() % 10_000);
    let (lat, lon) = (degrees(lat), degrees(lon));
    match dice.below(10) {
        0..4 => texts(&[
            ("$type", "community.lexicon.location.address"),
            ("country", dice.pick(&["US", "DE", "JP", "BR", "ZA"])),
            ("locality", dice.pick(&["Louisville", "Köln", "東京", "São Paulo", "Kapstadt"])),
            ("street", "1 Market St"),
            ("name", "Old Hall"),
        ]),
        4..8 => texts(&[("$type", "community.lexicon.location.geo"), ("latitude", &lat), ("longitude", &lon)]),
        8 => texts(&[("$type", "community.lexicon.location.hthree"), ("value", "8a2a1072b59ffff")]),
        _ => texts(&[
            ("$type", "community.lexicon.location.fsq"),
            ("fsq_place_id", "4b0588f1f964a520c1d422e3"),
            ("latitude", &lat),
            ("longitude", &lon),
        ]),
    }
}

/// One of the ways in which real events differ from their lexicon.
fn spoil_event(dice: &mut Dice, fields: &mut Fields, now: i64, starts: i64) {
    let no_zone = |micros: i64| datetime(micros)[..19].to_string();
    match dice.below(16) {
        0 => set(fields, "createdAt", no_zone(now).into()),
        1 => set(fields, "startsAt", no_zone(starts).into()),
        2 => set(fields, "startsAt", datetime(starts)[..10].into()),
        3 => fields.retain(|(key, _)| *key != "createdAt"),
        4 => fields.retain(|(key, _)| *key != "name"),
        5 => set(fields, "mode", dice.pick(&["hybrid", "in-person", "", "com.example.calendar#moon"]).into()),
        6 => set(fields, "status", dice.pick(&["confirmed", "CANCELLED", "com.example.calendar#maybe"]).into()),
        7 => {
            let odd = dice.pick(&["0", "", "41,8781", " 38.25 ", "N/A", "1e2", "38.2527° N", "91.5"]);
            let geo =
                texts(&[("$type", "community.lexicon.location.geo"), ("latitude", odd), ("longitude", "-85.7585")]);
            set(fields, "locations", Value::List(vec![geo]));
        }
        8 => {
            let kind = dice.pick(&["com.example.location.what3words", "community.lexicon.location.unknown"]);
            set(fields, "locations", Value::List(vec![texts(&[("$type", kind), ("value", "index.home.raft")])]));
        }
        9 => set(fields, "locations", Value::List(vec![texts(&[("name", "a place without a type")])])),
        10 => set(fields, "locations", dice_value(dice)),
        11 => set(fields, "uris", Value::List(vec!["https://example.org/a".into()])),
        12 => {
            let facet = Value::map([("index", Value::map([("byteStart", Value::Int(0)), ("byteEnd", Value::Int(4))]))]);
            set(fields, "facets", Value::List(vec![facet]));
            set(fields, "media", Value::List(vec![texts(&[("role", "header"), ("alt", "Ein Plakat")])]));
        }
        13 => set(fields, "endsAt", datetime(starts - 3_600_000_000).into()),
        14 => set(fields, "additionalData", Value::map([("isRecurring", Value::Bool(false)), ("v", Value::Int(-7))])),
        _ => set(fields, dice.pick(&["description", "rsvpExpected", "name"]), dice_value(dice)),
    }
}

/// A value of a kind that nobody expects there.
fn dice_value(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => Value::Null,
        1 => Value::Int(dice.below(1 << 40) as i64),
        2 => Value::map([("text", Value::text("nested"))]),
        3 => Value::List(vec![]),
        _ => Value::text(""),
    }
}

/// An RSVP record, as DAG-CBOR.
pub(super) fn rsvp(dice: &mut Dice, now: i64, uri: &str, cid: Cid) -> Vec<u8> {
    let status = dice.pick(&["going", "going", "going", "interested", "notgoing"]);
    let subject = texts(&[("uri", uri), ("cid", &cid.to_string())]);
    let mut fields: Fields = vec![
        ("$type", RSVP.into()),
        ("subject", subject),
        ("status", format!("{RSVP}#{status}").into()),
        ("createdAt", datetime(now).into()),
    ];
    if dice.permille(FLAWED_PERMILLE) {
        match dice.below(9) {
            0 => set(&mut fields, "status", status.into()),
            1 => set(&mut fields, "status", dice.pick(&["maybe", "", "com.example.rsvp#waitlist"]).into()),
            2 => fields.retain(|(key, _)| *key != "status"),
            3 => fields.retain(|(key, _)| *key != "createdAt"),
            4 => set(&mut fields, "createdAt", datetime(now)[..19].into()),
            5 => set(&mut fields, "createdAt", dice.pick(&["yesterday", "", "2025-13-45T99:00:00Z"]).into()),
            6 => set(&mut fields, "subject", texts(&[("uri", uri)])),
            7 => set(&mut fields, "note", Value::text("bringe Kuchen mit 🎂")),
            _ => set(&mut fields, "status", dice_value(dice)),
        }
    }
    Value::map(fields).encode()
}

const STATUSES: &[&str] = &["scheduled", "scheduled", "scheduled", "planned", "rescheduled", "cancelled", "postponed"];

const WORDS: &[&str] = &[
    "rust",
    "jazz",
    "workshop",
    "picnic",
    "Straßenfest",
    "café",
    "日本語",
    "заметки",
    "música",
    "🎉",
    "night",
    "ride",
    "open",
    "mic",
    "garden",
    "board",
    "games",
    "hike",
    "zürich",
    "atproto",
    "meetup",
    "👩‍👩‍👧‍👦",
    "مهرجان",
    "yoga",
    "code",
    "& friends",
    "<b>bold</b>",
    "film",
    "potluck",
    "brunch",
    "e\u{301}te",
    "5k",
    "run",
];
