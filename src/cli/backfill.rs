//! `almanac backfill`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::flags::{Filter, Global, Reaching};
use super::table::{print_json, table};
use crate::config::Settings;
use crate::event::{Did, Nsid, UpstreamKind};
use crate::ingest::{inlet, load_repos};
use crate::network::{Network, authority};
use crate::service::backfill::{Asked, Fetched, Place, Runner, Watch, candidates, fetch};
use crate::service::policy::Policies;
use crate::service::{self, stop};
use crate::source::backfill::Strategy;
use crate::source::relay::RelayUrl;

/// Where repositories are looked for, and how they are reached.
#[derive(Args)]
pub(super) struct Sources {
    /// Ask this relay whose repositories there are; may be repeated
    #[arg(long = "relay", value_name = "URL")]
    relays: Vec<String>,
    /// The same of a PDS; may be repeated
    #[arg(long = "pds", value_name = "URL")]
    pdses: Vec<String>,
    #[command(flatten)]
    reaching: Reaching,
}

impl Sources {
    /// The settings with these on top.
    pub fn settings(&self, global: &Global, filter: Option<&Filter>) -> anyhow::Result<Settings> {
        let mut flags = self.reaching.flags();
        flags.extend(filter.map(Filter::flags).unwrap_or_default());
        let own = [("source.relays", "relay", self.relays.clone()), ("source.pdses", "pds", self.pdses.clone())];
        flags.extend(own.into_iter().filter(|(_, _, values)| !values.is_empty()));
        let settings = global.settings(flags)?;
        settings.check_upstreams()?;
        Ok(settings)
    }
}

