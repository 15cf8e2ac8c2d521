//! What the script `benches/instructions` counts: paths of `almanac::decode` over a fixed input, run under valgrind.
//!
//! In: a path's name. Out: how many frames there were. Every run reads the input and works once through all paths, so that
//! nothing is done for the first time later; then it works once more through the path that was named. What that costs is
//! the difference to a run that names `none`: start, input and first times cancel out.
//!
//! The input is a capture of a real PDS, because no change of the generator may change it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use almanac::decode::{self, Checks, Level, PublicKey};
use almanac::event::{Did, DidDocument, Environment};
use almanac::filter::{self, CollectionSet, DidRule, Policy};
use bytes::Bytes;

/// Every so many-th frame of the capture: early ones over small trees, late ones over three and four layers.
const EVERY: usize = 20;

/// A path over one frame of an account with this key.
type Work<'a> = &'a dyn Fn(&Bytes, Option<&PublicKey>);

/// Whether the process was started to be counted; then it has done its work.
pub fn served(words: &[String]) -> bool {
    let [first, named] = words else { return false };
    if first != "instructions" {
        return false;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/captures/pds-05-fifty-accounts");
    let (frames, keys) = (frames(&folder.join("live.frames.zst")), keys(&folder.join("did-docs.json")));
    // Looked up beforehand, and in a map without chance: the standard library's hash map seeds itself anew in each run.
    let input: Vec<(&Bytes, Option<&PublicKey>)> = frames
        .iter()
        .map(|frame| (frame, keys.get(decode::outline(frame).expect("the capture holds frames").did)))
        .collect();
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let policy = Policy::new(
        Environment::parse("bench").expect("a literal that is a name"),
        CollectionSet::parse(collections).expect("literals that are collections"),
        DidRule::Network,
    );
    let outline = |frame: &Bytes, _: Option<&PublicKey>| {
        let outline = decode::outline(frame).expect("the capture holds frames");
        black_box(filter::judge(&outline, &policy, |_| false).expect("the capture holds frames"));
    };
    let whole = |frame: &Bytes, level, key: Option<&PublicKey>| {
        let outline = decode::outline(frame).expect("the capture holds frames");
        let checks = Checks { level, key, now: None };
        black_box(decode::decode(frame, &outline, |_| true, &checks).expect("the capture was verified by others"));
    };
    let decode = |frame: &Bytes, key: Option<&PublicKey>| whole(frame, Level::None, key);
    let verification = |frame: &Bytes, key: Option<&PublicKey>| whole(frame, Level::Full, key);
    let paths: [(&str, Work<'_>); 3] = [("outline", &outline), ("decode", &decode), ("verification", &verification)];
    for (_, work) in paths {
        input.iter().for_each(|(frame, key)| work(frame, *key));
    }
    for (_, work) in paths.iter().filter(|(name, _)| name == named) {
        input.iter().for_each(|(frame, key)| work(frame, *key));
    }
    println!("{}", input.len());
    true
}

fn frames(dump: &Path) -> Vec<Bytes> {
    let dump = std::fs::read(dump).expect("the capture is in the repository");
    let mut dump = Bytes::from(zstd::decode_all(&dump[..]).expect("the capture is compressed"));
    let mut frames = vec![];
    while !dump.is_empty() {
        let length = u32::from_le_bytes(dump.split_to(4)[..].try_into().expect("four bytes"));
        frames.push(dump.split_to(length as usize));
    }
    frames.into_iter().step_by(EVERY).collect()
}

fn keys(documents: &Path) -> BTreeMap<String, PublicKey> {
    let documents = std::fs::read(documents).expect("the capture has the documents of its accounts");
    let documents: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&documents).expect("the documents are JSON");
    let read = |(did, document): (String, serde_json::Value)| {
        let parsed = DidDocument::from_json(&Did::parse(&did).ok()?, &document).ok()?;
        Some((did, PublicKey::read(&parsed.key?).ok()?))
    };
    documents.into_iter().filter_map(read).collect()
}
