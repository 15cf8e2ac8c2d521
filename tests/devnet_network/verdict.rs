//! A reader that trusts nothing: `decode` with every check, which shares no code with the network.

use std::collections::HashMap;

use almanac::decode::{self, Checks, Head, Level, Message, PublicKey, Reason};
use almanac::devnet::sim::Sim;
use almanac::event::{Did, DidDocument};
use bytes::Bytes;

use crate::client::get_json;

/// A reader with the keys of one moment.
pub struct Reader {
    keys: HashMap<String, PublicKey>,
    heads: HashMap<String, Head>,
}

async fn key(sim: &Sim, did: &str) -> PublicKey {
    let did = Did::parse(did).unwrap();
    let (_, document) = get_json(&format!("{}/{did}", sim.plc_url())).await;
    PublicKey::read(&DidDocument::from_json(&did, &document).unwrap().key.unwrap()).unwrap()
}

impl Reader {
    /// A reader who looked up this account.
    pub async fn new(sim: &Sim, did: &str) -> Self {
        let mut reader = Reader { keys: HashMap::new(), heads: HashMap::new() };
        reader.look_up(sim, did).await;
        reader
    }

    /// Asks the directory for the account's key of now.
    pub async fn look_up(&mut self, sim: &Sim, did: &str) {
        self.keys.insert(did.to_owned(), key(sim, did).await);
    }

    /// Why the frame is refused, if it is.
    pub fn judge(&mut self, frame: &[u8]) -> Result<Message, Reason> {
        self.read(frame, Level::Full)
    }

    /// As [`Reader::judge`], whoever signed it.
    pub fn judge_unsigned(&mut self, frame: &[u8]) -> Result<Message, Reason> {
        self.read(frame, Level::None)
    }

    fn read(&mut self, frame: &[u8], level: Level) -> Result<Message, Reason> {
        let frame = Bytes::copy_from_slice(frame);
        let outline = decode::outline(&frame).map_err(|reject| reject.reason)?;
        let did = outline.did.to_owned();
        let checks = Checks { level, key: self.keys.get(&did), now: Some(chrono::Utc::now()) };
        let message = decode::decode(&frame, &outline, |_| true, &checks).map_err(|reject| reject.reason)?;
        let head = match &message {
            Message::Commit(commit) => {
                let last = self.heads.get(&did);
                if let Some(reject) = decode::chain_reject(decode::chain(last, commit), last, commit) {
                    return Err(reject.reason);
                }
                Head::from(commit)
            }
            Message::Sync(sync) => Head::from(sync),
            _ => return Ok(message),
        };
        self.heads.insert(did, head);
        Ok(message)
    }
}
