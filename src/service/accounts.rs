//! Custodial accounts, made on our own PDS and linked with their users.

use anyhow::{Context, bail};
use secrecy::SecretString;

use super::invites;
use super::origin::{LinkWish, link_within};
use super::sessions::may_write;
use crate::config::Settings;
use crate::db::Db;
use crate::identity::vault::Vault;
use crate::identity::{self, CreateError, Creator, Naming, NewAccount};
use crate::network::Network;
use crate::pds::Operator;

/// An account that somebody wants.
#[derive(Clone, Debug)]
pub struct AccountWish {
    /// The app's name for the user.
    pub user_id: String,
    /// What it is to be called.
    pub naming: Naming,
    /// Its e-mail address; `None`: one that is nobody's.
    pub email: Option<String>,
}

/// An account that was made, and linked.
#[derive(Clone, Debug)]
pub struct Made {
    /// The link.
    pub link: LinkWish,
    /// Whether an earlier attempt had made it, and only its answer was lost.
    pub found: bool,
    /// The number of the change.
    pub number: i64,
}

/// Makes an account and links it. The same wish again after an error goes on where the first stopped, and makes no second
/// account.
///
/// # Errors
/// The user has an account; a setting is missing; the PDS is not ours to write to, or did not do it.
pub async fn create(
    settings: &Settings,
    db: &Db,
    network: &Network,
    vault: &Vault,
    wish: &AccountWish,
    (who, why): (&str, Option<&str>),
) -> anyhow::Result<Made> {
    let user_id = &wish.user_id;
    let pds = invites::own_pds(settings)?;
    may_write(settings)(pds).map_err(anyhow::Error::msg)?;
    let creator = Creator { pool: db.pool(), network, vault, environment: &settings.environment, pds };
    let mut turn = db.pool().begin().await.context("the account cannot be made")?;
    creator.take_turn(&mut turn, user_id).await?;
    if let Some(account) = identity::of_user(db.pool(), user_id).await? {
        bail!("user {user_id} has an account: {}; `almanac identity show` tells of it", account.did);
    }
    let new = match creator.find(user_id).await? {
        Some(found) => found,
        None => make(settings, &creator, wish).await?,
    };
    let link = LinkWish {
        user_id: user_id.clone(),
        did: new.did.clone(),
        pds: pds.to_owned(),
        handle: Some(new.handle.clone()),
        custodial: true,
    };
    let mut tx = db.pool().begin().await.context("the account is made, and cannot be linked")?;
    let number = link_within(&mut tx, &link, who, why).await.context("the account is made, and cannot be linked")?;
    identity::keep(&mut tx, vault, user_id, &new).await.context("the account is made, and cannot be kept")?;
    tx.commit().await.context("the account is made, and cannot be linked")?;
    turn.commit().await.ok();
    Ok(Made { link, found: new.found, number })
}

async fn make(settings: &Settings, creator: &Creator<'_>, wish: &AccountWish) -> anyhow::Result<NewAccount> {
    let host = creator.describe().await?;
    let served = |domain: &str| host.domains.iter().any(|served| served == domain);
    let domain = match (&wish.naming, settings.own_pds.handle_domain.as_deref()) {
        (Naming::Exactly(handle), _) => {
            let under = host.domains.iter().find(|domain| handle.as_str().ends_with(domain.as_str()));
            under.with_context(|| {
                let (pds, domains) = (creator.pds, host.domains.join(", "));
                format!("{pds} gives handles under {domains} only, so not {handle}")
            })?
        }
        (_, Some(set)) if served(set) => set,
        (_, Some(set)) => bail!(
            "pds.handle_domain is {set}, but {} gives handles under {} only",
            creator.pds,
            host.domains.join(", ")
        ),
        (_, None) => host.domains.first().with_context(|| format!("{} gives no handles of its own", creator.pds))?,
    };
    let invite = if host.invite_required { Some(invite(settings, creator).await?) } else { None };
    let made = creator.make(&wish.user_id, &wish.naming, domain, wish.email.as_deref(), invite.as_ref()).await;
    match made {
        Err(error @ CreateError::Invite(_)) if settings.own_pds.invite_code.is_some() => {
            Err(anyhow::Error::from(error).context(
                "the code in pds.invite_code is used up or switched off; set another, or leave it out and set \
                 pds.admin_password_file, and one is minted for each account",
            ))
        }
        made => Ok(made?),
    }
}

/// The code that is set, or one that is minted for this account.
async fn invite(settings: &Settings, creator: &Creator<'_>) -> anyhow::Result<SecretString> {
    if let Some(code) = &settings.own_pds.invite_code {
        return Ok(code.clone());
    }
    let Some(password) = invites::admin_password(settings)? else {
        bail!(
            "{} wants an invite code for every account: set pds.invite_code, or pds.admin_password_file (or \
             pds.admin_password) so that one is minted for each",
            creator.pds
        );
    };
    let operator = Operator { network: creator.network, pds: creator.pds, password: &password };
    let codes = operator.mint(1, 1, None).await.with_context(|| {
        format!("{} wants an invite code for every account, and mints none; is pds.admin_password right?", creator.pds)
    })?;
    Ok(codes.into_iter().next().expect("a mint without a code is an error"))
}
