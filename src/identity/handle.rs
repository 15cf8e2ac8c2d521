//! Handles for accounts that we make: labels that a PDS takes, made from what an app calls its user.
//!
//! The rules are those of the reference PDS for handles under its own domains: one label of 3 to 18 letters, digits and
//! hyphens, not one of a list of reserved words; above it the protocol's: no hyphen at either end, 253 characters in all. Two
//! hyphens in a row are left out too: other hosts refuse them, and a browser takes some of them for Punycode.
//!
//! <https://atproto.com/specs/handle>

use rand::RngExt;

/// Characters of a label.
const LABEL_MIN: usize = 3;
const LABEL_MAX: usize = 18;
/// Characters of a handle.
const HANDLE_MAX: usize = 253;
/// Handles tried for one account.
pub const TRIES: usize = 8;
/// Of those, so many have a number behind them before chance comes in.
const NUMBERED: usize = 3;
/// What chance is written with: nothing that is taken for something else.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Labels that would be taken for the operator or for a part of the service. The PDS has a longer list of its own.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "api",
    "atproto",
    "did",
    "help",
    "host",
    "hostmaster",
    "mail",
    "moderation",
    "moderator",
    "null",
    "official",
    "pds",
    "plc",
    "postmaster",
    "root",
    "security",
    "staff",
    "status",
    "support",
    "system",
    "undefined",
    "webmaster",
    "www",
    "xrpc",
];

/// A name as a label: lower case, Latin letters without their marks, everything else a hyphen. Empty when nothing is left.
fn slug(name: &str) -> String {
    let mut label = String::new();
    for c in name.chars().take(1_000).flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            // Marks of their own, as in decomposed text, belong to the letter before them.
            '\u{300}'..='\u{36f}' | '\'' | '’' => {}
            _ => match latin(c) {
                Some(letters) => label.push_str(letters),
                None if label.is_empty() || label.ends_with('-') => {}
                None => label.push('-'),
            },
        }
        if label.len() > LABEL_MAX {
            break;
        }
    }
    label.truncate(LABEL_MAX);
    label.truncate(label.trim_end_matches('-').len());
    label
}

/// A Latin letter with a mark, without it, in the way of those who write it most.
fn latin(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'þ' => "th",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'č' | 'ĉ' | 'ċ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ŕ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ț' | 'ŧ' => "t",
        'ù' | 'ú' | 'û' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

fn random(length: usize) -> String {
    let mut chance = rand::rng();
    (0..length).map(|_| char::from(LETTERS[chance.random_range(0..LETTERS.len())])).collect()
}

/// The handle to try, the first time (0) or after others were taken: the name itself, then with a number, then with letters
/// drawn by chance. Without a name, or with one of which nothing is left, it is chance alone: the app's own name for its user
/// is nobody else's business. `domain` has its dot before it.
///
/// # Errors
/// A domain too long for any label.
pub fn candidate(name: Option<&str>, domain: &str, attempt: usize) -> Result<String, String> {
    let room = HANDLE_MAX.saturating_sub(domain.len()).min(LABEL_MAX);
    if room < LABEL_MIN {
        return Err(format!(
            "the handle domain {domain} leaves no room for a name: a handle has {HANDLE_MAX} characters"
        ));
    }
    let mut base = name.map(slug).unwrap_or_default();
    base.truncate(room);
    let plain = base.len() >= LABEL_MIN && !RESERVED.contains(&base.as_str());
    let suffix = match attempt {
        0 if plain => return Ok(format!("{}{domain}", base.trim_end_matches('-'))),
        attempt if attempt <= NUMBERED && !base.is_empty() => (attempt + 1).to_string(),
        _ => random(6.min(room)),
    };
    if base.is_empty() {
        base.push_str("user");
    }
    base.truncate(room.saturating_sub(suffix.len() + 1));
    let base = base.trim_end_matches('-');
    let label = if base.is_empty() { suffix } else { format!("{base}-{suffix}") };
    Ok(format!("{label}{domain}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_becomes_a_label() {
        for (name, wanted) in [
            ("Anna", "anna"),
            ("Zoë Müller-Größe", "zoe-mueller-groess"),
            ("José  Ñandú", "jose-nandu"),
            ("e\u{301}ric", "eric"),
            ("O'Brien", "obrien"),
            ("tom_scanlon.99", "tom-scanlon-99"),
            ("--a---b--", "a-b"),
            ("太郎 Tanaka", "tanaka"),
            ("太郎", ""),
            ("a-very-long-name-indeed", "a-very-long-name-i"),
            ("seventeen-letters-x", "seventeen-letters"),
        ] {
            assert_eq!(slug(name), wanted, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number_and_then_chance() {
        let of = |name, attempt| candidate(Some(name), ".pds.test", attempt).unwrap();
        assert_eq!(of("anna", 0), "anna.pds.test");
        assert_eq!(of("anna", 1), "anna-2.pds.test");
        assert_eq!(of("anna", 3), "anna-4.pds.test");
        let chance = of("anna", 4);
        assert!(chance.starts_with("anna-") && chance.len() == "anna-xxxxxx.pds.test".len(), "{chance}");
        assert_ne!(chance, of("anna", 4));
        assert_eq!(of("a-very-long-name-indeed", 1), "a-very-long-name-2.pds.test");
        for odd in ["admin", "jo", "太郎", ""] {
            let handle = of(odd, 0);
            assert!(handle.len() > odd.len() + 5 && handle.contains('-'), "{odd}: {handle}");
        }
        assert!(candidate(None, ".pds.test", 0).unwrap().starts_with("user-"));
        assert!(candidate(None, &format!(".{}", "a".repeat(250)), 0).is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_name_the_handle_is_one(name in "\\PC{0,40}", attempt in 0usize..12, long in 1usize..240) {
            let domain = format!(".{}.test", "a".repeat(long.min(60)));
            let handle = candidate(Some(&name), &domain, attempt).unwrap();
            let label = handle.strip_suffix(domain.as_str()).unwrap();
            prop_assert!((3..=18).contains(&label.len()), "{}", handle);
            prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!label.starts_with('-') && !label.ends_with('-') && !label.contains("--"));
            prop_assert!(crate::event::Handle::parse(&handle).is_ok(), "{}", handle);
        }
    }
}
