//! The map of rooms, held: which room may name which, which are pure, and that each says what it is for.
//!
//! In: the sources as text. Every path in them is read, groups (`use crate::{a, b::c}`) and `super::super::…` included;
//! comments and strings are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Which rooms a room may name, beside [`FOR_ALL`].
const ARROWS: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("telemetry", &[]),
    ("decode", &[]),
    // A verdict is about an outline.
    ("filter", &["decode"]),
    ("calendar", &["decode"]),
    ("source", &["db", "network"]),
    ("ingest", &["source", "decode", "filter", "network", "event_log", "db"]),
    ("event_log", &["db"]),
    ("projection", &["event_log", "calendar", "db"]),
    ("api", &["calendar", "projection", "effects", "publisher", "identity"]),
    ("effects", &["event_log", "calendar", "network", "db"]),
    ("network", &[]),
    ("identity", &["network", "db"]),
    ("publisher", &["calendar", "identity", "network", "event_log", "db"]),
    ("pds", &["db", "network"]),
    ("devnet", &[]),
    ("db", &[]),
    ("config", EVERYTHING),
    ("service", EVERYTHING),
    ("cli", EVERYTHING),
];

/// Rooms that everybody may name.
const FOR_ALL: &[&str] = &["event", "telemetry"];
/// Rooms that put the others together: they see everything, and nobody but they may name them.
const AROUND: &[&str] = &["config", "service", "cli"];
/// No list: see [`AROUND`].
const EVERYTHING: &[&str] = &["*"];
/// Rooms without IO, clock or async. They may not name `telemetry` either, which moves counters.
const PURE: &[&str] = &["event", "decode", "filter", "calendar"];
/// What pure code never names, as beginnings of paths.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "sqlx",
    "futures_util",
    "reqwest",
    "hyper",
    "axum",
    "metrics",
    "tracing",
    "rand",
];
/// What pure code never names, wherever it stands in a path.
const CLOCKS: &[&str] = &["SystemTime", "Instant", "Utc::now", "Local::now"];

/// Code without comments and the content of strings and characters.
fn without_comments_and_strings(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(code.len());
    let mut i = 0;
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            'r' if matches!(at(i + 1), '"' | '#') && !(i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_')) => {
                let hashes = (i + 1..).take_while(|j| at(*j) == '#').count();
                if at(i + 1 + hashes) != '"' {
                    // A raw identifier.
                    out.push('r');
                    i += 1;
                    continue;
                }
                i += hashes + 2;
                while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                    i += 1;
                }
                i += hashes + 1;
                out.push_str("\"\"");
            }
            '"' => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                out.push_str("\"\"");
            }
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            c => {
                out.push(c);
                i += 1;
            }
        }
    }
    out
}

/// Words, `::`, and every other character that is not white space.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = vec![];
    let mut word = String::new();
    for c in code.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        match tokens.last_mut() {
            Some(last) if c == ':' && last == ":" => last.push(':'),
            _ if !c.is_whitespace() => tokens.push(c.to_string()),
            _ => {}
        }
    }
    tokens.extend((!word.is_empty()).then_some(word));
    tokens
}

/// Every path in the code, groups written out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(&without_comments_and_strings(code));
    let mut found = vec![];
    let mut i = 0;
    while i < tokens.len() {
        if is_word(&tokens[i]) { path(&tokens, &mut i, &[], &mut found) } else { i += 1 }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '*')
}

/// Reads one path, or one branch of a group, that starts at `i`.
fn path(tokens: &[String], i: &mut usize, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    let mut group = false;
    while *i < tokens.len() {
        match tokens[*i].as_str() {
            "{" if !path.is_empty() || group => {
                *i += 1;
                while *i < tokens.len() && tokens[*i] != "}" {
                    match is_word(&tokens[*i]) {
                        true => self::path(tokens, i, &path, found),
                        false => *i += 1,
                    }
                }
                *i += 1;
                return;
            }
            word if is_word(word) => path.push(word.to_owned()),
            _ => break,
        }
        *i += 1;
        if tokens.get(*i).is_none_or(|token| token != "::") {
            break;
        }
        *i += 1;
        group = true;
    }
    if path.len() > before.len() {
        found.push(path);
    }
}

