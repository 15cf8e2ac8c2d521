//! The executable itself, for tests of what a process does when the world around it breaks.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::child::{Running, end_with_this_thread};

/// `almanac ARGS…` in the environment `test` on this database.
pub fn command(database_url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
    command.args(args).args(["--environment", "test", "--database-url", database_url]);
    end_with_this_thread(&mut command);
    command
}

/// Starts it in the background; its log goes to `log`.
pub fn start(database_url: &str, args: &[&str], log: &Path) -> Running {
    Running::start(args[0], &mut command(database_url, args), log)
}

/// Runs it to its end.
pub fn run(database_url: &str, args: &[&str]) -> Output {
    command(database_url, args).output().unwrap()
}

/// Runs it to its end, which must be a good one, and reads the JSON it prints.
pub fn json(database_url: &str, args: &[&str]) -> Value {
    let output = run(database_url, args);
    assert!(output.status.success(), "almanac {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("almanac {args:?} prints no JSON: {e}"))
}

/// The hashes of `almanac status --checksum`. The index must have caught up with the log.
pub fn checksum(database_url: &str) -> Value {
    let status = json(database_url, &["status", "--checksum", "--json"]);
    assert_eq!(status["log_position"], status["projection_position"], "the index is behind: {status}");
    status["checksum"].clone()
}
