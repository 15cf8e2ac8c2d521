//! What an operator runs beside a PDS.
//!
//! In: files of the official PDS; the PDS itself, with its operator's rights. Out: what they say; invite codes. Always true: a
//! secret that was read does not print. Never: a change to the PDS's files, or to anything of the PDS but its invite codes.

mod env_file;
mod invite;

pub use env_file::{EnvFileError, PdsEnv};
pub use invite::{InviteCode, MINT_MAX, Operator, register_metrics, set_left};
