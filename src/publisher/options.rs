//! What publishing takes.

use std::time::Duration;

use sqlx::PgPool;

use crate::identity::{MayWrite, Sessions};
use crate::network::Network;

/// How wishes are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// How long whoever wishes waits for the PDS before the answer says that it goes on without him.
    pub wait: Duration,
    /// The pause after a first failure; it doubles with each further one. More than zero.
    pub retry_first: Duration,
    /// The longest pause between attempts.
    pub retry_max: Duration,
    /// Points that an account may spend in an hour: create 3, put 2, delete 1. At least 3.
    pub points_per_hour: u32,
    /// The same in a day.
    pub points_per_day: u32,
    /// Attempts at once in a process. At least 1.
    pub workers: usize,
}

impl Default for PublishOptions {
    /// The budgets are those that the reference PDS grants.
    fn default() -> Self {
        PublishOptions {
            wait: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            points_per_hour: 5_000,
            points_per_day: 35_000,
            workers: 8,
        }
    }
}

/// What a [`Publisher`](super::Publisher) is made of.
#[derive(Clone)]
pub struct PublisherParts {
    /// The database.
    pub pool: PgPool,
    /// How we act for users.
    pub sessions: Sessions,
    /// How other hosts are asked, for events that RSVPs answer to.
    pub network: Network,
    /// Asked before every write.
    pub may_write: MayWrite,
    /// How it is done.
    pub options: PublishOptions,
}
