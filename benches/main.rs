//! Almanac's speed, and that of others at the same work, in one table.
//!
//! `cargo bench` runs small, `cargo bench -- --full` (or `ALMANAC_BENCH_FULL=1`) at a size worth quoting, and
//! `cargo bench -- --test` once over almost nothing, to see that everything still runs. Words choose paths by name:
//! `cargo bench -- outline decode`. Progress goes to stderr; stdout is Markdown tables, and nothing else.
//!
//! Every contender of a path does its work on the same bytes in the same process, in turns (A B C A B C …), and must
//! return the same result. What counts is CPU time: on a machine that others use too, wall time is not ours to measure.
//! `backfill` and `publish` are told in wall time: most of it is waiting for hosts.

mod backfill;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/child.rs"]
mod child;
mod clock;
mod contest;
mod decode;
mod fixture;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/keeper.rs"]
mod keeper;
mod lists;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/null_pds.rs"]
mod null_pds;
mod peers;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/postgres.rs"]
mod postgres;
mod publish;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/real_parts.rs"]
mod real_parts;
mod replay;
mod report;
mod websocket;

use fixture::Scale;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if backfill::network::served(&words) {
        return;
    }
    let mut flag = |name: &str| {
        let before = words.len();
        words.retain(|word| word != name);
        words.len() < before
    };
    // Cargo passes `--bench` to every benchmark.
    flag("--bench");
    let scale = match (flag("--test"), flag("--full") || std::env::var_os("ALMANAC_BENCH_FULL").is_some()) {
        (true, _) => Scale::Test,
        (false, true) => Scale::Full,
        (false, false) => Scale::Small,
    };
    if let Some(unknown) = words.iter().find(|word| word.starts_with('-')) {
        eprintln!("{unknown} is neither --test nor --full, nor a word of a path's name");
        std::process::exit(2);
    }
    // Without it the parts that count would count into nothing, and look faster than they are in a process that serves.
    almanac::service::register_metrics();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut results = Vec::new();
    decode::run(scale, &chosen, &mut results);
    let memory = lists::run(scale, &chosen, &mut results);
    replay::run(scale, &chosen, &mut results);
    websocket::run(scale, &chosen, &mut results);
    let backfilled = backfill::run(scale, &chosen);
    let published = publish::run(scale, &chosen);
    report::print(scale, &results, memory.as_ref(), backfilled.as_ref(), published.as_ref());
}
