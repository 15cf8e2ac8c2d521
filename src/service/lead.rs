//! Becoming the appender of a database, or waiting until it is our turn.

use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;

use super::stop;
use crate::db::Db;
use crate::event_log::Appender;

/// How often a standby looks whether the appender is gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long an attempt may take on a connection that stands.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Waits until this process is the appender. `None` when it was told to stop before. `waiting` is told why it is not yet.
pub async fn wait(
    db: &Db,
    stop: watch::Receiver<bool>,
    mut waiting: impl FnMut(String),
) -> anyhow::Result<Option<(Appender, String)>> {
    let name = new_name();
    loop {
        let problem = match attempt(db, &name).await {
            Ok(Some(appender)) => return Ok(Some((appender, name))),
            Ok(None) => "another process appends to this database; waiting as its standby".to_owned(),
            Err(problem) => problem,
        };
        waiting(problem);
        tokio::select! {
            () = stop::wait(stop.clone()) => return Ok(None),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Becomes the appender if nobody else is. `None` while another process is.
///
/// # Errors
/// Why the database cannot be asked.
pub async fn try_now(db: &Db) -> Result<Option<(Appender, String)>, String> {
    let name = new_name();
    Ok(attempt(db, &name).await?.map(|appender| (appender, name)))
}

fn new_name() -> String {
    format!("{}-{:016x}", std::process::id(), rand::rng().next_u64())
}

async fn attempt(db: &Db, name: &str) -> Result<Option<Appender>, String> {
    let connection = db.connect().await.map_err(|e| e.to_string())?;
    match tokio::time::timeout(ATTEMPT, Appender::try_lead(connection, name)).await {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err(format!("the database does not answer within {} s", ATTEMPT.as_secs())),
    }
}
