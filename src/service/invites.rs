//! Invite codes of our own PDS: minted, listed, and watched so that they do not run out unseen.

use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use tokio::sync::watch;

use super::stop;
use crate::config::Settings;
use crate::network::Network;
use crate::pds::{self, InviteCode, Operator};

/// How often what is left is read: it is some kilobytes for each hundred codes.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Our own PDS.
///
/// # Errors
/// None is set.
pub fn own_pds(settings: &Settings) -> anyhow::Result<&str> {
    settings.own_pds.url.as_deref().context("no PDS of our own is set: give its address in pds.url")
}

/// Its admin password, if it is set.
///
/// # Errors
/// A file that cannot be read.
pub fn admin_password(settings: &Settings) -> anyhow::Result<Option<SecretString>> {
    let from = settings.own_pds.admin_password.as_ref();
    let read = from.map(|from| from.read(from.setting("pds.admin_password", "pds.admin_password_file")));
    Ok(read.transpose()?)
}

fn admin_password_needed(settings: &Settings) -> anyhow::Result<SecretString> {
    admin_password(settings)?.context(
        "the PDS's admin password is not set: give it in pds.admin_password_file (or pds.admin_password); it is \
         PDS_ADMIN_PASSWORD of the PDS",
    )
}

/// Mints codes.
///
/// # Errors
/// A setting is missing, or the PDS did not do it.
pub async fn mint(
    settings: &Settings,
    network: &Network,
    (count, uses): (u32, u32),
    for_account: Option<&str>,
) -> anyhow::Result<Vec<SecretString>> {
    let (pds, password) = (own_pds(settings)?, admin_password_needed(settings)?);
    super::sessions::may_write(settings)(pds).map_err(anyhow::Error::msg)?;
    let operator = Operator { network, pds, password: &password };
    operator.mint(count, uses, for_account).await.with_context(|| format!("{pds} minted no invite code"))
}

/// Every code.
///
/// # Errors
/// A setting is missing, or the PDS did not do it.
pub async fn codes(settings: &Settings, network: &Network) -> anyhow::Result<Vec<InviteCode>> {
    let (pds, password) = (own_pds(settings)?, admin_password_needed(settings)?);
    let operator = Operator { network, pds, password: &password };
    operator.codes().await.with_context(|| format!("{pds} does not tell its invite codes"))
}

/// Puts what is left into its gauge, now and then. Ends at once where a setting is missing.
pub async fn keep_counting(settings: Settings, network: Network, stopped: watch::Receiver<bool>) {
    if settings.own_pds.url.is_none() || settings.own_pds.admin_password.is_none() {
        return;
    }
    loop {
        let read = codes(&settings, &network);
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            read = read => match read {
                Ok(codes) => pds::set_left(Some(codes.iter().map(InviteCode::left).sum())),
                Err(error) => {
                    tracing::debug!("{error:#}");
                    pds::set_left(None);
                }
            }
        }
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
