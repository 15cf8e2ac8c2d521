//! The HTTP interface, asked over real sockets and answered from a real Postgres.

mod admin;
mod events;
mod hostile;
mod lexicon;
mod origin;
mod outage;
mod paging;
mod rebuilt;
mod rsvps;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod world;
