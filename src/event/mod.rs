//! The one vocabulary of Almanac: identifiers, and one type per stage of the flow.
//!
//! In: nothing; every other room may name this one. Out: types only.
//! Always true: a value of an identifier type has passed that identifier's published syntax, so later rooms never
//! check it again. Never: IO, a clock, a decision.
//!
//! A signature tells where you stand: `source` makes a [`Delivery`], `decode` an [`Event`], `ingest` an
//! [`Observed`], `event_log` a [`Logged`].

mod cid;
mod did_document;
mod environment_kind;
mod ident;
mod origin;
mod stage;

pub use cid::{Cid, Codec};
pub use did_document::{DidDocument, DidDocumentError, KeyForm, KeyText};
pub use environment_kind::EnvironmentKind;
pub use ident::{AtUri, Did, Environment, Handle, IdentError, Nsid, Rev, Rkey};
pub use origin::{Decision, ListChange, Origin, OriginRule, Refusal, Standing};
pub use stage::{
    AccountStatus, Body, Delivery, Event, Logged, Observed, Position, Seq, Upstream, UpstreamKind, Verification,
};
