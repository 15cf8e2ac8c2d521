//! Acting for our users' accounts: the sessions that the process has, and a look at them before somebody needs them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::stop;
use crate::config::Settings;
use crate::db::Db;
use crate::identity::vault::Vault;
use crate::identity::{self, Custodial, Keeper, MayWrite, Sessions};
use crate::network::Network;

/// How often accounts are looked at; a little chance is added, so that processes do not look in one moment.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Accounts looked at each time. The reference PDS makes about six sessions a second, for everybody.
const LOOKS_MAX: i64 = 60;
/// Of those, so many at once.
const LOOKS_AT_ONCE: usize = 2;
/// A token that ends within this is renewed ahead of its use.
const AHEAD: Duration = Duration::from_secs(600);
/// How often the numbers are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Whether this environment may write to a PDS.
pub fn may_write(settings: &Settings) -> MayWrite {
    let (places, own, kind) = (settings.places.clone(), settings.environment.clone(), settings.environment_kind);
    Arc::new(move |pds| places.may_publish(pds, &own, kind).map_err(|refusal| refusal.to_string()))
}

/// The keeper of custodial accounts; `None` without a vault, which means that nobody's password can be read.
pub fn custodial(settings: &Settings, db: &Db, network: &Network, vault: Option<Arc<Vault>>) -> Option<Custodial> {
    let vault = vault?;
    Some(Custodial::guarded(db.pool().clone(), network.clone(), vault, may_write(settings)))
}

/// The way to act for every user.
pub fn sessions(settings: &Settings, db: &Db, network: &Network, vault: Option<Arc<Vault>>) -> Sessions {
    of(db, custodial(settings, db, network, vault).as_ref())
}

/// The same with a keeper that others share.
pub fn of(db: &Db, custodial: Option<&Custodial>) -> Sessions {
    let keepers = custodial.map(|keeper| Arc::new(keeper.clone()) as Arc<dyn Keeper>);
    Sessions::new(db.pool().clone(), keepers.into_iter().collect())
}

/// Looks at accounts before somebody needs them: those never tried, those in trouble, and those whose token ends soon and who
/// were acted for lately. Few at a time: a PDS has other things to do.
pub async fn keep_looking(custodial: Custodial, stopped: watch::Receiver<bool>) {
    loop {
        let looking = async {
            if let Err(error) = custodial.reseal_pending().await {
                tracing::warn!("{error}");
            }
            let due = custodial.due(AHEAD, LOOKS_MAX).await?;
            let looks = stream::iter(due).map(|account| {
                let custodial = custodial.clone();
                async move {
                    // What was found is kept, and logged where it is found.
                    if let Err(error) = custodial.look_at(&account, AHEAD).await {
                        tracing::debug!(did = account.did, "{error}");
                    }
                }
            });
            looks.buffer_unordered(LOOKS_AT_ONCE).collect::<()>().await;
            Result::<(), sqlx::Error>::Ok(())
        };
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            looked = looking => {
                if let Err(error) = looked {
                    tracing::debug!(%error, "it cannot be read which accounts are to be looked at; tried again");
                }
            }
        }
        let pause = LOOK_EVERY.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Counts custodial accounts by how acting for them goes.
pub async fn keep_counting(db: Db, stopped: watch::Receiver<bool>) {
    loop {
        if let Err(error) = identity::refresh_gauges(db.pool()).await {
            tracing::debug!(%error, "accounts cannot be counted; tried again");
        }
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(COUNT_EVERY) => {}
        }
    }
}
