//! Who our users are on the network.
//!
//! In: links between a user of the app and a network account. Out: the same, by account. Always true: one account a user, one
//! user an account; a link names the PDS on which the account was last verified to live. Never: a guess that two are the same
//! because their names are.

mod account;

pub use account::{Account, LinkError, all, link, moved, of_did, unlink};
