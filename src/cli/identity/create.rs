//! `almanac identity create`.

use anyhow::bail;
use serde::Serialize;

use crate::cli::changing::Changing;
use crate::cli::flags::Global;
use crate::cli::table::print_json;
use crate::event::Handle;
use crate::identity::Naming;
use crate::network::Network;
use crate::service::accounts::{AccountWish, create};
use crate::service::origin::said;
use crate::service::{self};

/// The PDS wants an e-mail address for every account. Without --email it gets one under `.invalid`, which reaches nobody: the
/// account's owner cannot reset the password by mail until another is set.
///
/// A command that failed or was cut off is given again as it was: it finds what the first has made, and makes no second account.
#[derive(clap::Args)]
pub(super) struct CreateArgs {
    /// The app's name for the user
    #[arg(value_name = "USER", value_parser = said)]
    user: String,
    /// Call it something like this: letters and digits become a handle, with a number behind them when that is taken
    /// [default: a made-up handle, because the app's name for the user is nobody else's business]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Call it exactly this
    #[arg(long, value_name = "HANDLE", conflicts_with = "name")]
    handle: Option<Handle>,
    /// Its e-mail address [default: one that is nobody's]
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    why: Option<String>,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    change: &'static str,
    user_id: &'a str,
    did: &'a str,
    handle: &'a str,
    pds: &'a str,
    found: bool,
    in_log: bool,
}

pub(super) async fn run(global: &Global, args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { user, name, handle, email, why, changing, json } = args;
    let settings = global.settings([])?;
    let vault = service::vault::vault_needed(&settings)?;
    if email.as_deref().is_some_and(|email| !email.contains('@')) {
        bail!("{:?} is no e-mail address", email.unwrap_or_default());
    }
    let naming = match (handle, name) {
        (Some(handle), _) => Naming::Exactly(handle),
        (None, Some(name)) => Naming::Like(name),
        (None, None) => Naming::Anyhow,
    };
    let network = Network::new(settings.network.clone())?;
    let db = service::open(&settings, false).await?;
    let wish = AccountWish { user_id: user, naming, email };
    let made = create(&settings, &db, &network, &vault, &wish, (&changing.who(), why.as_deref())).await?;
    let in_log = changing.settled(db.pool(), &[made.number]).await;
    db.close().await;
    let (in_log, link) = (in_log?, &made.link);
    let handle = link.handle.as_ref().map_or("-", Handle::as_str);
    if json {
        return print_json(&Outcome {
            change: "create",
            user_id: &link.user_id,
            did: link.did.as_str(),
            handle,
            pds: &link.pds,
            found: made.found,
            in_log,
        });
    }
    if made.found {
        println!("an earlier attempt had made the account; it is taken over");
    }
    println!("{handle} ({}) is user {}'s, on {}", link.did, link.user_id, link.pds);
    println!("{}", changing.told(in_log));
    Ok(())
}
