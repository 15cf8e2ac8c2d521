//! The publisher, put together from the settings.

use std::sync::Arc;

use super::sessions::sessions;
use super::vault::vault;
use crate::config::Settings;
use crate::db::Db;
use crate::network::Network;
use crate::publisher::{MayWrite, PublishOptions, Publisher, PublisherParts};

/// Whether this environment writes to a PDS.
pub fn may_write(settings: &Settings) -> MayWrite {
    let (places, environment, kind) =
        (settings.places.clone(), settings.environment.clone(), settings.environment_kind);
    Arc::new(move |pds| places.may_publish(pds, &environment, kind).map_err(|refusal| refusal.to_string()))
}

/// The publisher. Nothing runs yet.
///
/// # Errors
/// Keys that cannot be read.
pub fn publisher(settings: &Settings, db: &Db, network: &Network) -> anyhow::Result<Publisher> {
    let publish = &settings.publish;
    Ok(Publisher::new(PublisherParts {
        pool: db.pool().clone(),
        sessions: sessions(settings, db, network, vault(settings)?),
        network: network.clone(),
        may_write: may_write(settings),
        options: PublishOptions {
            wait: publish.wait,
            retry_first: publish.retry_first,
            retry_max: publish.retry_max,
            points_per_hour: publish.points_per_hour,
            points_per_day: publish.points_per_day,
            workers: publish.workers,
        },
    }))
}
