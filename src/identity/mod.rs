//! Who our users are on the network, and how we act for them.
//!
//! In: links between a user of the app and a network account, and what the accounts entrust to us. Out: the same, by account
//! and by user; sessions that act for them. Always true: one account a user, one user an account; a link names the PDS on
//! which the account was last verified to live; a secret is stored only as an envelope that opens in its own row. Never: a
//! guess that two are the same because their names are; a secret in a log line, an error or `Debug`.

mod account;
mod create;
pub mod credential;
mod endpoint;
mod handle;
pub mod import;
mod pending;
pub mod rotate;
mod session;
mod standing;
pub mod vault;

pub use account::{Account, LinkError, all, link, linked_since, moved, of_did, of_either, of_user, release, unlink};
pub use create::{CreateError, Creator, HostDescription, Naming, NewAccount, keep};
pub use endpoint::endpoint;
pub use pending::reseal_pending;
pub use session::health::{self, Health, refresh_gauges, register_metrics};
pub use session::{ActError, Acting, Custodial, Keeper, MayWrite, Session, Sessions};
pub use standing::{SessionStanding, Standing, find, standing};
