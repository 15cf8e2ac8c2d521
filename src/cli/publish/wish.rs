//! A wish, and how it went.

use std::process::ExitCode;

use anyhow::Context;

use super::WAITS;
use super::show::line;
use crate::calendar::Draft;
use crate::cli::flags::Global;
use crate::cli::table::print_json;
use crate::config::Settings;
use crate::db::Db;
use crate::event::{AtUri, Cid, Did};
use crate::identity;
use crate::network::Network;
use crate::publisher::{Acting, Action, IntentState, Kind, RecordView, Wish, grants};
use crate::service;
use crate::service::publish::publisher;
use crate::service::sessions::sessions;
use crate::service::vault;

/// Whose, which, on what condition.
#[derive(clap::Args)]
pub(super) struct Wishing {
    /// The record's owner
    #[arg(value_name = "USER")]
    user: String,
    /// The app's own name for the record: the same user and name are the same record for ever
    #[arg(value_name = "CLIENT_KEY")]
    client_key: String,
    /// The version that was edited: what others wrote since is merged, or a conflict
    #[arg(long, value_name = "CID")]
    if_match: Option<Cid>,
    /// A record of the owner's that is there already and shall have this client key from now on
    #[arg(long, value_name = "AT-URI")]
    adopt: Option<AtUri>,
    /// Who acts, when it is not the owner: he needs a grant (`almanac grants`)
    #[arg(long, value_name = "USER")]
    acting: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    global: &Global,
    wishing: Wishing,
    kind: Kind,
    action: Action,
    draft: Option<Draft>,
) -> anyhow::Result<ExitCode> {
    let settings = global.settings([])?;
    let db = service::open(&settings, false).await?;
    let json = wishing.json;
    let record = wish(&settings, &db, wishing, kind, action, draft).await;
    db.close().await;
    let record = record?;
    if json {
        print_json(&record)?;
    } else {
        println!("{}", line(&record));
    }
    Ok(code(&record))
}

async fn wish(
    settings: &Settings,
    db: &Db,
    wishing: Wishing,
    kind: Kind,
    action: Action,
    draft: Option<Draft>,
) -> anyhow::Result<RecordView> {
    let Wishing { user, client_key, if_match, adopt, acting, json: _ } = wishing;
    let network = Network::new(settings.network.clone())?;
    let sessions = sessions(settings, db, &network, vault::checked(settings, db.pool()).await?);
    let publisher = publisher(settings, db, &network, sessions);
    let acting = match acting.filter(|acting| *acting != user) {
        Some(acting) => {
            let account = identity::of_user(db.pool(), &user).await?;
            let account = account.with_context(|| format!("user {user:?} has no network account here"))?;
            let owner = Did::parse(&account.did)?;
            let known = publisher.record(&user, kind, &client_key).await?.map(|record| record.uri);
            let grant_id =
                grants::authorize(db.pool(), &owner, &acting, kind, action, known.as_ref(), adopt.as_ref()).await?;
            Some(Acting { user: acting, grant_id })
        }
        None => None,
    };
    let if_match = if_match.map(|cid| cid.to_string());
    Ok(publisher.wish(Wish { user, kind, client_key, action, draft, if_match, adopt, acting }).await?)
}

/// How it went, for scripts.
fn code(record: &RecordView) -> ExitCode {
    match record.intent.as_ref().map(|intent| intent.state) {
        None | Some(IntentState::Acknowledged | IntentState::Confirmed) => ExitCode::SUCCESS,
        Some(IntentState::Wanted | IntentState::Attempted) => ExitCode::from(WAITS),
        Some(IntentState::Conflict | IntentState::Refused | IntentState::Superseded) => ExitCode::FAILURE,
    }
}
