//! `almanac doctor`: what an operator should know before something happens.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::flags::Global;
use super::table::{print_json, table};
use crate::config::Settings;
use crate::event::{Environment, EnvironmentKind};
use crate::service::isolation::{self, Check, Level};

#[derive(clap::Args)]
pub(super) struct DoctorArgs {
    #[command(subcommand)]
    command: DoctorCommand,
}

#[derive(clap::Subcommand)]
enum DoctorCommand {
    /// Compare this environment's settings with those of others: shared hosts, handles, directories, databases, receivers
    /// and keys. Exit code 1 when something is red
    Isolation(IsolationArgs),
}

#[derive(clap::Args)]
struct IsolationArgs {
    /// What another environment tells of itself: its settings file, or what `almanac config show --public` prints there;
    /// several at once, or repeated
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    other: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    environment: Environment,
    environment_kind: &'static str,
    isolated: bool,
    red: usize,
    yellow: usize,
    green: usize,
    checks: Vec<Check>,
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let DoctorCommand::Isolation(args) = &args.command;
    // No log lines: a doctor that opens nothing has nothing to tell beside his findings.
    let settings = Settings::check(&global.layers([])?)?;
    let own = isolation::own(&settings)?;
    let others = args.other.iter().map(|path| isolation::read_other(path)).collect::<Result<Vec<_>, _>>()?;
    let report =
        report(settings.environment, settings.environment_kind, isolation::check(&own, &settings.places, &others));
    if args.json {
        print_json(&report)?;
    } else {
        let mut table = table(&["", "check", "of", "compared", "fix"]);
        for check in &report.checks {
            let of: Vec<_> = check.environments.iter().map(Environment::as_str).collect();
            let fix = check.fix.as_deref().unwrap_or("-");
            table.add_row([check.level.as_str(), check.check, &of.join(", "), &check.compared, fix]);
        }
        println!("{table}");
        println!(
            "{} ({}): {} red, {} yellow, {} green",
            report.environment, report.environment_kind, report.red, report.yellow, report.green
        );
    }
    Ok(if report.isolated { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The worst first; what is alike in the order of the checks.
fn report(environment: Environment, kind: EnvironmentKind, mut checks: Vec<Check>) -> Report {
    checks.sort_by_key(|check| std::cmp::Reverse(check.level));
    let count = |level: Level| checks.iter().filter(|check| check.level == level).count();
    let (red, yellow, green) = (count(Level::Red), count(Level::Yellow), count(Level::Green));
    Report { environment, environment_kind: kind.as_str(), isolated: red == 0, red, yellow, green, checks }
}
