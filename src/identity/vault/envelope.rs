//! The form in which secrets are stored: `v2.ID.NONCE.SEALED`.
//!
//! `ID` is the id of the key, `NONCE` 12 random bytes, `SEALED` the AES-256-GCM ciphertext with its 16 bytes of tag behind
//! it; both in URL-safe base64 without padding. An id may hold dots, so the text is read from its end. What else is
//! authenticated (the AAD) is the head `v2.ID`, the environment, and the place: table, user, account and column, each with
//! its length before it, so that no two places give the same bytes.

use data_encoding::BASE64URL_NOPAD;

use super::Place;
use super::ring::is_key_id;
use crate::event::Environment;

/// What an envelope of this form begins with.
const VERSION: &str = "v2";
/// Where all envelopes are.
const TABLE: &str = "identity.credential";
/// 96 bits.
pub(super) const NONCE_BYTES: usize = 12;
/// 128 bits.
pub(super) const TAG_BYTES: usize = 16;

/// An envelope, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub key_id: String,
    pub nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub sealed: Vec<u8>,
}

impl Envelope {
    /// Whether this text claims to be of this form.
    pub fn claims(text: &str) -> bool {
        text.strip_prefix(VERSION).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Takes an envelope apart; the error tells what is wrong and nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.'));
        let mut parts = rest.ok_or("it does not begin with v2.")?.rsplitn(3, '.');
        let (Some(sealed), Some(nonce), Some(key_id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("it has fewer than four parts");
        };
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes());
        let nonce = decode(nonce).ok().and_then(|nonce| nonce.try_into().ok()).ok_or("its nonce is not 12 bytes")?;
        let sealed = decode(sealed).map_err(|_| "its ciphertext is not URL-safe base64")?;
        if sealed.len() < TAG_BYTES {
            return Err("its ciphertext is shorter than a tag");
        }
        if !is_key_id(key_id) {
            return Err("it names no key");
        }
        Ok(Envelope { key_id: key_id.to_owned(), nonce, sealed })
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        format!("{}.{}.{}", head(&self.key_id), encode(&self.nonce), encode(&self.sealed))
    }
}

/// What the envelopes of a key begin with.
pub(super) fn head(key_id: &str) -> String {
    format!("{VERSION}.{key_id}")
}

/// What an envelope is bound to.
pub(super) fn bound_to(key_id: &str, environment: &Environment, place: &Place<'_>) -> Vec<u8> {
    let head = head(key_id);
    let mut bytes = Vec::new();
    for part in [&head, TABLE, environment.as_str(), place.user_id, place.did, place.column] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}
