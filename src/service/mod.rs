//! Putting the rooms together into processes: `serve` and `replay`.
//!
//! In: settings. Out: running tasks, and their orderly end. Always true: one process at a time appends to a database, the
//! others wait as its standby; on a stop signal sources end first, then what they delivered is written. Never: a decision
//! that belongs to a room.

pub mod accounts;
pub mod backfill;
pub mod import;
pub mod invites;
pub mod isolation;
pub mod lead;
pub mod origin;
pub mod overview;
pub mod policy;
pub mod publish;
pub mod purge;
pub mod quarantine;
pub mod release;
pub mod replay;
pub mod serve;
pub mod sessions;
pub mod stop;
pub mod trace;
mod upstreams;
pub mod vault;

use anyhow::Context;

use crate::config::{DidDocs, Settings};
use crate::db::{self, Db};
use crate::decode::Level;
use crate::event_log;
use crate::ingest::Trust;

/// Connections that the process may hold beside those of the appender and the projector.
const POOL: u32 = 10;

/// Opens the database, brings its tables up to date, and checks that it belongs to this environment. `install`: whether to
/// install a private Postgres when this machine has none.
pub async fn open(settings: &Settings, install: bool) -> anyhow::Result<Db> {
    let db = if install {
        db::open_or_install(&settings.database, POOL, |step| eprintln!("{step}")).await?
    } else {
        db::open(&settings.database, POOL).await?
    };
    db.migrate().await.context("the tables cannot be brought up to date")?;
    event_log::stamp(db.pool(), &settings.environment).await?;
    Ok(db)
}

/// Opens the database to look at it. Its tables stay as they are. When nobody named an environment, the database's own is
/// taken; one that was named must be it.
pub async fn open_to_read(settings: &mut Settings) -> anyhow::Result<Db> {
    let db = db::open(&settings.database, POOL).await?;
    if settings.environment_named {
        event_log::check(db.pool(), &settings.environment).await?;
    } else {
        settings.environment = event_log::stamped(db.pool()).await?;
    }
    Ok(db)
}

/// What a process takes on trust. `live`: it may ask the network whose keys sign what; a replay may not, because the keys of
/// today are not those of its time.
pub fn trust(settings: &Settings, live: bool) -> anyhow::Result<Trust> {
    match &settings.did_docs {
        Some(path) => {
            let level = settings.verify.unwrap_or(Level::Full);
            Ok(Trust::given(level, DidDocs::read(path)?.documents().cloned()))
        }
        None if live => match settings.verify.unwrap_or(Level::Full) {
            Level::None => Ok(Trust::Unverified),
            Level::Full => Ok(Trust::Resolved),
            Level::Signature => anyhow::bail!(
                "verify.level = signature is for frames with documents of their own (--did-docs FILE); use full or none"
            ),
        },
        None => match settings.verify.unwrap_or(Level::None) {
            Level::None => Ok(Trust::Unverified),
            level => anyhow::bail!(
                "--verify {} needs the keys of the time when the frames were made: give --did-docs FILE, a JSON object \
                 of DID to DID document",
                level.as_str()
            ),
        },
    }
}

/// Makes every metric exist at zero.
pub fn register_metrics() {
    crate::source::describe_metrics();
    crate::source::backfill::register_metrics();
    crate::network::register_metrics();
    crate::ingest::register_metrics();
    crate::projection::register_metrics();
    crate::effects::register_metrics();
    crate::identity::register_metrics();
    crate::pds::register_metrics();
    crate::publisher::register_metrics();
    crate::publisher::reconcile::register_metrics();
    crate::api::register_metrics();
    upstreams::register_metrics();
}