/// Without --did, --collection or --host: everybody whom the relays and PDSes of the settings list.
#[derive(Args)]
pub(super) struct BackfillArgs {
    /// Fetch this account; may be repeated
    #[arg(long = "did", value_name = "DID", conflicts_with_all = ["of_collections", "hosts"])]
    dids: Vec<String>,
    /// Fetch accounts with records in this followed collection; may be repeated
    #[arg(long = "collection", id = "of_collections", value_name = "NSID")]
    collections: Vec<String>,
    /// Fetch accounts of this PDS; may be repeated
    #[arg(long = "host", value_name = "URL")]
    hosts: Vec<String>,
    /// auto (the cheapest that the host can do), sparse, car or list [default: the setting backfill.strategy]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<String>,
    /// Tell whose repositories would be compared, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sources: Sources,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: BackfillArgs) -> anyhow::Result<ExitCode> {
    let mut settings = args.sources.settings(global, None)?;
    let asked = read(&args, &settings)?;
    // Whoever names a host means it, wherever it is.
    settings.network.named.extend(asked.places.iter().filter_map(|place| authority(&place.endpoint)));
    let nobody = asked.dids.is_empty() && asked.places.is_empty();
    ensure!(
        !nobody || !settings.relays.is_empty() || !settings.pdses.is_empty() || settings.policy()?.names_anybody(),
        "nobody to ask: give --did, --host or --relay, or set source.relays"
    );
    let stopped = stop::on_signals()?;
    let db = service::open(&settings, false).await?;
    if args.dry_run {
        let outcome = dry_run(&settings, &db, &asked, args.json).await;
        db.close().await;
        return outcome;
    }
    let watching = Arc::new(Watch::default());
    let bar = bar();
    let drawing = tokio::spawn(draw(bar.clone(), watching.clone()));
    let fetched = fetch(&settings, &db, &asked, watching, stopped).await;
    drawing.abort();
    bar.finish_and_clear();
    db.close().await;
    let fetched = fetched?;
    match args.json {
        true => print_json(&fetched)?,
        false => print(&fetched),
    }
    // Who is listed somewhere may well be nobody's to fetch; who is named was meant.
    let named_in_vain = !asked.dids.is_empty() && !fetched.shut_out.is_empty();
    let whole = fetched.counts.failed == 0 && fetched.unlisted.is_empty() && !fetched.interrupted && !named_in_vain;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(args: &BackfillArgs, settings: &Settings) -> anyhow::Result<Asked> {
    let followed = settings.policy()?.collections;
    let collection = |name: &String| -> anyhow::Result<Nsid> {
        let nsid = Nsid::parse(name).context("--collection takes the name of a collection, not a prefix")?;
        ensure!(followed.contains(name), "{name} is not followed: add it to filter.collections first");
        Ok(nsid)
    };
    let host = |text: &String| -> anyhow::Result<Place> {
        settings.check_host("--host", &RelayUrl::parse(text).context("--host")?.name())?;
        Ok(Place { kind: UpstreamKind::Pds, endpoint: RelayUrl::parse(text).context("--host")?.http() })
    };
    Ok(Asked {
        dids: args.dids.iter().map(|did| Did::parse(did).context("--did")).collect::<Result<_, _>>()?,
        collections: args.collections.iter().map(collection).collect::<Result<_, _>>()?,
        places: args.hosts.iter().map(host).collect::<Result<_, _>>()?,
        strategy: args.strategy.as_deref().map(str::parse::<Strategy>).transpose().context("--strategy")?,
    })
}

#[derive(Serialize)]
struct Candidate {
    did: String,
    /// new, or how far its repository is: partial | synced | desynchronized | rolled_back
    state: String,
    rev: Option<String>,
}

async fn dry_run(settings: &Settings, db: &crate::db::Db, asked: &Asked, json: bool) -> anyhow::Result<ExitCode> {
    let policies = Policies::load(settings, Some(db.pool())).await?;
    let network = Network::new(settings.network.clone())?;
    let runner = Runner::new(settings, db, &network, &inlet().0, policies.current());
    let (dids, unlisted): (BTreeSet<Did>, _) = candidates(&runner, asked).await;
    let repos = load_repos(db.pool()).await?;
    let candidate = |did: &Did| {
        let repo = repos.get(did);
        Candidate {
            did: did.to_string(),
            state: repo.map_or("new".to_owned(), |repo| repo.state.to_string()),
            rev: repo.and_then(|repo| repo.rev).map(|rev| rev.to_string()),
        }
    };
    let all: Vec<Candidate> = dids.iter().map(candidate).collect();
    if json {
        print_json(&serde_json::json!({ "accounts": all, "unlisted": unlisted }))?;
    } else {
        let mut table = table(&["account", "state", "revision held"]);
        for candidate in &all {
            table.add_row([&*candidate.did, &*candidate.state, candidate.rev.as_deref().unwrap_or("-")]);
        }
        println!("{table}\n{} accounts would be compared with their hosts", HumanCount(all.len() as u64));
        tell_unlisted(&unlisted);
    }
    Ok(if unlisted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(fetched: &Fetched) {
    let heads =
        ["host", "accounts", "sparse", "car", "list", "unchanged", "inactive", "failed", "bytes", "records", "seconds"];
    let mut table = table(&heads);
    for host in &fetched.hosts {
        let counts = [host.accounts, host.sparse, host.car, host.list, host.unchanged, host.inactive, host.failed];
        let mut row = vec![if host.host.is_empty() { "(none)".to_owned() } else { host.host.clone() }];
        row.extend(counts.iter().map(|n| HumanCount(n.unsigned_abs()).to_string()));
        row.push(HumanBytes(host.bytes.unsigned_abs()).to_string());
        row.push(HumanCount(host.records.unsigned_abs()).to_string());
        row.push(format!("{:.1}", host.seconds));
        table.add_row(row);
    }
    println!("{table}");
    let (records, bytes): (i64, i64) =
        fetched.hosts.iter().map(|h| (h.records, h.bytes)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    println!(
        "{} accounts on {} hosts, {} records, {} in {}",
        HumanCount((fetched.counts.done + fetched.counts.failed).unsigned_abs()),
        fetched.hosts.iter().filter(|host| !host.host.is_empty()).count(),
        HumanCount(records.unsigned_abs()),
        HumanBytes(bytes.unsigned_abs()),
        HumanDuration(Duration::from_secs_f64(fetched.seconds)),
    );
    for job in &fetched.failures {
        let words = [job.outcome.as_deref(), job.host.as_deref(), job.error.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        eprintln!("{}: {}", job.did, words.join(", "));
    }
    for did in &fetched.shut_out {
        eprintln!("{did}: its records may not enter here; `almanac origin explain {did}` says why");
    }
    tell_unlisted(&fetched.unlisted);
    if fetched.interrupted {
        eprintln!(
            "told to stop before the end; what is queued goes on with `almanac serve`, or when this is run again"
        );
    } else if fetched.counts.failed > 0 {
        eprintln!(
            "{} accounts could not be fetched; `almanac serve` tries them again by itself",
            fetched.counts.failed
        );
    }
}

fn tell_unlisted(unlisted: &[(String, String)]) {
    for (place, why) in unlisted {
        eprintln!("{place} did not tell whose repositories there are: {why}");
    }
}

fn bar() -> ProgressBar {
    let template = "{bar:30} {pos}/{len} accounts, {per_sec}, {eta} left{msg}";
    let style = ProgressStyle::with_template(template).expect("the template is a literal that parses");
    ProgressBar::new(0).with_style(style)
}

async fn draw(bar: ProgressBar, watching: Arc<Watch>) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (done, failed) = (watching.done.load(Ordering::Relaxed), watching.failed.load(Ordering::Relaxed));
        let (parked, listed) = (watching.parked.load(Ordering::Relaxed), watching.listed.load(Ordering::Relaxed));
        bar.set_length(watching.total.load(Ordering::Relaxed).unsigned_abs());
        bar.set_position((done + failed).unsigned_abs());
        let mut message = String::new();
        if listed > 0 {
            message.push_str(&format!("; {} listed", HumanCount(listed)));
        }
        if failed > 0 {
            message.push_str(&format!("; {failed} failed"));
        }
        if parked > 0 {
            message.push_str(&format!("; {parked} hosts failing"));
        }
        bar.set_message(message);
    }
}
