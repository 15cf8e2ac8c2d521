//! `almanac serve`.

use super::flags::{Filter, Global, Reaching, Verifying};
use crate::service::{self, serve, stop};
use crate::telemetry::install_metrics;

#[derive(clap::Args)]
pub(super) struct ServeArgs {
    /// Follow this relay: a host, or ws://HOST:PORT; may be repeated
    #[arg(long = "relay", value_name = "URL")]
    relays: Vec<String>,
    /// Follow this PDS directly; may be repeated
    #[arg(long = "pds", value_name = "URL")]
    pdses: Vec<String>,
    /// Address of the XRPC queries [default: 127.0.0.1:8600]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of health and metrics [default: 127.0.0.1:8601]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    verifying: Verifying,
    #[command(flatten)]
    reaching: Reaching,
    /// Print one JSON line on stdout once it answers: {"ready":true,"public":URL,"admin":URL}
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: ServeArgs) -> anyhow::Result<()> {
    let mut flags = args.filter.flags();
    flags.extend(args.verifying.flags());
    flags.extend(args.reaching.flags());
    let own = [
        ("source.relays", "relay", args.relays),
        ("source.pdses", "pds", args.pdses),
        ("listen.public", "listen", args.listen.into_iter().collect()),
        ("listen.admin", "admin-listen", args.admin_listen.into_iter().collect()),
    ];
    flags.extend(own.into_iter().filter(|(_, _, values)| !values.is_empty()));
    let settings = global.settings(flags)?;
    let metrics = install_metrics().map_err(anyhow::Error::msg)?;
    service::register_metrics();
    let stopped = stop::on_signals()?;
    let db = service::open(&settings, false).await?;
    tracing::info!("{}", db.describe());
    let json = args.json;
    let environment = settings.environment.clone();
    let outcome = serve::serve(settings, db.clone(), metrics, stopped, move |addresses| {
        let (public, admin) = (format!("http://{}", addresses.public), format!("http://{}", addresses.admin));
        tracing::info!(%public, %admin, %environment, "serving");
        if json {
            println!("{}", serde_json::json!({ "ready": true, "public": public, "admin": admin }));
        }
    })
    .await;
    db.close().await;
    outcome
}
