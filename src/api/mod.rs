//! HTTP: what apps may ask, and what an operator looks at.
//!
//! In: requests of strangers and of apps with a token (public) and of the operator (admin), each on a listener of its own. Out:
//! answers made by `projection`'s queries and by `publisher`, and the state that `service` hands in.
//! Always true: a refusal names what was wrong; a fault of ours is told as such, without its insides; every request is
//! bounded in time, every answer in bytes, every listener in connections; what one listener serves is not reachable
//! through the other.
//! Never: SQL, but for its own table of tokens; a write to the index; a guess at an unknown parameter.
//!
//! Not bounded here: requests per caller. Whoever opens the public listener to the internet puts a reverse proxy before
//! it, which also knows who the caller is.

pub mod admin;
mod health;
mod home;
mod measure;
mod params;
pub mod public;
mod queries;
mod serve;
mod state;
pub mod token;
mod upstream;
pub mod v1;
mod xrpc;

pub use health::{Check, Health};
pub use measure::register_metrics;
pub use serve::{ServeLimits, serve, serve_within};
pub use upstream::{UpstreamView, Upstreams};
