//! The words that filters are made of, each checked once, where it enters.

use super::QueryError;
use crate::event::{Did, Handle};

/// The longest token that a filter takes, in bytes: an NSID of at most 317, `#`, and a name.
const TOKEN_MAX_BYTES: usize = 400;

/// The longest search text, in characters.
const TEXT_MAX_CHARS: usize = 300;

/// Declares a filter word over a set of lexicon tokens.
macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $parameter:literal, $lexicon:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Takes a short word (completed to a token of the community lexicon) or a full token of any lexicon.
            ///
            /// # Errors
            /// Empty, too long, or made of characters that no token has.
            pub fn parse(text: &str) -> Result<Self, QueryError> {
                token(text, $parameter, $lexicon).map($name)
            }

            /// The full token.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The ways in which records write it: the token, and of the community's also the bare word.
            pub(super) fn forms(&self) -> Vec<String> {
                let bare = self.0.strip_prefix(concat!($lexicon, "#")).map(str::to_owned);
                std::iter::once(self.0.clone()).chain(bare).collect()
            }
        }
    };
}

/// The mode that an event without one counts as: the lexicon's default.
pub(super) const DEFAULT_MODE: &str = "community.lexicon.calendar.event#inperson";
/// The status that an event without one counts as: the lexicon's default.
pub(super) const DEFAULT_STATUS: &str = "community.lexicon.calendar.event#scheduled";

token!(
    /// What has become of an event: `planned`, `scheduled`, `rescheduled`, `cancelled`, `postponed`, or another
    /// lexicon's token.
    EventStatus, "status", "community.lexicon.calendar.event"
);
token!(
    /// How an event is attended: `hybrid`, `inperson`, `virtual`, or another lexicon's token.
    EventMode, "mode", "community.lexicon.calendar.event"
);
token!(
    /// What an RSVP answers: `going`, `interested`, `notgoing`, or another lexicon's token.
    RsvpStatus, "status", "community.lexicon.calendar.rsvp"
);

fn token(text: &str, parameter: &'static str, lexicon: &str) -> Result<String, QueryError> {
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let dotted = |s: &str| s.contains('.') && s.split('.').all(plain);
    let valid = text.len() <= TOKEN_MAX_BYTES
        && match text.split_once('#') {
            Some((nsid, name)) => dotted(nsid) && plain(name),
            None => plain(text) || dotted(text),
        };
    if !valid {
        let message = format!("must be a short word such as `virtual` or a full token such as `{lexicon}#…`");
        return Err(QueryError::invalid(parameter, message));
    }
    if text.contains(['#', '.']) { Ok(text.to_owned()) } else { Ok(format!("{lexicon}#{text}")) }
}

/// Whose records are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// The account itself.
    Did(Did),
    /// The account that last called itself so, in any case of letters.
    Handle(Handle),
}

impl Author {
    /// Takes a DID or a handle (with or without a leading `@`).
    ///
    /// # Errors
    /// Neither of them, or `handle.invalid`, which many accounts bear at once.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let wrong = |message: &str| Err(QueryError::invalid("author", message));
        if text.starts_with("did:") {
            return match Did::parse(text) {
                Ok(did) => Ok(Author::Did(did)),
                Err(_) => wrong("is not a valid DID"),
            };
        }
        match Handle::parse(text.strip_prefix('@').unwrap_or(text)) {
            Ok(handle) if handle.as_str().eq_ignore_ascii_case("handle.invalid") => {
                wrong("`handle.invalid` stands for no handle at all: ask by DID")
            }
            Ok(handle) => Ok(Author::Handle(handle)),
            Err(_) => wrong("must be a DID (`did:plc:…`) or a handle (`alice.example.com`)"),
        }
    }
}

/// What to look for in names and descriptions, in the manner of web searches: words, `"phrases"`, `or`, `-not`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// Takes 1 to 300 characters.
    ///
    /// # Errors
    /// Blank, longer, or with a NUL character, which Postgres cannot hold.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let wrong = |message: String| Err(QueryError::invalid("q", message));
        if text.trim().is_empty() {
            return wrong("must not be empty".to_owned());
        }
        if text.contains('\0') {
            return wrong("must not contain a NUL character".to_owned());
        }
        if text.chars().nth(TEXT_MAX_CHARS).is_some() {
            return wrong(format!("must be at most {TEXT_MAX_CHARS} characters long"));
        }
        Ok(SearchText(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_are_completed_and_full_tokens_kept() {
        assert_eq!(EventMode::parse("virtual").unwrap().as_str(), "community.lexicon.calendar.event#virtual");
        assert_eq!(EventStatus::parse("org.example.x#odd").unwrap().as_str(), "org.example.x#odd");
        assert_eq!(EventMode::parse("virtual").unwrap().forms().last().unwrap(), "virtual");
        assert_eq!(EventStatus::parse("org.example.x#odd").unwrap().forms(), ["org.example.x#odd"]);
        assert_eq!(RsvpStatus::parse("org.example.going").unwrap().as_str(), "org.example.going");
        let long = "a".repeat(500);
        for bad in ["", "#", "a#", "#a", "a#b", "a b", "a'b", "a.b#c#d", "ä", "a\0", "..", long.as_str()] {
            assert!(EventMode::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn authors_are_dids_or_handles() {
        assert!(matches!(Author::parse("did:plc:abc"), Ok(Author::Did(_))));
        assert!(matches!(Author::parse("@Alice.Test"), Ok(Author::Handle(_))));
        for bad in ["", "alice", "did:plc:", "did:plc:a b", "handle.invalid", "Handle.Invalid", "a@b.c"] {
            assert!(Author::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn search_text_is_bounded() {
        assert!(SearchText::parse(&"ö".repeat(TEXT_MAX_CHARS)).is_ok());
        for bad in ["".to_owned(), "  ".to_owned(), "a\0b".to_owned(), "ö".repeat(TEXT_MAX_CHARS + 1)] {
            assert!(SearchText::parse(&bad).is_err());
        }
    }
}
