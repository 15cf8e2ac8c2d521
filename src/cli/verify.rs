//! The flags that say how much of recorded commits is checked, and with whose keys.

use std::path::PathBuf;

use clap::ValueEnum;

use super::flags::Flag;
use crate::config::{DidDocs, DidDocsError};
use crate::decode::Level;

/// How much of a commit is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Verify {
    /// Structure, limits, and the hashes of the blocks that are used
    None,
    /// Also the signatures, and that the signed trees hold what the operations say
    Signature,
    /// Also that the operations are all that changed, and that each commit follows the one before
    Full,
}

impl From<Verify> for Level {
    fn from(verify: Verify) -> Self {
        match verify {
            Verify::None => Level::None,
            Verify::Signature => Level::Signature,
            Verify::Full => Level::Full,
        }
    }
}

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    /// How much of commits is checked [default: full with --did-docs, else none]
    #[arg(long, value_enum, requires_ifs = [("signature", "did_docs"), ("full", "did_docs")])]
    verify: Option<Verify>,
    /// The accounts' DID documents, for their signing keys: a JSON object of DID → document; may be compressed with zstd
    #[arg(long, value_name = "FILE")]
    did_docs: Option<PathBuf>,
}

impl VerifyArgs {
    /// What is asked for.
    pub fn level(&self) -> Level {
        match (self.verify, &self.did_docs) {
            (Some(verify), _) => verify.into(),
            (None, Some(_)) => Level::Full,
            (None, None) => Level::None,
        }
    }

    /// As a layer of settings.
    pub fn flags(&self) -> Vec<Flag> {
        let docs = self.did_docs.iter().map(|path| path.display().to_string()).collect();
        let mut flags = vec![("verify.level", "verify", vec![self.level().as_str().to_owned()])];
        flags.extend(self.did_docs.is_some().then_some(("verify.did_docs", "did-docs", docs)));
        flags
    }

    /// Reads the documents; none when nothing is to be checked with them.
    pub fn did_docs(&self) -> Result<DidDocs, DidDocsError> {
        match &self.did_docs {
            Some(path) if self.level() > Level::None => DidDocs::read(path),
            _ => Ok(DidDocs::default()),
        }
    }
}
