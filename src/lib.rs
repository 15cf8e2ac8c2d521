//! Almanac: an event-sourced AT Protocol pipeline for calendar apps.
//!
//! The rooms, in the order data flows:
//!
//! ```text
//! source ─Delivery→ decode ─Event→ filter → ingest ─Observed→ event_log ─Logged→ calendar::fold → projection → api
//! ```
//!
//! - Pure, and built without the feature `runtime` too: [`event`] (the one vocabulary), [`decode`] (bytes to meaning, and
//!   the proof of it: signatures and trees), [`filter`] (keep or drop), [`calendar`] (what records mean, and the fold).
//! - Inbound: `source` (sockets, dumps, jobs that fetch repositories, gaps), `network` (what is asked of other hosts: DIDs,
//!   handles, XRPC), `ingest` (the one write path: it verifies, follows each repository, and knows what is missing),
//!   `event_log` (append-only, one appender).
//! - Outbound: `identity` (which network account belongs to which of our users, what they entrust to us, and how we act for
//!   them), `publisher` (wishes become records: PDS first, confirmed by our own stream).
//! - `pds`: what an operator runs beside a PDS.
//! - Outward: `projection` (the tables apps query), `effects` (webhooks: the only part that acts on the world), `api` (HTTP).
//! - Around: `db`, `telemetry`, `config`, `service` (rooms put together into processes), `cli`, and `devnet`, a simulated
//!   network that signs really, with an encoder of its own and faults on demand.
//!
//! What holds everywhere: one write path, live, replayed or fetched; nothing enters unverified where a network can be
//! asked; a cursor never leads its data; folding is idempotent and does not care about order; tables never act on the
//! world; a database belongs to one environment; input from strangers never stops the process and never vanishes uncounted;
//! memory is bounded.
//!
//! Where to start: [`decode::outline`] for what a frame is, [`decode::Checks`] for what is proven of it,
//! [`calendar::State::fold`] for what an event does, and `ingest` for how they meet.
#![deny(missing_docs)]
// An `expect` carries the invariant as its text; an `unwrap` carries nothing.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

#[cfg(feature = "runtime")]
pub mod api;
pub mod calendar;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod db;
pub mod decode;
#[cfg(feature = "devnet")]
pub mod devnet;
#[cfg(feature = "runtime")]
pub mod effects;
pub mod event;
#[cfg(feature = "runtime")]
pub mod event_log;
pub mod filter;
#[cfg(feature = "runtime")]
pub mod identity;
#[cfg(feature = "runtime")]
pub mod ingest;
#[cfg(feature = "runtime")]
pub mod network;
#[cfg(feature = "runtime")]
pub mod pds;
#[cfg(feature = "runtime")]
pub mod projection;
#[cfg(feature = "runtime")]
pub mod publisher;
#[cfg(feature = "runtime")]
pub mod service;
#[cfg(feature = "runtime")]
pub mod source;
#[cfg(feature = "runtime")]
pub mod telemetry;
