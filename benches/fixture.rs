//! What the benchmarks work on: frames from a seed, in memory and as dumps.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use almanac::decode::PublicKey;
use almanac::devnet::{Mix, Size, Traffic};
use almanac::event::{Did, DidDocument};
use bytes::Bytes;

/// The same frames for everybody.
pub const SEED: u64 = 1;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Only that it runs.
    Test,
    /// A minute or two.
    Small,
    /// The size to quote.
    Full,
}

impl Scale {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Test => "test",
            Scale::Small => "small",
            Scale::Full => "full",
        }
    }

    fn frames(self) -> usize {
        match self {
            Scale::Test => 60,
            Scale::Small => 4_000,
            Scale::Full => 200_000,
        }
    }

    /// How large the network mix's repositories are. The small run keeps the depth of their trees, and so the size of
    /// frames, and makes fewer of them.
    pub fn size(self) -> Size {
        match self {
            Scale::Test => Size { accounts: 20, pasts: 2, records: 500 },
            Scale::Small => Size { accounts: 300, pasts: 6, ..Size::REAL },
            Scale::Full => Size::REAL,
        }
    }
}

/// Frames of one mix.
pub struct Frames {
    mix: Mix,
    /// The frames, in order.
    pub frames: Vec<Bytes>,
    /// The signing key of each account.
    pub keys: HashMap<String, PublicKey>,
    /// The DID document of each account, as JSON: an object.
    documents: serde_json::Map<String, serde_json::Value>,
}

impl Frames {
    /// Makes them.
    pub fn make(mix: Mix, scale: Scale) -> Self {
        eprintln!("making {} frames of the {} mix", scale.frames(), mix.name());
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mut traffic = Traffic::with_size(SEED, mix, scale.size(), threads);
        let mut frames = Vec::with_capacity(scale.frames());
        while frames.len() < scale.frames() {
            let batch = traffic.next_frames((scale.frames() - frames.len()).min(1024));
            frames.extend(batch.into_iter().map(|frame| Bytes::from(frame.bytes)));
        }
        let documents = traffic.did_documents();
        let keys = documents.iter().map(|(did, document)| {
            let parsed = DidDocument::from_json(&Did::parse(did).expect("the generator writes DIDs"), document);
            let key = parsed.expect("the generator writes DID documents").key.expect("accounts have keys");
            ((*did).to_owned(), PublicKey::read(&key).expect("the generator writes keys"))
        });
        let keys = keys.collect();
        let documents = documents.into_iter().map(|(did, document)| (did.to_owned(), document)).collect();
        Frames { mix, frames, keys, documents }
    }

    /// For the table.
    pub fn describe(&self) -> String {
        let bytes: usize = self.frames.iter().map(Bytes::len).sum();
        let mean = bytes / self.frames.len().max(1);
        format!("{} frames of the {} mix, {mean} bytes each", self.frames.len(), self.mix.name())
    }

    /// Writes the DID documents of their accounts into `folder`, as `--did-docs` takes them.
    pub fn did_docs(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.dids.json", self.mix.name()));
        let json = serde_json::to_vec(&self.documents).expect("documents are JSON");
        std::fs::write(&path, json).expect("a temporary folder can be written");
        path
    }

    /// Writes them as a compressed dump into `folder`.
    pub fn dump(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.frames.zst", self.mix.name()));
        let file = std::fs::File::create(&path).expect("a temporary folder can be written");
        let mut out = zstd::Encoder::new(file, 3).expect("compression starts");
        for frame in &self.frames {
            let length = u32::try_from(frame.len()).expect("a frame has at most 5,000,000 bytes");
            out.write_all(&length.to_le_bytes()).and_then(|()| out.write_all(frame)).expect("the dump can be written");
        }
        out.finish().expect("the dump can be finished");
        path
    }
}
