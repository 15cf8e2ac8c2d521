//! Every published vector that speaks of what Almanac reads: identifiers, times, DAG-CBOR, the data model's JSON,
//! keys, signatures, trees and the proofs of commits.
//!
//! The vectors are not part of this project. They are looked for in `ALMANAC_VECTORS`, else in `../shared/vectors`
//! beside it; with `ALMANAC_REQUIRE_VECTORS` set their absence is a failure. `interop/` is
//! github.com/bluesky-social/atproto-interop-tests (CC0), `dasl/` is `fixtures/cbor` of
//! github.com/hyphacoop/dasl-testing (MIT).
//!
//! Each vector becomes one case with a name. A test runs all of its cases and then names every one that failed.

mod dag_cbor;
mod data_model;
mod signatures;
mod syntax;
mod trees;

use std::path::PathBuf;

/// What none of these tests looks at, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "interop/mst/common_prefix",
        "the generator must reproduce them: tests/devnet_vectors.rs; ours refuses other cuts",
    ),
    ("interop/lexicon/", "records are read leniently; no lexicon is enforced"),
    ("interop/syntax/language_", "languages are kept as the record has them"),
    ("interop/syntax/uri_", "URIs are kept as the record has them"),
    ("interop/LICENSE", "a licence"),
    ("PROVENANCE.md", "where the vectors come from"),
];

/// The files that are looked at.
const HERE: &[&str] =
    &["interop/syntax/", "interop/data-model/", "interop/crypto/", "interop/firehose/", "interop/mst/", "dasl/"];

fn folder() -> PathBuf {
    std::env::var_os("ALMANAC_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"))
}

/// A file of the published vectors, or `None` after saying that it is not there.
pub fn vector(path: &str) -> Option<String> {
    let file = folder().join(path);
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            let message = format!(
                "published vectors not found: {} ({error}). interop/ is github.com/bluesky-social/atproto-interop-tests \
                 (CC0), dasl/ is fixtures/cbor of github.com/hyphacoop/dasl-testing (MIT); set ALMANAC_VECTORS to the \
                 folder that holds both",
                file.display()
            );
            assert!(std::env::var_os("ALMANAC_REQUIRE_VECTORS").is_none(), "{message}");
            eprintln!("nothing tested: {message}");
            None
        }
    }
}

/// A JSON file of the published vectors.
pub fn json_vector(path: &str) -> Option<serde_json::Value> {
    vector(path).map(|text| serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}")))
}

/// The cases of one test.
#[derive(Default)]
pub struct Cases {
    ran: usize,
    failed: Vec<String>,
}

impl Cases {
    /// Runs one. What it returns tells what went wrong.
    pub fn case(&mut self, name: impl Into<String>, outcome: Result<(), String>) {
        self.ran += 1;
        if let Err(problem) = outcome {
            self.failed.push(format!("{}: {problem}", name.into()));
        }
    }

    /// Names what failed. `at_least` cases must have been there, so that an empty file is no success.
    #[track_caller]
    pub fn finish(self, what: &str, at_least: usize) {
        println!("{what}: {} cases", self.ran);
        assert!(
            self.failed.is_empty(),
            "{what}, {} of {} cases:\n{}",
            self.failed.len(),
            self.ran,
            self.failed.join("\n")
        );
        assert!(self.ran >= at_least, "{what}: {} cases, at least {at_least} expected", self.ran);
    }
}

#[test]
fn every_published_file_is_accounted_for() {
    if vector("PROVENANCE.md").is_none() {
        return;
    }
    let mut folders = vec![folder()];
    let mut unknown = vec![];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
            let known = ELSEWHERE.iter().any(|(start, _)| name.starts_with(start));
            if !known && !HERE.iter().any(|start| name.starts_with(start)) {
                unknown.push(name);
            }
        }
    }
    assert!(unknown.is_empty(), "vectors that no test looks at: {unknown:?}");
}
