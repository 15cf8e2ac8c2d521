//! Lengths of time as people write them in settings: `30d`, `12h`, `90m`, `45s`, `500ms`.

use std::time::Duration;

use chrono::TimeDelta;

/// Units with their milliseconds; one that ends like another comes before it.
const UNITS: [(&str, i64); 5] = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Reads a whole number with its unit: `d`, `h`, `m`, `s` or `ms`. At most 100 years. Good: `30d`. Bad: `1 week`.
///
/// # Errors
/// What is wrong with it, and what would do.
pub fn parse_age(text: &str) -> Result<TimeDelta, String> {
    let wrong = || {
        format!(
            "{text:?} is not a length of time; write a whole number and its unit, such as 30d, 12h, 90m, 45s or 500ms"
        )
    };
    let read = UNITS.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)));
    let (number, millis) = read.ok_or_else(wrong)?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let all = number.parse::<i64>().ok().and_then(|n| n.checked_mul(*millis));
    match all {
        Some(all) if all <= 100 * 365 * 86_400_000 => Ok(TimeDelta::milliseconds(all)),
        _ => Err(format!("{text:?} is longer than 100 years")),
    }
}

/// The same where no time at all makes no sense.
pub(super) fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_age(text)?.to_std().map_err(|e| e.to_string())?;
    if pause.is_zero() { Err(format!("{text:?} is no time at all")) } else { Ok(pause) }
}

/// A length of time in the largest unit that tells it whole.
pub fn age_text(age: TimeDelta) -> String {
    let millis = age.num_milliseconds();
    if millis == 0 {
        return "0s".to_owned();
    }
    let whole = UNITS[1..].iter().find(|(_, unit)| millis % unit == 0);
    let (letter, unit) = whole.unwrap_or(&UNITS[0]);
    format!("{}{letter}", millis / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        for (text, seconds) in
            [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("0s", 0), ("2000ms", 2), ("36500d", 3_153_600_000)]
        {
            assert_eq!(parse_age(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in ["", "30", "d", "-1d", "+1d", "1.5h", "30 d", "30D", "1w", "1é", "36501d", "99999999999999999999d"]
        {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pause_is_some_time() {
        assert_eq!(parse_pause("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_pause("0s").is_err() && parse_pause("6").is_err());
    }

    #[test]
    fn and_told_the_same_way() {
        for text in ["30d", "12h", "90m", "45s", "0s", "500ms"] {
            assert_eq!(age_text(parse_age(text).unwrap()), text);
        }
    }
}
