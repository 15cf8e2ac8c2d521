//! Almanac's speed, and that of others at the same work, in one table.
//!
//! `cargo bench` runs small, `cargo bench -- --full` (or `ALMANAC_BENCH_FULL=1`) at a size worth quoting, and
//! `cargo bench -- --test` once over almost nothing, to see that everything still runs. Words choose paths by name:
//! `cargo bench -- outline decode`. `--json FILE` writes the same figures for machines. Progress goes to stderr; stdout is Markdown tables, and nothing else.
//!
//! Every contender of a path does its work on the same bytes in the same process, in turns (A B C A B C …), and must
//! return the same result. What counts is CPU time: on a machine that others use too, wall time is not ours to measure.
//! `backfill` and `publish` are told in wall time: most of it is waiting for hosts.

mod backfill;
mod car;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/child.rs"]
mod child;
mod clock;
mod contest;
mod decode;
mod fixture;
mod instructions;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/keeper.rs"]
mod keeper;
mod lists;
mod live;
mod machine;
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
mod rebuild;
mod replay;
mod report;
mod results;
#[allow(dead_code, reason = "what tests need beside it")]
#[path = "../tests/support/serve.rs"]
mod serve;
mod targets;
mod websocket;

use fixture::Scale;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if backfill::network::served(&words) || instructions::served(&words) {
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
    let json = words.iter().position(|word| word == "--json").map(|at| {
        words.remove(at);
        if at == words.len() {
            eprintln!("--json wants the file to write");
            std::process::exit(2);
        }
        std::path::PathBuf::from(words.remove(at))
    });
    if let Some(unknown) = words.iter().find(|word| word.starts_with('-')) {
        eprintln!("{unknown} is none of --test, --full and --json FILE, nor a word of a path's name");
        std::process::exit(2);
    }
    // Without it the parts that count would count into nothing, and look faster than they are in a process that serves.
    almanac::service::register_metrics();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut found = results::Results::new(scale);
    let results = &mut found.outcomes;
    decode::run(scale, &chosen, results);
    car::run(scale, &chosen, results);
    found.memory = lists::run(scale, &chosen, results);
    replay::run(scale, &chosen, results);
    rebuild::run(scale, &chosen, results);
    websocket::run(scale, &chosen, results);
    found.backfilled = backfill::run(scale, &chosen);
    found.published = publish::run(scale, &chosen);
    found.live = live::run(scale, &chosen);
    found.growth = live::growth::run(scale, &chosen);
    report::print(&found);
    if let Some(json) = json {
        found.write(&json, &words);
    }
}
