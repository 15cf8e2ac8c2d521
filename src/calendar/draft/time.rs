//! Points in time as records hold them.
//!
//! <https://atproto.com/specs/lexicon#datetime>

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};

/// One form for one moment: UTC, milliseconds, `Z`.
pub(super) fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads what RFC 3339 allows, with a zone; what is finer than a millisecond is cut off.
pub(super) fn read(text: &str) -> Result<DateTime<Utc>, &'static str> {
    const HOW: &str =
        "not a point in time as RFC 3339 writes it, with its zone: 2026-12-01T18:00:00Z or 2026-12-01T19:00:00+01:00";
    if text.len() > 64 {
        return Err(HOW);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| HOW)?.with_timezone(&Utc);
    if text.ends_with("-00:00") {
        return Err("its zone is -00:00, which says that the zone is not known; write Z for UTC");
    }
    if !(1..=9999).contains(&time.year()) {
        return Err("its year has no form of four digits in UTC");
    }
    let millis = time.nanosecond() / 1_000_000;
    if millis > 999 {
        return Err("a leap second, which few can read; write the second before or after it");
    }
    time.with_nanosecond(millis * 1_000_000).ok_or(HOW)
}
