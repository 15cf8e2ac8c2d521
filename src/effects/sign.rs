//! Signatures of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.
//!
//! <https://www.standardwebhooks.com>

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use ring::hmac;

const PREFIX: &str = "whsec_";
/// Lengths of a key in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that cannot be used. Does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Another form.
    #[error("a secret is `whsec_` and base64, as `echo whsec_$(openssl rand -base64 32)` makes it")]
    Form,
    /// Too short to be safe, or longer than receivers take.
    #[error("the secret has {0} bytes; 24 to 64 are needed, as `echo whsec_$(openssl rand -base64 32)` makes them")]
    Length(usize),
}

/// What deliveries are signed with. Does not print.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
    text: Box<str>,
}

impl Secret {
    /// Reads `whsec_` and the base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// Another form or length.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(SecretError::Form)?;
        let key = BASE64_NOPAD.decode(digits.trim_end_matches('=').as_bytes()).map_err(|_| SecretError::Form)?;
        if !BYTES.contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Ok(Secret { key: hmac::Key::new(hmac::HMAC_SHA256, &key), text: text.trim().into() })
    }

    /// The secret itself, as the settings have it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// `v1,` and the signature.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The three headers. With several secrets there are as many signatures, so that a receiver may exchange its own at any
/// time in between. Neither `id` holds a `.`, nor does a number.
pub(super) fn headers(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> [(&'static str, String); 3] {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const KNOWN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn signatures_are_those_of_the_reference_libraries() {
        let secret = Secret::parse(KNOWN).unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs() {
        let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let secrets = [Secret::parse(other).unwrap(), Secret::parse(KNOWN).unwrap()];
        let [id, timestamp, signature] = headers(&secrets, "msg_a", 7, b"{}");
        assert_eq!((id.1.as_str(), timestamp.1.as_str()), ("msg_a", "7"));
        let parts: Vec<&str> = signature.1.split(' ').collect();
        assert_eq!(parts, [secrets[0].sign("msg_a", 7, b"{}"), secrets[1].sign("msg_a", 7, b"{}")]);
    }

    #[test]
    fn secrets_have_one_form_and_do_not_print() {
        assert!(!format!("{:?}", Secret::parse(KNOWN).unwrap()).contains("MfKQ"));
        assert_eq!(Secret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").err(), Some(SecretError::Form));
        assert_eq!(Secret::parse("whsec_not base64").err(), Some(SecretError::Form));
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes]));
        for (bytes, fits) in [(23, false), (24, true), (32, true), (64, true), (65, false)] {
            assert_eq!(Secret::parse(&of(bytes)).is_ok(), fits, "{bytes}");
        }
    }
}
