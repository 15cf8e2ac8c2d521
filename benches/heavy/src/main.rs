//! The contests of `benches/`, with peers beside Almanac whose packages take minutes to build: jacquard and atrium.
//!
//! `cargo run --release --manifest-path benches/heavy/Cargo.toml -- [--full] [--test] [--json FILE] [WORDS]`, as `cargo bench`
//! does it: the same frames from the same seed, all contenders in turns in one process, one agreed result. Almanac and the
//! light peers stand in each contest too. The file of `--json` can be merged by `benches/chart`.
//!
//! libipld is not among the peers, because cargo finds no set of packages for it: see `benches/peers.rs`.

#[path = "../../arguments.rs"]
mod arguments;
mod atrium;
#[allow(dead_code, reason = "what the main bench runs")]
#[path = "../../car.rs"]
mod car;
#[allow(dead_code, reason = "no database takes part")]
#[path = "../../clock.rs"]
mod clock;
#[path = "../../contest.rs"]
mod contest;
#[allow(dead_code, reason = "what the main bench runs")]
#[path = "../../decode.rs"]
mod decode;
#[allow(dead_code, reason = "dumps are for the main bench")]
#[path = "../../fixture.rs"]
mod fixture;
mod jacquard;
#[path = "../../json.rs"]
mod json;
#[path = "../../machine.rs"]
mod machine;
#[path = "../../peers.rs"]
mod peers;
#[path = "../../table.rs"]
mod table;

use almanac::devnet::Mix;
use arguments::Arguments;
use car::contender;
use decode::{over_frames, passes};
use fixture::Frames;

fn main() {
    let arguments = Arguments::read(std::env::args().skip(1).collect());
    let scale = arguments.scale;
    let mut outcomes = Vec::new();
    let names = ["outline and filter", "full decode, network", "full verification, network"];
    let [outline, decode, verify] = names.map(|name| arguments.chosen(name));
    if outline || decode || verify {
        let frames = Frames::make(Mix::Network, scale);
        if outline {
            let mut contest = decode::outline_and_filter(&frames);
            let passes = passes(&frames, 200_000);
            let peer =
                |name, work: fn(&[u8]) -> bool| over_frames(name, &frames, passes, move |frame| work(frame).into());
            contest.contenders.extend([
                peer("atrium-api, its types by serde_ipld_dagcbor", atrium::filter),
                peer("jacquard, message decode", jacquard::filter),
                peer("jacquard, message decode, borrowed", jacquard::filter_borrowed),
            ]);
            outcomes.push(contest.run(scale));
        }
        if decode {
            let mut contest = decode::full_decode(names[1], &frames);
            let passes = passes(&frames, 16_000);
            let peer = |name, work: fn(&[u8]) -> u64| over_frames(name, &frames, passes, move |frame| work(frame));
            contest.contenders.extend([
                peer("atrium-api + atrium-repo, hashes of all blocks", atrium::decode),
                peer("jacquard + jacquard-repo, no hashes", jacquard::decode),
            ]);
            outcomes.push(contest.run(scale));
        }
        if verify {
            let mut contest = decode::full_verification(names[2], &frames);
            let passes = passes(&frames, 4_000);
            let verifier = jacquard::Verifier::new(&frames.keys);
            let verify = move |frame: &bytes::Bytes| verifier.verify(frame);
            let name = "jacquard validate_v1_1: signatures and trees, no hashes";
            contest.contenders.push(over_frames(name, &frames, passes, verify));
            outcomes.push(contest.run(scale));
        }
    }
    if arguments.chosen("repository CAR") {
        let bytes = car::make(scale);
        let mut contest = car::contest(&bytes);
        contest.contenders.extend([
            contender(
                "atrium-repo, hashes of all blocks, seeking what is followed",
                &bytes,
                atrium::repository_seeking,
            ),
            contender("atrium-repo, hashes of all blocks, the whole tree", &bytes, atrium::repository),
            contender("jacquard-repo, no hashes, the whole tree", &bytes, jacquard::repository),
        ]);
        outcomes.push(contest.run(scale));
    }
    table::heading(scale);
    table::contests(&outcomes);
    if let Some(path) = &arguments.json {
        json::write(&json::of_run(&arguments, &outcomes), path);
    }
}
