//! What an operator runs beside a PDS.
//!
//! In: files of the official PDS. Out: what they say. Always true: a secret that was read does not print. Never: a change to
//! the PDS or its files.

mod env_file;

pub use env_file::{EnvFileError, PdsEnv};
