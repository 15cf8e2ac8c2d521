//! The two tokens of an account, and how long they last by their own word.
//!
//! <https://atproto.com/specs/xrpc#authentication>

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// A token that ends within this is not used any more: the call must arrive before its end.
pub(super) const MARGIN: Duration = Duration::from_secs(60);
/// A token that was obtained so lately is used whatever its end says: the host's clock and ours may differ.
const USED_AT_LEAST: Duration = Duration::from_secs(60);
/// A longer text is no token.
const TOKEN_BYTES_MAX: usize = 16_000;

/// What lets us act for an account.
pub(in crate::identity) struct Tokens {
    /// For calls.
    pub access: SecretString,
    /// For the next pair.
    pub refresh: SecretString,
    /// When the access token ends, by its own word; `None`: it does not tell.
    pub access_until: Option<DateTime<Utc>>,
    /// The same of the refresh token.
    pub refresh_until: Option<DateTime<Utc>>,
    /// The renewal that they are from.
    pub generation: i64,
    /// When this process got them from the host; `None`: they were stored before.
    obtained: Option<Instant>,
}

impl Tokens {
    /// As they were stored.
    pub fn stored(access: SecretString, refresh: SecretString, generation: i64) -> Self {
        let (access_until, refresh_until) = (end(&access), end(&refresh));
        Tokens { access, refresh, access_until, refresh_until, generation, obtained: None }
    }

    /// From the answer to `createSession`, `refreshSession` or `createAccount`.
    pub fn answered(answer: &mut Value, generation: i64) -> Option<Self> {
        let mut take = |name: &str| -> Option<SecretString> {
            match answer[name].take() {
                Value::String(text) if !text.is_empty() && text.len() <= TOKEN_BYTES_MAX => Some(text.into()),
                _ => None,
            }
        };
        let (access, refresh) = (take("accessJwt")?, take("refreshJwt")?);
        Some(Tokens { obtained: Some(Instant::now()), ..Self::stored(access, refresh, generation) })
    }

    /// Whether calls may be made with it for so long still. [`Duration::MAX`]: no token lasts, another is wanted.
    pub fn lasts(&self, left: Duration) -> bool {
        if left == Duration::MAX {
            return false;
        }
        let young = left <= MARGIN && self.obtained.is_some_and(|at| at.elapsed() < USED_AT_LEAST);
        young || lasts(self.access_until, left)
    }

    /// Whether the next pair may be had with it.
    pub fn can_be_refreshed(&self) -> bool {
        lasts(self.refresh_until, Duration::ZERO)
    }

    /// Whether it is the same access token.
    pub fn is(&self, other: &Tokens) -> bool {
        self.access.expose_secret() == other.access.expose_secret()
    }
}

/// A token that does not tell its end is used until it is refused.
fn lasts(until: Option<DateTime<Utc>>, left: Duration) -> bool {
    until.is_none_or(|until| until > Utc::now() + left)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens(generation {}, until {:?})", self.generation, self.access_until)
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

/// `exp` of a JWT. Nothing is verified: whom we would deceive is ourselves.
fn end(token: &SecretString) -> Option<DateTime<Utc>> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let payload = BASE64URL_NOPAD.decode(payload.trim_end_matches('=').as_bytes()).ok()?;
    let exp = serde_json::from_slice::<Claims>(&payload).ok()?.exp?;
    // Up to the year 9999; what is beyond is no time of a token's.
    (0.0..253_402_300_800.0).contains(&exp).then(|| DateTime::from_timestamp(exp as i64, 0))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> SecretString {
        format!("head.{}.signature", BASE64URL_NOPAD.encode(payload.as_bytes())).into()
    }

    #[test]
    fn a_token_tells_its_end_or_does_not() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        for (token, wanted) in [
            (jwt(r#"{"exp":1800000000}"#), at(1_800_000_000)),
            (jwt(r#"{"exp":1800000000.7,"sub":"did:plc:a"}"#), at(1_800_000_000)),
            (jwt(r#"{"exp":"soon"}"#), None),
            (jwt(r#"{"exp":1e300}"#), None),
            (jwt(r#"{"exp":-1}"#), None),
            (jwt("{}"), None),
            (jwt("not json"), None),
            ("opaque".into(), None),
            ("a.!!.c".into(), None),
            ("".into(), None),
        ] {
            assert_eq!(end(&token), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_soon_is_used_no_more_and_one_that_says_nothing_is() {
        let in_seconds = |seconds: i64| jwt(&format!(r#"{{"exp":{}}}"#, Utc::now().timestamp() + seconds));
        let stored = |access| Tokens::stored(access, jwt("{}"), 1);
        assert!(stored(in_seconds(90)).lasts(MARGIN) && !stored(in_seconds(50)).lasts(MARGIN));
        assert!(stored("opaque".into()).lasts(MARGIN));
        // Our clock may be ahead of the host's.
        let mut answer = serde_json::json!({
            "accessJwt": in_seconds(-3_600).expose_secret(), "refreshJwt": in_seconds(-5).expose_secret(),
        });
        let fresh = Tokens::answered(&mut answer, 1).unwrap();
        assert!(fresh.lasts(MARGIN) && !fresh.can_be_refreshed());
        assert!(!fresh.lasts(MARGIN * 2), "renewed ahead of time it is all the same");
        assert!(!fresh.lasts(Duration::MAX) && !stored("opaque".into()).lasts(Duration::MAX));
        tokio::time::advance(USED_AT_LEAST).await;
        assert!(!fresh.lasts(MARGIN));
        assert!(Tokens::answered(&mut serde_json::json!({ "accessJwt": "a", "refreshJwt": "" }), 1).is_none());
        assert!(Tokens::answered(&mut serde_json::json!({}), 1).is_none());
        assert!(!format!("{:?}", stored("opaque".into())).contains("opaque"));
    }
}
