//! Who writes: an account with its DID, handle, host and key, and its DID document.

use serde_json::json;

use super::keys::{KeyForm, SigningKey};

/// An account of the made-up network.
#[derive(Clone)]
pub struct Account {
    /// `did:plc:…` or `did:web:…`.
    pub did: String,
    /// The handle, without `at://`.
    pub handle: String,
    /// The base URL of the PDS that holds the repository.
    pub pds: String,
    /// What signs its commits.
    pub key: SigningKey,
    /// How its DID document shows the key.
    pub key_form: KeyForm,
}

impl Account {
    /// The DID document, as a PLC directory or the account's own web host would serve it.
    pub fn did_document(&self) -> serde_json::Value {
        let (kind, multibase) = self.key.verification_method(self.key_form);
        // The old form is also the one that names its key by fragment alone, as older directories do.
        let (id, suite) = match self.key_form {
            KeyForm::Multikey => (format!("{}#atproto", self.did), "https://w3id.org/security/multikey/v1"),
            KeyForm::Legacy => ("#atproto".into(), "https://w3id.org/security/suites/secp256k1-2019/v1"),
        };
        json!({
            "@context": ["https://www.w3.org/ns/did/v1", suite],
            "id": self.did,
            "alsoKnownAs": [format!("at://{}", self.handle)],
            "verificationMethod": [
                {"id": id, "type": kind, "controller": self.did, "publicKeyMultibase": multibase}
            ],
            "service": [
                {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": self.pds}
            ],
        })
    }
}