/// The room that a path of a file leads to, if it leads to one by way of the crate's root.
fn room_named<'p>(file: &str, path: &'p [String], rooms: &BTreeSet<&str>) -> Option<&'p str> {
    let next = match path[0].as_str() {
        "crate" | "almanac" => path.get(1)?,
        "super" | "self" => {
            let supers = path.iter().take_while(|word| matches!(word.as_str(), "super" | "self")).count();
            let ups = path[..supers].iter().filter(|word| *word == "super").count();
            // `src/a/mod.rs` is one step below the root, `src/a/b.rs` two.
            let parts = file.split('/').count() - 1;
            let depth = if file.ends_with("/mod.rs") { parts - 1 } else { parts };
            path.get(supers).filter(|_| ups >= depth)?
        }
        _ => return None,
    };
    rooms.contains(next.as_str()).then_some(next)
}

/// The room that a file belongs to: the folder, or the file itself, below `src`. None for the roots of the crate.
fn room_of(file: &str) -> Option<&str> {
    let rest = file.strip_prefix("src/")?;
    let room = rest.split_once('/').map_or_else(|| rest.strip_suffix(".rs"), |(room, _)| Some(room))?;
    (!["lib", "main"].contains(&room)).then_some(room)
}

/// Everything in these files (path from the project's folder, text) that is not as the map says.
fn check(files: &[(String, String)]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let rooms: BTreeSet<&str> = files.iter().filter_map(|(file, _)| room_of(file)).collect();
    let mut wrong: Vec<String> = rooms
        .iter()
        .filter(|room| !allowed.contains_key(*room))
        .map(|room| format!("room {room} is not on the map"))
        .collect();
    let mut arrows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in files {
        let Some(room) = room_of(file) else { continue };
        let opens = file == &format!("src/{room}/mod.rs") || file == &format!("src/{room}.rs");
        if opens && !text.starts_with("//! ") {
            wrong.push(format!("{file} does not open with what the room is for (`//! …`)"));
        }
        for path in paths(text) {
            let written = path.join("::");
            if PURE.contains(&room) {
                let is_impure = IMPURE.iter().any(|bad| written == *bad || written.starts_with(&format!("{bad}::")));
                if is_impure || CLOCKS.iter().any(|clock| format!("::{written}::").contains(&format!("::{clock}::"))) {
                    wrong.push(format!("{file}: pure, but names {written}"));
                }
                if path[0] == "async" {
                    wrong.push(format!("{file}: pure, but async"));
                }
            }
            let Some(named) = room_named(file, &path, &rooms).filter(|named| *named != room) else { continue };
            let list = allowed.get(room).copied().unwrap_or_default();
            // What a room's own tests are fed with.
            let is_test = file.ends_with("/tests.rs") || file.contains("/tests/");
            if is_test && named == "devnet" {
                continue;
            }
            arrows.entry(room).or_default().insert(named.to_owned());
            let may = if AROUND.contains(&named) {
                AROUND.contains(&room)
            } else if PURE.contains(&room) && named == "telemetry" {
                false
            } else if room == "devnet" {
                named == "event"
            } else {
                list == EVERYTHING || list.contains(&named) || FOR_ALL.contains(&named)
            };
            if !may {
                wrong.push(format!("{file}: {room} may not name {named} ({written})"));
            }
        }
    }
    wrong.extend(cycle(&arrows));
    wrong.sort();
    wrong.dedup();
    wrong
}

/// A way from a room back to itself.
fn cycle(arrows: &BTreeMap<&str, BTreeSet<String>>) -> Option<String> {
    fn walk(room: &str, arrows: &BTreeMap<&str, BTreeSet<String>>, way: &mut Vec<String>) -> Option<String> {
        if let Some(start) = way.iter().position(|seen| seen == room) {
            return Some(format!("cycle: {} -> {room}", way[start..].join(" -> ")));
        }
        way.push(room.to_owned());
        let found = arrows.get(room).into_iter().flatten().find_map(|next| walk(next, arrows, way));
        way.pop();
        found
    }
    arrows.keys().find_map(|room| walk(room, arrows, &mut vec![]))
}

