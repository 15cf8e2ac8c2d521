//! Almanac: an event-sourced AT Protocol pipeline for calendar apps.
//!
//! The rooms, in the order data flows:
//!
//! ```text
//! source ─Delivery→ decode ─Event→ filter → ingest ─Observed→ event_log ─Logged→ calendar::fold → projection → api
//! ```
#![deny(missing_docs)]

#[cfg(feature = "runtime")]
pub mod api;
pub mod calendar;
#[cfg(feature = "runtime")]
pub mod db;
pub mod decode;
pub mod event;
#[cfg(feature = "runtime")]
pub mod event_log;
pub mod filter;
#[cfg(feature = "runtime")]
pub mod ingest;
#[cfg(feature = "runtime")]
pub mod projection;
#[cfg(feature = "runtime")]
pub mod source;
#[cfg(feature = "runtime")]
pub mod telemetry;
