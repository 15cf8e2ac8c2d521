//! Signing keys of accounts, and how a DID document shows them.
//!
//! Signatures are deterministic (RFC 6979), 64 bytes, low-S: <https://atproto.com/specs/cryptography>.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest, Sha256};

/// A private key on one of the two curves of the protocol.
#[derive(Clone)]
pub enum SigningKey {
    /// secp256k1.
    K256(secp256k1::SecretKey),
    /// NIST P-256.
    P256(p256::ecdsa::SigningKey),
}

/// Which of the two curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256k1, what most accounts of the network have.
    K256,
    /// NIST P-256.
    P256,
}

/// How a DID document writes the key. Both forms are met in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// `Multikey`: a compressed point behind its multicodec.
    Multikey,
    /// `EcdsaSecp256k1VerificationKey2019` or its P-256 sister: a bare uncompressed point.
    Legacy,
}

impl SigningKey {
    /// A key out of 32 bytes of entropy. The few byte strings that are no scalar of the curve are hashed until they
    /// are one.
    pub fn from_entropy(curve: Curve, mut entropy: [u8; 32]) -> Self {
        loop {
            let key = match curve {
                Curve::K256 => secp256k1::SecretKey::from_secret_bytes(entropy).ok().map(SigningKey::K256),
                Curve::P256 => p256::ecdsa::SigningKey::from_slice(&entropy).ok().map(SigningKey::P256),
            };
            match key {
                Some(key) => return key,
                None => entropy = Sha256::digest(entropy).into(),
            }
        }
    }

    /// The curve of this key.
    pub fn curve(&self) -> Curve {
        match self {
            SigningKey::K256(_) => Curve::K256,
            SigningKey::P256(_) => Curve::P256,
        }
    }

    /// The signature over the SHA-256 of `message`: `r` and `s`, 32 bytes each, `s` in the lower half.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let digest: [u8; 32] = Sha256::digest(message).into();
        match self {
            SigningKey::K256(key) => {
                secp256k1::ecdsa::sign(secp256k1::Message::from_digest(digest), key).serialize_compact()
            }
            SigningKey::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&digest).expect("a 32-byte digest is long enough to sign");
                signature.normalize_s().to_bytes().into()
            }
        }
    }

    /// The public point, 33 bytes compressed or 65 uncompressed.
    pub fn public_point(&self, compressed: bool) -> Vec<u8> {
        match self {
            SigningKey::K256(key) => {
                let public = secp256k1::PublicKey::from_secret_key(key);
                if compressed { public.serialize().to_vec() } else { public.serialize_uncompressed().to_vec() }
            }
            SigningKey::P256(key) => key.verifying_key().to_sec1_point(compressed).as_bytes().to_vec(),
        }
    }

    /// The multibase text of the public key behind its multicodec: what follows `did:key:`, and what `Multikey` holds.
    pub fn multikey(&self) -> String {
        let mut bytes = match self.curve() {
            Curve::K256 => vec![0xe7, 0x01],
            Curve::P256 => vec![0x80, 0x24],
        };
        bytes.extend(self.public_point(true));
        multibase58(&bytes)
    }

    /// `type` and `publicKeyMultibase` of a verification method.
    pub fn verification_method(&self, form: KeyForm) -> (&'static str, String) {
        match (form, self.curve()) {
            (KeyForm::Multikey, _) => ("Multikey", self.multikey()),
            (KeyForm::Legacy, Curve::K256) => {
                ("EcdsaSecp256k1VerificationKey2019", multibase58(&self.public_point(false)))
            }
            (KeyForm::Legacy, Curve::P256) => {
                ("EcdsaSecp256r1VerificationKey2019", multibase58(&self.public_point(false)))
            }
        }
    }
}

/// Base58btc with the multibase prefix `z`.
fn multibase58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = vec![];
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let ones = std::iter::repeat_n('1', zeros);
    "z".chars().chain(ones).chain(digits.iter().rev().map(|d| ALPHABET[usize::from(*d)] as char)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base58_keeps_leading_zeros() {
        assert_eq!(multibase58(b"Hello World!"), "z2NEpo7TZRRrLZSi2U");
        assert_eq!(multibase58(&[0, 0, 0x28, 0x7f, 0xb4, 0xcd]), "z11233QC4");
    }

    #[test]
    fn a_known_private_key_has_its_published_did_key() {
        let entropy = data_encoding::HEXLOWER
            .decode(b"9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c")
            .unwrap();
        let key = SigningKey::from_entropy(Curve::K256, entropy.try_into().unwrap());
        assert_eq!(key.multikey(), "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme");
    }
}