fn sources(folder: &Path, out: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            out.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_code_is_as_the_map_says() {
    let mut files = vec![];
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 80, "{} source files", files.len());
    let wrong = check(&files);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the checker says about these files, beside rooms that must be there for their names to mean something.
#[track_caller]
fn assert_says(files: &[(&str, &str)], expected: &[&str]) {
    let mut all: Vec<(String, String)> =
        ["event", "telemetry", "decode", "db", "config", "event_log", "projection", "calendar"]
            .iter()
            .map(|room| (format!("src/{room}/mod.rs"), "//! A room.\n".to_owned()))
            .filter(|(name, _)| !files.iter().any(|(file, _)| file == name))
            .collect();
    all.extend(files.iter().map(|(file, text)| (file.to_string(), text.to_string())));
    assert_eq!(check(&all), expected);
}

#[test]
fn the_checker_sees_arrows_however_they_are_written() {
    assert_says(
        &[("src/calendar/x.rs", "use crate::decode::cbor; use crate::{event::Did, decode::{Car, Reject}};")],
        &[],
    );
    let db = "src/calendar/x.rs: calendar may not name db";
    assert_says(&[("src/calendar/x.rs", "use crate::db::Db;")], &[&format!("{db} (crate::db::Db)")]);
    assert_says(
        &[("src/calendar/x.rs", "use crate::{\n  event::{Did, Rev},\n  db,\n};")],
        &[&format!("{db} (crate::db)")],
    );
    assert_says(
        &[("src/calendar/x.rs", "fn f() -> crate::db::Db<'static> { g() }")],
        &[&format!("{db} (crate::db::Db)")],
    );
    assert_says(&[("src/calendar/x.rs", "use super::super::db::Db;")], &[&format!("{db} (super::super::db::Db)")]);
    assert_says(&[("src/calendar/x.rs", "use super::db; mod db {}")], &[]);
    assert_says(
        &[("src/calendar/mod.rs", "//! A room.\nuse super::db::Db;")],
        &["src/calendar/mod.rs: calendar may not name db (super::db::Db)"],
    );
    // Words about another room are no arrows.
    assert_says(
        &[("src/calendar/x.rs", "// crate::db\n/* crate::db /* x */ crate::db */ const A: &str = \"crate::db\";")],
        &[],
    );
    assert_says(
        &[("src/calendar/x.rs", "const A: char = '\"'; use crate::db; const B: &str = r#\"\"#;")],
        &[&format!("{db} (crate::db)")],
    );
}

#[test]
fn the_checker_knows_who_may_name_whom() {
    assert_says(
        &[("src/decode/x.rs", "use crate::telemetry::Counter;")],
        &["src/decode/x.rs: decode may not name telemetry (crate::telemetry::Counter)"],
    );
    assert_says(
        &[("src/event_log/x.rs", "use crate::config::Settings; use crate::telemetry::x;")],
        &["src/event_log/x.rs: event_log may not name config (crate::config::Settings)"],
    );
    assert_says(
        &[("src/devnet/x.rs", "use crate::event::Cid; use crate::decode::Car;")],
        &["src/devnet/x.rs: devnet may not name decode (crate::decode::Car)"],
    );
    assert_says(&[("src/attic/mod.rs", "//! Old things.")], &["room attic is not on the map"]);
    assert_says(
        &[("src/attic.rs", "fn f() {}")],
        &["room attic is not on the map", "src/attic.rs does not open with what the room is for (`//! …`)"],
    );
    assert_says(
        &[("src/service/x.rs", "use crate::config::A;"), ("src/config/x.rs", "use crate::service::B;")],
        &["cycle: config -> service -> config"],
    );
}

#[test]
fn the_checker_knows_what_is_not_pure() {
    let says = |path: &str| format!("src/decode/x.rs: pure, but names {path}");
    for (code, path) in [
        ("use std::{fmt, fs::File};", "std::fs::File"),
        ("fn f() { let t = chrono::Utc::now(); }", "chrono::Utc::now"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::time::SystemTime as Clock;", "std::time::SystemTime"),
        ("use tokio::sync::mpsc;", "tokio::sync::mpsc"),
        ("fn f(pool: &sqlx::PgPool) {}", "sqlx::PgPool"),
    ] {
        assert_says(&[("src/decode/x.rs", code)], &[&says(path)]);
    }
    assert_says(&[("src/decode/x.rs", "pub async fn f() {}")], &["src/decode/x.rs: pure, but async"]);
    assert_says(&[("src/decode/x.rs", "use std::{fmt, time::Duration}; fn f(tokio_like: u8, ioctl: fs_type) {}")], &[]);
}
