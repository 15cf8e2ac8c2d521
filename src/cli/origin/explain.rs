//! `almanac origin explain`.

use std::process::ExitCode;

use crate::cli::flags::{Filter, Global, Reaching, Verifying};
use crate::cli::table::print_json;
use crate::event::Did;
use crate::network::{Freshness, Network};
use crate::service::origin::{Explanation, Facts, Ruling, explain};
use crate::service::policy::Policies;
use crate::service::{self};

/// Decides as the process that serves does, over what that process stored of the account, with the settings given here: give
/// the same file, variables and flags.
#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    /// The account
    #[arg(value_name = "DID")]
    did: Did,
    /// Look its DID document up now, and decide by that
    #[arg(long)]
    resolve: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    verifying: Verifying,
    #[command(flatten)]
    reaching: Reaching,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut flags = args.filter.flags();
    flags.extend(args.verifying.flags());
    flags.extend(args.reaching.flags());
    let mut settings = global.settings(flags)?;
    let trust = service::trust(&settings, true)?;
    let db = service::open_to_read(&mut settings).await?;
    let looked = match args.resolve {
        true => Some(Network::new(settings.network.clone())?.did_document(&args.did, Freshness::Now).await),
        false => None,
    };
    let policies = Policies::load(&settings, Some(db.pool())).await?;
    let told = explain(db.pool(), &settings, &policies, &trust, &args.did, looked).await;
    db.close().await;
    let told = told?;
    if args.json {
        print_json(&told)?;
    } else {
        print(&told);
    }
    Ok(if told.ruling.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ruling(ruling: &Ruling) -> String {
    let kept = if ruling.kept { "its records enter" } else { "its records do not enter" };
    format!("{}: {kept} (rule {}: {})", ruling.standing, ruling.rule, ruling.says)
}

fn print(told: &Explanation) {
    println!("{}", told.did);
    println!("{}", ruling(&told.ruling));
    print_facts(&told.facts);
    for missing in &told.missing {
        println!("not known    {missing}");
    }
    if let Some(lists) = &told.by_lists_alone {
        println!("lists alone  {}", ruling(lists));
    }
    println!("what would change it:");
    for way in &told.would_change {
        println!("  - {way}");
    }
    println!(
        "What comes through an upstream declared for another environment, or from a PDS on which the account does not live, is \
         refused all the same (rules 1 and 2)."
    );
}

fn print_facts(facts: &Facts) {
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let of = |environment: &Option<String>| {
        environment.as_ref().map_or("nobody's of ours".to_owned(), |e| format!("environment {e}"))
    };
    println!("environment  {}, filter.dids = {}", facts.environment, facts.mode);
    let directory = facts.directory.as_ref().map_or(String::new(), |directory| format!(" at {directory}"));
    let when = match (facts.looked_up_now, facts.read_at) {
        (true, _) => ", looked up now".to_owned(),
        (false, Some(at)) => format!(", {}", time(at)),
        (false, None) => String::new(),
    };
    let document = match facts.document {
        "read" => "read",
        "none" => "there is none, or it was given up",
        "not_asked" => "nobody is asked who accounts are (verify.level)",
        "unreachable" => "cannot be read now",
        _ => "not read yet",
    };
    println!("document     {document}{directory}{when}");
    if let Some(error) = &facts.look_up_error {
        println!("             {error}");
    }
    if facts.document == "read" {
        match &facts.pds {
            Some(pds) => println!("PDS          {pds}, {}", of(&facts.pds_environment)),
            None => println!("PDS          its document names none"),
        }
        match &facts.claimed_handle {
            Some(handle) => println!("handle       claims {handle}, {}", of(&facts.handle_environment)),
            None => println!("handle       claims none"),
        }
    }
    let lists = |by: &[String]| if by.is_empty() { "no".to_owned() } else { format!("by {}", by.join(", ")) };
    println!("allowed      {}", lists(&facts.allowed_by));
    println!("denied       {}", lists(&facts.denied_by));
    if let Some(entry) = &facts.entry {
        println!("entered      {} by {}, {}: {}", entry.list, entry.who, time(entry.at), entry.why);
    }
    match &facts.link {
        Some(link) => println!("our user     {}, on {}", link.user_id, link.pds),
        None => println!("our user     no"),
    }
    if let Some(stored) = &facts.stored {
        println!("stored       {} (rule {}) since {}", stored.ruling.standing, stored.ruling.rule, time(stored.since));
    }
}
