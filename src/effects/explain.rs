//! What followed of a record, and why nothing did.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::PgPool;

use super::follow::{accounts, beginnings, checkpoint};
use super::gate::{Facts, judge};
use super::queue::{Delivery, deliveries_about};
use super::subscription::Subscription;
use crate::event::{AtUri, Environment, Position};
use crate::event_log;

/// An event that a subscription was not told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Untold {
    /// The event's place in the log.
    pub position: Position,
    /// Who was not told.
    pub subscription: String,
    /// Why: a word of [`Suppressed`](super::Suppressed), `not_reached` or `other_settings`.
    pub reason: &'static str,
    /// The same in a line.
    pub says: &'static str,
}

/// What followed of one record's events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// What was told, or will be, or could not be.
    pub deliveries: Vec<Delivery>,
    /// What was not, for each subscription that there is now.
    pub untold: Vec<Untold>,
}

/// Tells what followed of a record's events, and for every event and subscription without a delivery why there is none, by the
/// gate as it decides now.
///
/// # Errors
/// The database did not answer, or our own log cannot be understood.
pub async fn explain(
    pool: &PgPool,
    environment: &Environment,
    subscriptions: &[Subscription],
    uri: &AtUri,
) -> Result<Explained, sqlx::Error> {
    let events = event_log::told_about(pool, uri).await?;
    let checkpoint = checkpoint(pool).await?.unwrap_or(0);
    let mut connection = pool.acquire().await?;
    let account = accounts(&mut connection, vec![uri.did.as_str()]).await?.remove(uri.did.as_str()).unwrap_or_default();
    let since = beginnings(&mut connection).await?;
    drop(connection);
    let deliveries = deliveries_about(pool, uri).await?;
    let told: HashSet<(Position, &str)> =
        deliveries.iter().map(|delivery| (delivery.position, delivery.subscription.as_str())).collect();
    let mut untold = Vec::new();
    for event in &events {
        let facts = Facts::of(event, account);
        for subscription in subscriptions.iter().filter(|s| !told.contains(&(event.position, &*s.name))) {
            let since = since.get(&*subscription.name).copied().unwrap_or(Position::MAX);
            let (reason, says) = match judge(&facts, environment, subscription, since) {
                Err(reason) => (reason.as_str(), reason.says()),
                Ok(_) if event.position > checkpoint => {
                    ("not_reached", "the log was not looked at for effects that far yet")
                }
                Ok(_) => ("other_settings", "it may be told now, but could not when it was looked at"),
            };
            untold.push(Untold { position: event.position, subscription: subscription.name.to_string(), reason, says });
        }
    }
    Ok(Explained { deliveries, untold })
}
