//! `almanac identity link` and `unlink`.

use anyhow::bail;
use serde::Serialize;

use crate::cli::changing::Changing;
use crate::cli::flags::Global;
use crate::cli::table::print_json;
use crate::event::{Did, Handle};
use crate::identity::endpoint;
use crate::service::origin::{self as links, LinkWish, said};
use crate::service::{self};

#[derive(clap::Args)]
pub(super) struct LinkArgs {
    /// The app's name for the user
    #[arg(value_name = "USER", value_parser = said)]
    user: String,
    /// The network account
    #[arg(value_name = "DID")]
    did: Did,
    /// The endpoint of its PDS, such as https://pds.example.org
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pds: String,
    /// Its handle
    #[arg(long, value_name = "HANDLE")]
    handle: Option<Handle>,
    /// We hold its credentials
    #[arg(long)]
    custodial: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    why: Option<String>,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct UnlinkArgs {
    /// The network account
    #[arg(value_name = "DID")]
    did: Did,
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
    change: &'a str,
    user_id: &'a str,
    did: &'a Did,
    in_log: bool,
}

pub(super) async fn link(global: &Global, args: LinkArgs) -> anyhow::Result<()> {
    let LinkArgs { user, did, pds, handle, custodial, why, changing, json } = args;
    let db = service::open(&global.settings([])?, false).await?;
    let wish = LinkWish { user_id: user, did, pds, handle, custodial };
    let number = links::link(db.pool(), &wish, &changing.who(), why.as_deref()).await?;
    let in_log = changing.settled(db.pool(), &[number]).await;
    db.close().await;
    let in_log = in_log?;
    if json {
        return print_json(&Outcome { change: "link", user_id: &wish.user_id, did: &wish.did, in_log });
    }
    println!("{} is user {}'s, on {}", wish.did, wish.user_id, wish.pds);
    println!("{}", changing.told(in_log));
    Ok(())
}

pub(super) async fn unlink(global: &Global, args: UnlinkArgs) -> anyhow::Result<()> {
    let UnlinkArgs { did, why, changing, json } = args;
    let db = service::open(&global.settings([])?, false).await?;
    let Some(gone) = links::unlink(db.pool(), &did, &changing.who(), why.as_deref()).await? else {
        bail!("{did} is linked with no user; `almanac identity list` shows who is");
    };
    let in_log = changing.settled(db.pool(), &[gone.number]).await;
    db.close().await;
    let in_log = in_log?;
    if json {
        return print_json(&Outcome { change: "unlink", user_id: &gone.user_id, did: &did, in_log });
    }
    println!("{did} is not user {}'s any more", gone.user_id);
    println!("{}", changing.told(in_log));
    Ok(())
}
