//! `almanac publish`: what apps do over HTTP, done here.
//!
//! It works in its own process, on the same database as a `serve` that runs: what is still to be done when it ends is done by
//! that one, or by the next. Exit codes: 0 it is on the PDS, 1 refused or a conflict, 3 it is safe and waits.

mod draft;
mod show;
mod wish;

use std::process::ExitCode;

use self::draft::{EventFlags, RsvpFlags};
use self::wish::Wishing;
use super::flags::Global;
use crate::publisher::{Action, Kind};

/// It is stored and goes on without us.
const WAITS: u8 = 3;

#[derive(clap::Args)]
pub(super) struct PublishArgs {
    #[command(subcommand)]
    command: PublishCommand,
}

#[derive(clap::Subcommand)]
enum PublishCommand {
    /// Publish an event, or an edit of it; exit code 3: it is safe and waits
    Event {
        #[command(flatten)]
        wishing: Wishing,
        #[command(flatten)]
        draft: Box<EventFlags>,
    },
    /// Publish an RSVP, or another answer to the same event; exit code 3: it is safe and waits
    Rsvp {
        #[command(flatten)]
        wishing: Wishing,
        #[command(flatten)]
        draft: RsvpFlags,
    },
    /// Delete an event from the PDS, or an RSVP; exit code 3: the wish is safe and waits
    Delete {
        #[command(flatten)]
        wishing: Wishing,
        /// It is an RSVP
        #[arg(long)]
        rsvp: bool,
    },
    /// Show what is published for a user, and how far it is
    List(show::ListArgs),
    /// Show one record and how far it is
    Show(show::ShowArgs),
    /// Have wishes that wait tried again now
    Retry(show::RetryArgs),
}

pub(super) async fn run(global: &Global, args: PublishArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        PublishCommand::Event { wishing, draft } => {
            wish::run(global, wishing, Kind::Event, Action::Put, Some(draft.read()?)).await
        }
        PublishCommand::Rsvp { wishing, draft } => {
            wish::run(global, wishing, Kind::Rsvp, Action::Put, Some(draft.read()?)).await
        }
        PublishCommand::Delete { wishing, rsvp } => wish::run(global, wishing, kind(rsvp), Action::Delete, None).await,
        PublishCommand::List(args) => show::list(global, args).await,
        PublishCommand::Show(args) => show::show(global, args).await,
        PublishCommand::Retry(args) => show::retry(global, args).await,
    }
}

fn kind(rsvp: bool) -> Kind {
    if rsvp { Kind::Rsvp } else { Kind::Event }
}
