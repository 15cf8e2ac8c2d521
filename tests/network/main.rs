//! What is asked of other people's hosts, against small hosts and a name server on loopback: what comes back when they
//! behave, and what happens when they do not.
#![cfg(feature = "runtime")]

mod answers;
mod dids;
mod faults;
mod guard;
mod handles;
mod limits;
mod many;
mod support;
mod tls;
