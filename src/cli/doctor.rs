//! `almanac doctor`: what an operator should know before something happens.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::flags::Global;
use super::table::table;
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
    let layers = global.layers([])?;
    let settings = Settings::check(&layers)?;
    let own = isolation::own(&settings, &layers)?;
    let others = args.other.iter().map(|path| isolation::read_other(path)).collect::<Result<Vec<_>, _>>()?;
    let report =
        report(settings.environment, settings.environment_kind, isolation::check(&own, &settings.places, &others));
    let code = if report.isolated { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { shown(&report) };
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever reads only the first lines asks for the exit code all the same.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    }
}

fn shown(report: &Report) -> String {
    let mut table = table(&["", "check", "of", "compared", "fix"]);
    for check in &report.checks {
        let of: Vec<_> = check.environments.iter().map(Environment::as_str).collect();
        let fix = check.fix.as_deref().unwrap_or("-");
        table.add_row([check.level.as_str(), check.check, &of.join(", "), &check.compared, fix]);
    }
    let Report { environment, environment_kind, red, yellow, green, .. } = report;
    format!("{table}\n{environment} ({environment_kind}): {red} red, {yellow} yellow, {green} green")
}

/// The worst first; what is alike in the order of the checks.
fn report(environment: Environment, kind: EnvironmentKind, mut checks: Vec<Check>) -> Report {
    checks.sort_by_key(|check| std::cmp::Reverse(check.level));
    let count = |level: Level| checks.iter().filter(|check| check.level == level).count();
    let (red, yellow, green) = (count(Level::Red), count(Level::Yellow), count(Level::Green));
    Report { environment, environment_kind: kind.as_str(), isolated: red == 0, red, yellow, green, checks }
}
