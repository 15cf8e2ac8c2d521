//! Telling whether two secrets are one without telling them.

use sha2::{Digest, Sha256};

/// Characters from which on a secret has a fingerprint. A shorter one could be found by trying.
pub const FINGERPRINT_FROM: usize = 16;

/// Keeps fingerprints apart from other hashes of the same secrets.
const CONTEXT: &[u8] = b"almanac isolation fingerprint 1\0";

/// The first 16 hexadecimal digits of SHA-256 over a fixed context and the secret: the same in every environment, so that a
/// shared secret shows. `None` for a secret of fewer than [`FINGERPRINT_FROM`] characters. Whoever can guess a secret can
/// check his guess against its fingerprint: a password that somebody thought of is not safe behind it.
pub fn fingerprint(secret: &str) -> Option<String> {
    if secret.chars().count() < FINGERPRINT_FROM {
        return None;
    }
    let digest = Sha256::new().chain_update(CONTEXT).chain_update(secret.as_bytes()).finalize();
    Some(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_has_one_fingerprint_for_ever() {
        // printf 'almanac isolation fingerprint 1\0correct horse battery staple' | sha256sum
        assert_eq!(fingerprint("correct horse battery staple").as_deref(), Some("2832c5627bf81889"));
        assert_ne!(fingerprint("correct horse battery staplf"), fingerprint("correct horse battery staple"));
    }

    #[test]
    fn a_short_secret_has_none() {
        assert_eq!(fingerprint("fifteen letters"), None);
        assert!(fingerprint("sixteen letters!").is_some());
        // Characters, not bytes.
        assert_eq!(fingerprint("ééééééééé"), None);
    }
}
