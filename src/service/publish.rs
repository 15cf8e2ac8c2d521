//! The publisher that the settings describe.

use super::sessions;
use crate::config::Settings;
use crate::db::Db;
use crate::identity::Sessions;
use crate::network::Network;
use crate::publisher::{PublishOptions, Publisher, PublisherParts};

/// A publisher on this database, which acts by these sessions.
pub fn publisher(settings: &Settings, db: &Db, network: &Network, sessions: Sessions) -> Publisher {
    let publish = settings.publish;
    Publisher::new(PublisherParts {
        pool: db.pool().clone(),
        sessions,
        network: network.clone(),
        may_write: sessions::may_write(settings),
        options: PublishOptions {
            wait: publish.wait,
            retry_first: publish.retry_first,
            retry_max: publish.retry_max,
            points_per_hour: publish.points_per_hour,
            points_per_day: publish.points_per_day,
            workers: publish.workers,
        },
    })
}
