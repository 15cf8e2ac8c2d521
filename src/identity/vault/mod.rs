//! What seals the secrets of our users' accounts, and opens them again where they belong and nowhere else.
//!
//! In: a secret and its place (user, account, column). Out: an envelope (see `envelope`) that opens in that place of this
//! environment alone. Always true: the first key of the ring seals and every key opens, so that keys change while a process
//! serves; the older form (see `older`) is read, and never written. Never: a byte of a secret or a key in an error or in
//! `Debug`; a decision what to do about an envelope that does not open.

mod envelope;
mod older;
mod ring;
#[cfg(test)]
mod tests;

use aes_gcm::{AeadInOut, Aes256Gcm};
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};

use self::envelope::{Envelope, NONCE_BYTES, TAG_BYTES, bound_to, head};
use self::older::Older;
pub use self::ring::{KeyRing, KeyRingError, fresh_key};
use crate::event::Environment;

/// No password and no token is longer; what is, is not ours.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// The longest envelope that is looked at: base64 of base64 of the longest secret.
const ENVELOPE_BYTES_MAX: usize = 2 * SECRET_BYTES_MAX + 4096;

/// Where a secret lives. Its envelope opens there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The app's name for the user.
    pub user_id: &'a str,
    /// The network account.
    pub did: &'a str,
    /// Which secret of the account: the row's `name`.
    pub column: &'a str,
}

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The envelope: text to be stored.
    pub envelope: String,
    /// The id of the key that it names.
    pub key_id: String,
}

/// An opened secret.
#[derive(Debug)]
pub struct Opened {
    /// The secret.
    pub secret: SecretString,
    /// The id of the key that the envelope names; `None`: it is of the older form, which names none.
    pub key_id: Option<String>,
}

/// Why a secret was not sealed or opened. Holds no byte of either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The envelope names a key that the ring lacks.
    #[error(
        "it is sealed with key {0:?}, which is not in the ring; give that key back in identity.keys or identity.key_files"
    )]
    MissingKey(String),
    /// The key does not open it.
    #[error(
        "key {0:?} does not open it: it was changed, or comes from another row, another environment, or another key of that id"
    )]
    Refused(String),
    /// No key opens an envelope of the older form.
    #[error(
        "no key of the ring opens this envelope of the older form: it was changed, or its key is missing in identity.keys \
         or identity.key_files"
    )]
    OlderRefused,
    /// A text that is no envelope.
    #[error("it is no envelope: {0}; store the secret anew")]
    Malformed(&'static str),
    /// What was sealed is no secret of ours.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes of UTF-8")]
    NoSecret,
    /// The operating system does not give random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// Seals and opens for one environment.
#[derive(Debug)]
pub struct Vault {
    environment: Environment,
    ring: KeyRing,
}

impl Vault {
    /// With this ring.
    pub fn new(environment: Environment, ring: KeyRing) -> Self {
        Vault { environment, ring }
    }

    /// The keys, by id.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// What an envelope begins with when it is as [`Vault::seal`] makes it: the version, the sealing key's id, and the dot
    /// behind it.
    pub fn sealing_head(&self) -> String {
        format!("{}.", head(self.ring.sealing()))
    }

    /// Seals a secret for its place, with the first key.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`], [`VaultError::NoRandomness`].
    pub fn seal(&self, place: &Place<'_>, secret: &SecretString) -> Result<Sealed, VaultError> {
        let key = self.ring.first();
        let text = secret.expose_secret().as_bytes();
        if !(1..=SECRET_BYTES_MAX).contains(&text.len()) {
            return Err(VaultError::NoSecret);
        }
        let mut nonce = [0; NONCE_BYTES];
        SysRng.try_fill_bytes(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
        // At its full length at once: growing would leave a copy of the secret behind.
        let mut sealed = Vec::with_capacity(text.len() + TAG_BYTES);
        sealed.extend_from_slice(text);
        let aad = bound_to(&key.id, &self.environment, place);
        match key.cipher.encrypt_inout_detached((&nonce).into(), &aad, sealed.as_mut_slice().into()) {
            Ok(tag) => sealed.extend_from_slice(&tag),
            Err(_) => {
                sealed.zeroize();
                return Err(VaultError::NoSecret);
            }
        }
        let envelope = Envelope { key_id: key.id.clone(), nonce, sealed };
        Ok(Sealed { envelope: envelope.to_text(), key_id: envelope.key_id })
    }

    /// Opens what is stored in a place.
    ///
    /// # Errors
    /// Every [`VaultError`] but [`VaultError::NoRandomness`].
    pub fn open(&self, place: &Place<'_>, envelope: &str) -> Result<Opened, VaultError> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(VaultError::Malformed("it is longer than any envelope"));
        }
        if !Envelope::claims(envelope) {
            return Ok(Opened { secret: self.open_older(envelope)?, key_id: None });
        }
        let Envelope { key_id, nonce, mut sealed } = Envelope::parse(envelope).map_err(VaultError::Malformed)?;
        let Some(key) = self.ring.get(&key_id) else { return Err(VaultError::MissingKey(key_id)) };
        let tag: [u8; TAG_BYTES] =
            sealed.split_off(sealed.len() - TAG_BYTES).try_into().expect("an envelope that was parsed has a whole tag");
        let aad = bound_to(&key_id, &self.environment, place);
        match decrypted(&key.cipher, &nonce, &aad, sealed, &tag) {
            Some(secret) => Ok(Opened { secret: text(secret)?, key_id: Some(key_id) }),
            None => Err(VaultError::Refused(key_id)),
        }
    }

    /// Opens an envelope of the older form, which is bound to no place.
    ///
    /// # Errors
    /// [`VaultError::OlderRefused`], [`VaultError::Malformed`], [`VaultError::NoSecret`].
    pub fn open_older(&self, envelope: &str) -> Result<SecretString, VaultError> {
        let Older { nonce, ciphertext, tag } = Older::parse(envelope).map_err(VaultError::Malformed)?;
        let mut keys = self.ring.keys().iter();
        let opened = keys.find_map(|key| decrypted(&key.cipher, &nonce, &[], ciphertext.clone(), &tag));
        text(opened.ok_or(VaultError::OlderRefused)?)
    }
}

/// The plaintext, in the buffer that held the ciphertext; `None` when the tag does not fit.
fn decrypted(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    mut buffer: Vec<u8>,
    tag: &[u8; TAG_BYTES],
) -> Option<Zeroizing<Vec<u8>>> {
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer.as_mut_slice().into(), tag.into()).ok()?;
    Some(Zeroizing::new(buffer))
}

/// The plaintext as a secret. The text is copied once into a place of exactly its length; both places are overwritten when
/// they are dropped.
fn text(plain: Zeroizing<Vec<u8>>) -> Result<SecretString, VaultError> {
    match std::str::from_utf8(&plain) {
        Ok(text) if (1..=SECRET_BYTES_MAX).contains(&text.len()) => Ok(text.into()),
        _ => Err(VaultError::NoSecret),
    }
}
