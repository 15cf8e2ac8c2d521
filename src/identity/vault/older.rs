//! The older form of envelope: JSON `{"v", "iv", "ciphertext", "authTag"}`, bare or as base64.
//!
//! AES-256-GCM without AAD: nothing binds it to a row, and it names no key of ours (`v` numbers the keys of the app that made
//! it). It is read so that what an app stored can be taken over; it is never written.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde::Deserialize;

use super::envelope::{NONCE_BYTES, TAG_BYTES};

#[derive(Deserialize)]
struct Form {
    v: serde_json::Value,
    iv: String,
    ciphertext: String,
    #[serde(rename = "authTag")]
    auth_tag: String,
}

/// An envelope of the older form, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Older {
    pub nonce: [u8; NONCE_BYTES],
    pub ciphertext: Vec<u8>,
    pub tag: [u8; TAG_BYTES],
}

impl Older {
    /// Takes one apart; the error tells what is wrong and nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let form = form(text.trim())?;
        let numbered = form.v.as_u64().is_some_and(|v| v > 0);
        if !numbered {
            return Err("its `v` is not a number from 1 on");
        }
        let nonce = base64(&form.iv).and_then(|iv| iv.try_into().ok()).ok_or("its `iv` is not base64 of 12 bytes")?;
        let tag = base64(&form.auth_tag).and_then(|tag| tag.try_into().ok());
        let tag = tag.ok_or("its `authTag` is not base64 of 16 bytes")?;
        let ciphertext = base64(&form.ciphertext).ok_or("its `ciphertext` is not base64")?;
        Ok(Older { nonce, ciphertext, tag })
    }
}

/// The JSON object, whichever way it is wrapped: a `jsonb` column that was given a text holds a JSON string of it.
fn form(text: &str) -> Result<Form, &'static str> {
    const NONE: &str = "it is neither v2.… nor JSON with v, iv, ciphertext and authTag, bare or as base64";
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|_| "it is JSON without v, iv, ciphertext and authTag");
    }
    let inner = match text.starts_with('"') {
        true => serde_json::from_str(text).map_err(|_| NONE)?,
        false => base64(text).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NONE)?,
    };
    // One wrapping inside another, and no more.
    let inner = match inner.trim_start().starts_with('"') {
        true => serde_json::from_str(&inner).map_err(|_| NONE)?,
        false => inner,
    };
    serde_json::from_str(&inner).map_err(|_| NONE)
}

/// Base64 as anybody may have written it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    [BASE64, BASE64URL, BASE64_NOPAD, BASE64URL_NOPAD].iter().find_map(|encoding| encoding.decode(text).ok())
}
