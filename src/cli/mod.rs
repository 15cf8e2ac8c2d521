//! The command line: one file per subcommand.
//!
//! In: arguments. Out: results on stdout, everything else on stderr, and an exit code: 0 done, 1 failed, 2 wrong usage; `publish` also 3: it is safe and waits.
//! Never: work that a room should do.

mod backfill;
mod changing;
mod config;
mod decode;
#[cfg(feature = "devnet")]
mod demo;
#[cfg(feature = "devnet")]
mod devnet;
mod doctor;
mod events;
mod flags;
mod grants;
mod identity;
mod migrate;
mod openapi;
mod origin;
mod pds;
mod postgres;
mod publish;
mod purge;
mod quarantine;
mod rebuild;
mod record;
mod replay;
mod serve;
mod status;
mod table;
mod tokens;
mod trace;
mod verify;
mod verify_coverage;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// An event-sourced AT Protocol pipeline for calendar apps.
///
/// Almanac follows relays and PDSes, keeps calendar events and RSVPs in an append-only log, and folds the log into Postgres
/// tables that apps query, in SQL or over HTTP. Without a database URL it runs a private Postgres.
///
/// Try it without a network: `almanac demo`. Follow a relay: `almanac serve --relay HOST`.
#[derive(Parser)]
#[command(name = "almanac", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: flags::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow relays and PDSes, keep the index up to date, answer over HTTP
    Serve(serve::ServeArgs),
    /// Show what Almanac does, on this machine, without a network
    #[cfg(feature = "devnet")]
    Demo(demo::DemoArgs),
    /// Feed recorded frames through the same path as live ones
    Replay(replay::ReplayArgs),
    /// Fetch repositories: what no stream brings any more
    Backfill(backfill::BackfillArgs),
    /// Compare every account with what its host shows
    VerifyCoverage(verify_coverage::CoverageArgs),
    /// Who may enter: change it while a process serves, and tell what is decided of an account
    Origin(origin::OriginArgs),
    /// Which network accounts are our users'
    Identity(identity::IdentityArgs),
    /// Publish, edit and delete events and RSVPs in a user's name
    Publish(publish::PublishArgs),
    /// Who may write in whose name, and who did
    Grants(grants::GrantsArgs),
    /// Who may ask and publish over HTTP
    Tokens(tokens::TokensArgs),
    /// The PDS beside us: invite codes
    Pds(pds::PdsArgs),
    /// Print what apps can do over HTTP, as an OpenAPI document
    Openapi,
    /// Record what relays and PDSes send into a dump
    Record(record::RecordArgs),
    /// Print what recorded frames say, as JSON lines; needs no database
    Decode(decode::DecodeArgs),
    /// Show upcoming events
    Events(events::EventsArgs),
    /// Tell what the log and the index know of one record
    Trace(trace::TraceArgs),
    /// Tell how far log and index are, and what they hold
    Status(status::StatusArgs),
    /// Fold the whole log into new tables and exchange them for the old
    Rebuild(rebuild::RebuildArgs),
    /// Take the records of accounts that were deleted long ago out of the log
    Purge(purge::PurgeArgs),
    /// Refused records: look at them, have them judged again, throw them away
    Quarantine(quarantine::QuarantineArgs),
    /// Receivers of webhooks: how they stand, what they did not take, tests
    Webhooks(webhooks::WebhooksArgs),
    /// Bring the database's tables up to date
    Migrate,
    /// Check or show the settings
    Config(config::ConfigArgs),
    /// Look for what this environment shares with others
    Doctor(doctor::DoctorArgs),
    /// The private PostgreSQL server in the data directory
    Postgres(postgres::PostgresArgs),
    /// A made-up network with really signed frames
    #[cfg(feature = "devnet")]
    Devnet(devnet::DevnetArgs),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    // Every TLS connection uses this one; without it a second provider in the dependency tree would make them panic.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("almanac: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("almanac: {error:#}");
            if error.downcast_ref::<ConfigError>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(args) => serve::run(&global, args).await?,
        #[cfg(feature = "devnet")]
        Command::Demo(args) => demo::run(&global, args).await?,
        Command::Replay(args) => return replay::run(&global, args).await,
        Command::Backfill(args) => return backfill::run(&global, args).await,
        Command::VerifyCoverage(args) => return verify_coverage::run(&global, args).await,
        Command::Origin(args) => return origin::run(&global, args).await,
        Command::Identity(args) => return identity::run(&global, args).await,
        Command::Publish(args) => return publish::run(&global, args).await,
        Command::Openapi => openapi::run()?,
        Command::Grants(args) => return grants::run(&global, args).await,
        Command::Tokens(args) => return tokens::run(&global, args).await,
        Command::Pds(args) => pds::run(&global, args).await?,
        Command::Record(args) => {
            let settings = global
                .settings(args.ca_file.iter().map(|f| ("source.ca_file", "ca-file", vec![f.display().to_string()])))?;
            match args.relays.is_empty() {
                true => settings.check_upstreams()?,
                false => args.relays.iter().try_for_each(|relay| settings.check_host("--relay", &relay.name()))?,
            }
            let configured: Vec<_> = settings.relays.iter().chain(&settings.pdses).cloned().collect();
            record::run(args, Some(settings.environment), &configured).await?;
        }
        Command::Decode(args) => return decode::run(&args),
        Command::Events(args) => events::run(&global, args).await?,
        Command::Trace(args) => return trace::run(&global, args).await,
        Command::Status(args) => status::run(&global, args).await?,
        Command::Rebuild(args) => rebuild::run(&global, args).await?,
        Command::Purge(args) => purge::run(&global, args).await?,
        Command::Quarantine(args) => return quarantine::run(&global, args).await,
        Command::Webhooks(args) => return webhooks::run(&global, args).await,
        Command::Migrate => migrate::run(&global).await?,
        Command::Config(args) => config::run(&global, args)?,
        Command::Doctor(args) => return doctor::run(&global, &args),
        Command::Postgres(args) => postgres::run(args, &global.settings([])?.data_dir).await?,
        #[cfg(feature = "devnet")]
        Command::Devnet(args) => devnet::run(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `almanac decode … | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
