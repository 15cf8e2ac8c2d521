//! The only part of Almanac that acts on the world by itself: it tells receivers, by signed webhooks, of events as they
//! happen.
//!
//! In: the log, read on from a checkpoint of its own, and the subscriptions of the settings. Out: HTTP requests, and for every
//! event that is not told the reason.
//! Always true: what may be told is decided by [`judge`] and nowhere else, when the event is read and again when it is sent;
//! an event is told only if it entered live, proven, in this environment, of an origin that the subscription wants and an
//! account that is not refused or hidden; the deliveries of a batch and the checkpoint move in one transaction; a delivery
//! has one id however often it is sent, and the index shows the event before it is; deliveries of one account and subscription
//! go in the order of the log; the checkpoint starts at the log's end and never goes back, so that no rebuild, replay or
//! backfill is told.
//! Never: a delivery by a process that does not append; a redirect followed; a secret in a log line.

mod explain;
mod follow;
mod gate;
mod metric;
mod payload;
mod post_office;
mod queue;
mod retry;
mod run;
mod sign;
mod subscription;

pub use explain::{Explained, Untold, explain};
pub use follow::{EffectsError, prepare};
pub use gate::{Account, Facts, Suppressed, judge};
pub use metric::register_metrics;
pub use payload::ping;
pub use post_office::{Tested, test};
pub use queue::{DeadLetter, Delivery, Standing, dead_letters, deliveries_about, requeue, resume, standings};
pub use retry::Retry;
pub use run::{Effects, run};
pub use sign::{Secret, SecretError};
pub use subscription::{Kind, Subscription, Wanted};
