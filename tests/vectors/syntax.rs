//! Identifiers and times, one a line.

use std::path::Path;

use almanac::calendar::EventView;
use almanac::decode::parse_time;
use almanac::event::{AtUri, Cid, Did, Handle, Nsid, Rev, Rkey};
use serde_json::json;

use super::{Cases, folder, vector};

/// The lines of `interop/syntax/KIND_VALIDITY.txt` without comments. Spaces at either end belong to the case.
fn lines(kind: &str, validity: &str) -> Option<Vec<String>> {
    let text = vector(&format!("interop/syntax/{kind}_{validity}.txt"))?;
    Some(text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// The type that reads `kind` must accept exactly the valid ones, but for those that `refused` refuses on purpose.
fn check(kind: &str, at_least: usize, is_valid: impl Fn(&str) -> bool, refused: impl Fn(&str) -> bool) {
    let (Some(valid), Some(invalid)) = (lines(kind, "syntax_valid"), lines(kind, "syntax_invalid")) else { return };
    let mut cases = Cases::default();
    for text in valid {
        let outcome = match (is_valid(&text), refused(&text)) {
            (true, false) | (false, true) => Ok(()),
            (true, true) => Err("accepted, though it is to be refused on purpose".to_owned()),
            (false, false) => Err("valid, but refused".to_owned()),
        };
        cases.case(format!("{kind} valid {text:?}"), outcome);
    }
    for text in invalid {
        let outcome = if is_valid(&text) { Err("invalid, but accepted".to_owned()) } else { Ok(()) };
        cases.case(format!("{kind} invalid {text:?}"), outcome);
    }
    cases.finish(kind, at_least);
}

#[test]
fn dids() {
    check("did", 30, Did::is_valid, |_| false);
}

#[test]
fn handles() {
    check("handle", 100, Handle::is_valid, |_| false);
}

#[test]
fn nsids() {
    check("nsid", 40, Nsid::is_valid, |_| false);
}

#[test]
fn record_keys() {
    check("recordkey", 25, Rkey::is_valid, |_| false);
}

#[test]
fn tids() {
    check("tid", 10, |text| Rev::parse(text).is_ok(), |_| false);
    let Some(valid) = lines("tid", "syntax_valid") else { return };
    for text in valid {
        assert_eq!(Rev::parse(&text).unwrap().to_string(), text);
    }
}

/// Either is what stands before the first slash of an AT-URI.
#[test]
fn at_identifiers() {
    check("atidentifier", 30, |text| Did::is_valid(text) || Handle::is_valid(text), |_| false);
}

/// Decided: an [`AtUri`] names one record and does so by DID. A handle may be somebody else's tomorrow, and a repository
/// or a collection is no record.
#[test]
fn at_uris() {
    let no_record_by_did = |text: &str| !text.starts_with("at://did:") || text["at://".len()..].split('/').count() != 3;
    check("aturi", 90, |text| AtUri::parse(text).is_ok(), no_record_by_did);
}

/// Decided: only the CIDs that the data model blesses (version 1, SHA-256, dag-cbor or raw, written in base32). Another
/// implementation says of each valid one whether it is of that kind.
#[test]
fn cids() {
    let blessed = |text: &str| {
        let Ok(cid) = text.parse::<ipld_core::cid::Cid>() else { return false };
        cid.version() == ipld_core::cid::Version::V1
            && [0x71, 0x55].contains(&cid.codec())
            && (cid.hash().code(), cid.hash().size()) == (0x12, 32)
            && text.starts_with('b')
    };
    check("cid", 15, |text| text.parse::<Cid>().is_ok(), |text| !blessed(text));
}

/// How the calendar reads a time in a record: whether it could, and whether it noted a problem.
fn read(text: &str) -> (bool, bool) {
    let view = EventView::read(&json!({"name": "n", "createdAt": "2026-01-01T00:00:00Z", "startsAt": text}));
    (view.starts_at.is_some(), view.problems.iter().any(|problem| problem.field == "startsAt"))
}

/// Decided: a valid time is read and nothing noted. Any other is read where its meaning is plain, and in every case the
/// field is on the record's list of problems.
#[test]
fn datetimes() {
    let Some(valid) = lines("datetime", "syntax_valid") else { return };
    let mut cases = Cases::default();
    for text in valid {
        let outcome = if read(&text) == (true, false) { Ok(()) } else { Err(format!("{:?}", read(&text))) };
        cases.case(format!("valid {text:?}"), outcome);
        let frame_time = if parse_time(&text).is_some() { Ok(()) } else { Err("not read as a frame's time".into()) };
        cases.case(format!("valid {text:?} in a frame"), frame_time);
    }
    let Some(invalid) = lines("datetime", "syntax_invalid") else { return };
    for text in invalid {
        let outcome = if read(&text).1 { Ok(()) } else { Err("no problem noted".into()) };
        cases.case(format!("invalid {text:?}"), outcome);
    }
    let Some(meaningless) = lines("datetime", "parse_invalid") else { return };
    for text in meaningless {
        let outcome = if read(&text) == (false, true) { Ok(()) } else { Err(format!("{:?}", read(&text))) };
        cases.case(format!("without meaning {text:?}"), outcome);
    }
    cases.finish("datetime", 80);
}

/// The lists that are looked at here are all that there are.
#[test]
fn every_list_has_its_test() {
    if !Path::new(&folder().join("interop/syntax")).is_dir() {
        return;
    }
    let tested = ["did", "handle", "nsid", "recordkey", "tid", "atidentifier", "aturi", "cid", "datetime"];
    for entry in std::fs::read_dir(folder().join("interop/syntax")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind = name.split('_').next().unwrap();
        assert!(tested.contains(&kind) || ["language", "uri"].contains(&kind), "{name}");
    }
}
