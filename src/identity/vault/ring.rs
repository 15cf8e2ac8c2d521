//! The keys: ids and 32 bytes each. The first seals, all open.

use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit};
use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};

use super::VaultError;

/// The bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// The longest id of a key.
const ID_BYTES_MAX: usize = 64;

/// Keys that seal and open. Neither `Debug` nor an error holds a byte of one.
///
/// With nonces drawn at random, a key is good for 2³² envelopes (NIST SP 800-38D): decades of a hundred thousand accounts'
/// tokens only if it is rotated now and then.
pub struct KeyRing {
    /// Never empty.
    keys: Vec<Key>,
}

pub(super) struct Key {
    pub id: String,
    /// Overwritten when it is dropped.
    pub cipher: Aes256Gcm,
}

/// Why keys are no ring. The ids are named, the keys are not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is none.
    #[error("a key ring has at least one key")]
    Empty,
    /// An id that cannot stand in an envelope.
    #[error("{0:?} is no id of a key: 1 to 64 letters, digits, `-`, `_` or `.`")]
    Id(String),
    /// Two keys of one id.
    #[error("the id {0:?} is there twice")]
    SameId(String),
    /// One key under two ids: taking one of them away would seem safe and change nothing.
    #[error("{0:?} and {1:?} are the same key; take one of them away")]
    SameKey(String, String),
    /// A key that nobody drew.
    #[error("key {0:?} is one byte repeated, so anybody can guess it; make one with `almanac identity key new`")]
    Guessable(String),
    /// A text that is no key.
    #[error("key {id:?} {why}; a key is 32 bytes as base64 or as 64 hex digits; `almanac identity key new` makes one")]
    Text {
        /// Which key.
        id: String,
        /// What is wrong with it, without its content.
        why: String,
    },
}

impl KeyRing {
    /// Of ids and keys; the first seals.
    ///
    /// # Errors
    /// No key, an id that is none or is there twice, a key that is there twice or was plainly not drawn.
    pub fn new(mut keys: Vec<(String, [u8; KEY_BYTES])>) -> Result<Self, KeyRingError> {
        let ring = Self::checked(&keys).map(|()| {
            let key =
                |(id, key): &(String, [u8; KEY_BYTES])| Key { id: id.clone(), cipher: Aes256Gcm::new(key.into()) };
            KeyRing { keys: keys.iter().map(key).collect() }
        });
        keys.iter_mut().for_each(|(_, key)| key.zeroize());
        ring
    }

    fn checked(keys: &[(String, [u8; KEY_BYTES])]) -> Result<(), KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        for (n, (id, key)) in keys.iter().enumerate() {
            if !is_key_id(id) {
                return Err(KeyRingError::Id(id.clone()));
            }
            if key.iter().all(|byte| *byte == key[0]) {
                return Err(KeyRingError::Guessable(id.clone()));
            }
            if keys[..n].iter().any(|(other, _)| other == id) {
                return Err(KeyRingError::SameId(id.clone()));
            }
            if let Some((other, _)) = keys[..n].iter().find(|(_, other)| other == key) {
                return Err(KeyRingError::SameKey(other.clone(), id.clone()));
            }
        }
        Ok(())
    }

    /// Of ids and the texts of keys: base64, standard or URL-safe, or 64 hex digits.
    ///
    /// # Errors
    /// As [`KeyRing::new`], and a text that is not 32 bytes.
    pub fn read<'a>(keys: impl IntoIterator<Item = (&'a str, SecretString)>) -> Result<Self, KeyRingError> {
        let read = |(id, text): (&str, SecretString)| -> Result<_, KeyRingError> {
            let key = key_bytes(text.expose_secret()).map_err(|why| KeyRingError::Text { id: id.to_owned(), why })?;
            Ok((id.to_owned(), *key))
        };
        // Without growing: that would leave copies of keys behind.
        let texts: Vec<_> = keys.into_iter().collect();
        let mut keys = Vec::with_capacity(texts.len());
        for text in texts {
            match read(text) {
                Ok(key) => keys.push(key),
                Err(error) => {
                    keys.iter_mut().for_each(|(_, key)| key.zeroize());
                    return Err(error);
                }
            }
        }
        Self::new(keys)
    }

    /// The id of the key that seals.
    pub fn sealing(&self) -> &str {
        &self.first().id
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    pub(super) fn first(&self) -> &Key {
        self.keys.first().expect("a ring has a key")
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

/// Whether this may be the id of a key.
pub(super) fn is_key_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// The text of a fresh key, drawn by the operating system: standard base64.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn fresh_key() -> Result<SecretString, VaultError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SysRng.try_fill_bytes(key.as_mut()).map_err(|_| VaultError::NoRandomness)?;
    Ok(data_encoding::BASE64.encode(key.as_ref()).into())
}

/// Reads a key. The error tells what is wrong and nothing of the text.
fn key_bytes(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, String> {
    let text = text.trim();
    let bytes = if text.len() == 2 * KEY_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes())
    } else {
        let unpadded = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
        let standard: Zeroizing<Vec<u8>> = Zeroizing::new(
            unpadded
                .bytes()
                .map(|b| match b {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                })
                .collect(),
        );
        BASE64_NOPAD.decode(&standard)
    };
    let bytes = Zeroizing::new(bytes.map_err(|_| "is neither base64 nor hexadecimal".to_owned())?);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != KEY_BYTES {
        return Err(format!("has {} bytes", bytes.len()));
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}
