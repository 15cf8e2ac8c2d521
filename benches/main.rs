//! Almanac's speed, and that of others at the same work, in one table.
//!
//! `cargo bench` runs small, `cargo bench -- --full` (or `ALMANAC_BENCH_FULL=1`) at a size worth quoting, and
//! `cargo bench -- --test` once over almost nothing, to see that everything still runs. Words choose paths by name:
//! `cargo bench -- outline decode`. `--json FILE` writes the same figures for machines. Progress goes to stderr; stdout is Markdown tables, and nothing else.
//!
//! Every contender of a path does its work on the same bytes in the same process, in turns (A B C A B C …), and must
//! return the same result. What counts is CPU time: on a machine that others use too, wall time is not ours to measure.
//! `backfill` and `publish` are told in wall time: most of it is waiting for hosts. Peers that take minutes to build stand
//! beside the same contests in a package of their own, `benches/heavy`.

mod arguments;
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
mod json;
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
mod table;
mod targets;
mod websocket;

use arguments::Arguments;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if backfill::network::served(&words) || instructions::served(&words) {
        return;
    }
    let arguments = Arguments::read(words);
    let scale = arguments.scale;
    // Without it the parts that count would count into nothing, and look faster than they are in a process that serves.
    almanac::service::register_metrics();
    let chosen = |name: &str| arguments.chosen(name);
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
    if let Some(path) = &arguments.json {
        json::write(&found.to_json(&arguments), path);
    }
}
