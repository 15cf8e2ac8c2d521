//! What a DID document says of an account, as far as the protocol uses it.
//!
//! <https://atproto.com/specs/did#did-documents>

use serde_json::Value;

use super::{Did, Handle};

/// A DID document that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidDocumentError {
    /// It is the document of another DID, or names none.
    #[error("the document is of {0:?}")]
    OtherDid(String),
    /// Its `#atproto` verification method is of a type that the protocol does not know.
    #[error("the #atproto key has the unknown type {0:?}")]
    KeyType(String),
}

/// How a document writes its signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyForm {
    /// `Multikey`: the curve is in the text.
    Multikey,
    /// `EcdsaSecp256k1VerificationKey2019`: a point of K-256.
    K256,
    /// `EcdsaSecp256r1VerificationKey2019`: a point of P-256.
    P256,
}

impl KeyForm {
    /// The `type` of the verification method.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyForm::Multikey => "Multikey",
            KeyForm::K256 => "EcdsaSecp256k1VerificationKey2019",
            KeyForm::P256 => "EcdsaSecp256r1VerificationKey2019",
        }
    }

    /// Reads the `type`.
    pub fn from_word(word: &str) -> Option<Self> {
        [KeyForm::Multikey, KeyForm::K256, KeyForm::P256].into_iter().find(|form| form.as_str() == word)
    }
}

/// A signing key as a document writes it, unread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyText {
    /// How it is written.
    pub form: KeyForm,
    /// Its `publicKeyMultibase`.
    pub multibase: Box<str>,
}

/// What a DID document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// Whose it is.
    pub did: Did,
    /// The first handle that it claims: a claim until the handle leads back to the DID.
    pub handle: Option<Handle>,
    /// The key that signs the repository's commits.
    pub key: Option<KeyText>,
    /// Where the repository is: the endpoint of the account's PDS as written, without a final slash.
    pub pds: Option<Box<str>>,
}

impl DidDocument {
    /// Reads the document of `did`. What it says beyond the four fields is ignored; of several entries of one kind the
    /// first counts.
    ///
    /// # Errors
    /// A document of another DID; an `#atproto` key of an unknown type.
    pub fn from_json(did: &Did, document: &Value) -> Result<Self, DidDocumentError> {
        let id = document["id"].as_str().unwrap_or_default();
        if id != did.as_str() {
            return Err(DidDocumentError::OtherDid(id.chars().take(120).collect()));
        }
        let entries = |field: &str| document[field].as_array().map_or(&[][..], Vec::as_slice);
        // Older directories name the fragment alone.
        let named = |entry: &&Value, fragment: &str| {
            entry["id"].as_str().is_some_and(|id| id.strip_prefix(did.as_str()).unwrap_or(id) == fragment)
        };
        let handle = entries("alsoKnownAs").iter().find_map(|name| name.as_str()?.strip_prefix("at://"));
        let method = entries("verificationMethod").iter().find(|method| named(method, "#atproto"));
        let key = match method {
            None => None,
            Some(method) => {
                let word = method["type"].as_str().unwrap_or_default();
                let form = KeyForm::from_word(word)
                    .ok_or_else(|| DidDocumentError::KeyType(word.chars().take(120).collect()))?;
                let text = method["publicKeyMultibase"].as_str();
                text.map(|text| KeyText { form, multibase: text.into() })
            }
        };
        let service = entries("service").iter().find(|service| named(service, "#atproto_pds"));
        let pds = service.and_then(|service| service["serviceEndpoint"].as_str());
        Ok(DidDocument {
            did: did.clone(),
            handle: handle.and_then(|handle| Handle::parse(handle).ok()),
            key,
            pds: pds.map(|endpoint| endpoint.trim_end_matches('/').into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_to_name_an_entry_are_read() {
        let did = Did::parse("did:plc:abc").unwrap();
        for id in ["#atproto", "did:plc:abc#atproto"] {
            let document = json!({
                "id": "did:plc:abc", "alsoKnownAs": ["https://x.test", "at://anna.test"],
                "verificationMethod": [
                    {"id": "did:plc:abc#other", "type": "Unheard", "publicKeyMultibase": "z1"},
                    {"id": id, "type": "Multikey", "publicKeyMultibase": "z2"},
                ],
                "service": [{"id": "#atproto_pds", "serviceEndpoint": "https://pds.test/"}],
            });
            let read = DidDocument::from_json(&did, &document).unwrap();
            assert_eq!(read.handle.unwrap().as_str(), "anna.test");
            assert_eq!(read.key, Some(KeyText { form: KeyForm::Multikey, multibase: "z2".into() }));
            assert_eq!(read.pds.as_deref(), Some("https://pds.test"));
        }
    }

    #[test]
    fn a_document_is_of_one_did_and_its_key_of_a_known_type() {
        let did = Did::parse("did:plc:abc").unwrap();
        let other = json!({"id": "did:plc:abd"});
        assert_eq!(DidDocument::from_json(&did, &other), Err(DidDocumentError::OtherDid("did:plc:abd".into())));
        let odd = json!({"id": "did:plc:abc", "verificationMethod": [{"id": "#atproto", "type": "JsonWebKey"}]});
        assert_eq!(DidDocument::from_json(&did, &odd), Err(DidDocumentError::KeyType("JsonWebKey".into())));
        let bare = DidDocument::from_json(&did, &json!({"id": "did:plc:abc"})).unwrap();
        assert_eq!((bare.handle, bare.key, bare.pds), (None, None, None));
    }
}
