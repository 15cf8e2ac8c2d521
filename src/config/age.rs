//! Lengths of time as people write them in settings: `30d`, `12h`, `90m`, `45s`.

use chrono::TimeDelta;

const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a whole number with its unit: `d`, `h`, `m` or `s`. At most 100 years.
pub(super) fn parse_age(text: &str) -> Result<TimeDelta, String> {
    let wrong =
        || format!("{text:?} is not a length of time; write a whole number and its unit, such as 30d, 12h, 90m or 45s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let (_, seconds) = UNITS.iter().find(|(letter, _)| *letter == unit).ok_or_else(wrong)?;
    let number = &text[..text.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let all = number.parse::<i64>().ok().and_then(|n| n.checked_mul(*seconds));
    match all {
        Some(all) if all <= 100 * 365 * 86_400 => Ok(TimeDelta::seconds(all)),
        _ => Err(format!("{text:?} is longer than 100 years")),
    }
}

/// A length of time in the largest unit that tells it whole.
pub fn age_text(age: TimeDelta) -> String {
    let seconds = age.num_seconds();
    let (letter, unit) = UNITS.iter().find(|(_, unit)| seconds % unit == 0 && seconds != 0).unwrap_or(&UNITS[3]);
    format!("{}{letter}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        for (text, seconds) in
            [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("0s", 0), ("36500d", 3_153_600_000)]
        {
            assert_eq!(parse_age(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in ["", "30", "d", "-1d", "+1d", "1.5h", "30 d", "30D", "1w", "1é", "36501d", "99999999999999999999d"]
        {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn and_told_the_same_way() {
        for text in ["30d", "12h", "90m", "45s", "0s"] {
            assert_eq!(age_text(parse_age(text).unwrap()), text);
        }
    }
}
