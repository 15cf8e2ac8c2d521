//! Identifiers of the protocol, each checked once, where it enters.

use std::fmt;
use std::str::FromStr;

/// Text that is not a valid identifier of the named kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {text:?}")]
pub struct IdentError {
    kind: &'static str,
    text: String,
}

impl IdentError {
    /// Keeps at most 120 characters of the offending text, for messages.
    pub(crate) fn new(kind: &'static str, text: &str) -> Self {
        IdentError { kind, text: text.chars().take(120).collect() }
    }
}

/// Declares a checked string type: constructor, accessors, `Display`, serde.
macro_rules! text_ident {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Whether `text` has the syntax of this identifier.
            pub fn is_valid(text: &str) -> bool {
                $valid(text)
            }

            /// Checks the syntax and keeps the text.
            pub fn parse(text: &str) -> Result<Self, IdentError> {
                if $valid(text) { Ok($name(text.into())) } else { Err(IdentError::new($kind, text)) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdentError;
            fn from_str(text: &str) -> Result<Self, IdentError> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_ident!(
    /// A [DID](https://atproto.com/specs/did), of any method, at most 2,048 characters.
    Did, "DID", did_is_valid
);
impl Did {
    /// What speaks in events that are about no account: the service itself. `.invalid` belongs to nobody (RFC 6761).
    pub fn service() -> Self {
        Did::parse("did:web:almanac.invalid").expect("it has the syntax of a DID")
    }
}

text_ident!(
    /// A [handle](https://atproto.com/specs/handle): a domain name of at most 253 characters. Compare handles
    /// without regard to case.
    Handle, "handle", handle_is_valid
);
text_ident!(
    /// The name of a collection or lexicon, [NSID](https://atproto.com/specs/nsid), at most 317 characters.
    Nsid, "NSID", nsid_is_valid
);
text_ident!(
    /// A [record key](https://atproto.com/specs/record-key), 1 to 512 characters.
    Rkey, "record key", rkey_is_valid
);
text_ident!(
    /// The name of an environment (`production`, `staging`, `dev-anna`): lower-case letters, digits, `-` and `_`,
    /// at most 63, starting with a letter.
    Environment, "environment name", environment_is_valid
);

fn did_is_valid(s: &str) -> bool {
    let Some((method, id)) = s.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else { return false };
    s.len() <= 2048
        && !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_lowercase())
        && !id.is_empty()
        && !id.ends_with([':', '%'])
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'%' | b'-'))
}

/// One label of a domain name: 1 to 63 letters, digits and inner hyphens.
fn label_is_valid(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn handle_is_valid(s: &str) -> bool {
    s.len() <= 253
        && s.contains('.')
        && s.split('.').all(label_is_valid)
        && s.rsplit('.').next().is_some_and(|tld| tld.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn nsid_is_valid(s: &str) -> bool {
    let Some((authority, name)) = s.rsplit_once('.') else { return false };
    // The whole is limited, its authority is not beyond that: the published vectors have a valid one of 283 characters.
    s.len() <= 317
        && authority.contains('.')
        && authority.split('.').all(label_is_valid)
        && authority.starts_with(|c: char| c.is_ascii_alphabetic())
        && (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn rkey_is_valid(s: &str) -> bool {
    (1..=512).contains(&s.len())
        && s != "."
        && s != ".."
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'~' | b'.' | b':' | b'-'))
}

fn environment_is_valid(s: &str) -> bool {
    s.len() <= 63
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// A repository revision: a [TID](https://atproto.com/specs/tid), ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(u64);

const TID_DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

impl Rev {
    /// The smallest revision: every other one is newer or equal.
    pub const ZERO: Rev = Rev(0);

    /// Reads the 13-character text form.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        let wrong = || IdentError::new("TID", text);
        let bytes: &[u8; 13] = text.as_bytes().try_into().map_err(|_| wrong())?;
        // The top bit of the 64 is always 0, so the first of the 13 digits is one of the lower 16 only by half.
        if !matches!(bytes[0], b'2'..=b'7' | b'a'..=b'j') {
            return Err(wrong());
        }
        let mut value = 0u64;
        for &b in bytes {
            let digit = match b {
                b'2'..=b'7' => b - b'2',
                b'a'..=b'z' => b - b'a' + 6,
                _ => return Err(wrong()),
            };
            value = value << 5 | u64::from(digit);
        }
        Ok(Rev(value))
    }

    /// Microseconds since 1970 that this revision claims to have been made at.
    pub fn micros(self) -> u64 {
        self.0 >> 10
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 13];
        for (i, slot) in text.iter_mut().enumerate() {
            *slot = TID_DIGITS[(self.0 >> (60 - 5 * i) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("TID digits are ASCII"))
    }
}

impl fmt::Debug for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rev({self})")
    }
}

impl FromStr for Rev {
    type Err = IdentError;
    fn from_str(text: &str) -> Result<Self, IdentError> {
        Self::parse(text)
    }
}

/// The address of one record: `at://DID/COLLECTION/RKEY`. The authority is a DID, never a handle, because only the
/// DID stays the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtUri {
    /// Whose repository.
    pub did: Did,
    /// Which collection.
    pub collection: Nsid,
    /// Which record.
    pub rkey: Rkey,
}

impl AtUri {
    /// Reads a record's AT-URI. Refused: handles as authority, fragments, queries, anything but three parts.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        let wrong = || IdentError::new("AT-URI of a record", text);
        let mut parts = text.strip_prefix("at://").ok_or_else(wrong)?.split('/');
        let mut next = || parts.next().ok_or_else(wrong);
        let uri = AtUri { did: Did::parse(next()?)?, collection: Nsid::parse(next()?)?, rkey: Rkey::parse(next()?)? };
        if parts.next().is_some() { Err(wrong()) } else { Ok(uri) }
    }
}

impl fmt::Display for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{}/{}", self.did, self.collection, self.rkey)
    }
}

impl fmt::Debug for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtUri({self})")
    }
}

impl FromStr for AtUri {
    type Err = IdentError;
    fn from_str(text: &str) -> Result<Self, IdentError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rev_keeps_text_order() {
        let (a, b) = (Rev::parse("3n2uyhpluwr2l").unwrap(), Rev::parse("3n2uyhpluwr2m").unwrap());
        assert!(a < b);
        assert_eq!(a.to_string(), "3n2uyhpluwr2l");
        assert_eq!(Rev::parse("jzzzzzzzzzzzz").unwrap().to_string(), "jzzzzzzzzzzzz");
        for bad in ["kzzzzzzzzzzzz", "3n2uyhpluwr2", "3n2uyhpluwr21", "3N2uyhpluwr2l", ""] {
            assert!(Rev::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn at_uri_names_one_record_by_did() {
        let text = "at://did:plc:abc/community.lexicon.calendar.event/3n2uyhpluwr2l";
        assert_eq!(AtUri::parse(text).unwrap().to_string(), text);
        for bad in ["at://alice.test/a.b.c/d", "at://did:plc:abc/a.b.c", "at://did:plc:abc/a.b.c/d/e", "https://a"] {
            assert!(AtUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn environment_names_are_plain() {
        assert!(Environment::parse("dev-anna_2").is_ok());
        for bad in ["", "Prod", "1x", "a b", "-a"] {
            assert!(Environment::parse(bad).is_err(), "{bad}");
        }
    }
}
