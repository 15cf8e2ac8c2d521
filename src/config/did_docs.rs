//! DID documents out of a file: the signing keys of the time that a dump is from.
//!
//! In: a JSON object, DID → DID document, as it is or compressed with zstd. Out: per DID its document and key. One document
//! that cannot be used costs its own account, not the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::Value;

use crate::decode::{PublicKey, Reason, Reject};
use crate::event::{Did, DidDocument};

/// How every zstd file begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file of DID documents that cannot be used: which, and why.
#[derive(Debug, thiserror::Error)]
#[error(
    "DID documents {}: {why}; wanted is a JSON object of DID → DID document, as it is or compressed with zstd",
    path.display()
)]
pub struct DidDocsError {
    path: PathBuf,
    why: String,
}

/// What a file says of one account.
#[derive(Clone, Debug)]
struct Entry {
    document: Option<DidDocument>,
    key: Result<PublicKey, Reject>,
}

/// The documents of a file.
#[derive(Clone, Debug, Default)]
pub struct DidDocs(HashMap<Did, Entry>);

impl DidDocs {
    /// Reads a file.
    ///
    /// # Errors
    /// One that cannot be read, is not JSON or not an object, or has an entry that is not about a DID.
    pub fn read(path: &Path) -> Result<Self, DidDocsError> {
        let wrong = |why: String| DidDocsError { path: path.to_owned(), why };
        let mut file = BufReader::new(File::open(path).map_err(|e| wrong(format!("cannot be opened: {e}")))?);
        let start = file.fill_buf().map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let source: Box<dyn Read> = if start.starts_with(&ZSTD_MAGIC) {
            let decoder = zstd::Decoder::with_buffer(file).map_err(|e| wrong(format!("cannot be unpacked: {e}")))?;
            Box::new(BufReader::new(decoder))
        } else {
            Box::new(file)
        };
        let mut json = serde_json::Deserializer::from_reader(source);
        let docs = json.deserialize_map(Entries).map_err(|e| wrong(e.to_string()))?;
        json.end().map_err(|e| wrong(e.to_string()))?;
        Ok(docs)
    }

    /// How many accounts it speaks of.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it speaks of nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The documents that can be used.
    pub fn documents(&self) -> impl Iterator<Item = &DidDocument> {
        self.0.values().filter_map(|entry| entry.document.as_ref())
    }

    /// The signing key of this account.
    ///
    /// # Errors
    /// [`Reason::NoKey`] when the file does not name one, [`Reason::BadKey`] when it cannot be read.
    pub fn key(&self, did: &str) -> Result<&PublicKey, Reject> {
        match self.0.get(did) {
            None => Err(Reject::new(Reason::NoKey, format!("{did} is not among the DID documents"))),
            Some(entry) => entry.key.as_ref().map_err(Clone::clone),
        }
    }
}

/// Reads the entries one by one, so that the JSON of one document is in memory at a time.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = DidDocs;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of DID documents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DidDocs, A::Error> {
        let mut docs = HashMap::new();
        while let Some((did, document)) = map.next_entry::<String, Value>()? {
            let did = Did::parse(&did).map_err(A::Error::custom)?;
            if !document.is_object() {
                return Err(A::Error::custom(format!("the document of {did} is no object")));
            }
            let entry = entry(&did, &document);
            docs.insert(did, entry);
        }
        Ok(DidDocs(docs))
    }
}

fn entry(did: &Did, document: &Value) -> Entry {
    match DidDocument::from_json(did, document) {
        Err(problem) => Entry { document: None, key: Err(Reject::new(Reason::BadKey, format!("{did}: {problem}"))) },
        Ok(document) => {
            let no_key = || Reject::new(Reason::NoKey, format!("the document of {did} names no #atproto key"));
            let key = document.key.as_ref().ok_or_else(no_key).and_then(PublicKey::read);
            Entry { document: Some(document), key }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<DidDocs, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        DidDocs::read(file.path()).map_err(|e| e.to_string())
    }

    const KEY: &str = "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";

    #[test]
    fn one_bad_document_costs_its_own_account() {
        let method =
            |text: &str| serde_json::json!([{"id": "#atproto", "type": "Multikey", "publicKeyMultibase": text}]);
        let text = serde_json::json!({
            "did:plc:good": {"id": "did:plc:good", "verificationMethod": method(KEY)},
            "did:plc:unreadable": {"id": "did:plc:unreadable", "verificationMethod": method("z6Mk")},
            "did:plc:other": {"id": "did:plc:good", "verificationMethod": method(KEY)},
            "did:plc:keyless": {"id": "did:plc:keyless"},
        })
        .to_string();
        for bytes in [text.clone().into_bytes(), zstd::encode_all(text.as_bytes(), 3).unwrap()] {
            let docs = read(&bytes).unwrap();
            assert_eq!((docs.len(), docs.documents().count()), (4, 3));
            assert_eq!(docs.key("did:plc:good").unwrap().to_did_key(), format!("did:key:{KEY}"));
            for (did, reason) in [
                ("did:plc:unreadable", Reason::BadKey),
                ("did:plc:other", Reason::BadKey),
                ("did:plc:keyless", Reason::NoKey),
                ("did:plc:unheard", Reason::NoKey),
            ] {
                assert_eq!(docs.key(did).unwrap_err().reason, reason, "{did}");
            }
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_what_is_wanted() {
        for (bytes, word) in [
            (&b"[]"[..], "object"),
            (b"", "EOF"),
            (b"{\"did:plc:a\": {}", "EOF"),
            (b"{} {}", "trailing"),
            (b"{\"alice.test\": {}}", "DID"),
            (b"{\"did:plc:a\": 7}", "did:plc:a"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "DID documents"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(word) && error.contains("JSON object of DID"), "{error}");
        }
        assert!(DidDocs::read(Path::new("nowhere/docs.json")).unwrap_err().to_string().contains("nowhere/docs.json"));
    }
}
