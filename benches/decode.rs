//! Frames in memory: outline and filter, full decode, and full verification.

use almanac::decode::{self, Checks, Level, Message};
use almanac::devnet::Mix;
use almanac::event::Environment;
use almanac::filter::{self, CollectionSet, DidRule, Policy, Verdict};
use bytes::Bytes;

use crate::clock::Stopwatch;
use crate::contest::{Contender, Contest, Outcome};
use crate::fixture::{Frames, Scale};
use crate::peers::{self, weigh};

/// Runs the chosen paths.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) {
    let outline = chosen("outline and filter");
    let (decode_network, decode_calendar) = (chosen("full decode, network"), chosen("full decode, calendar"));
    let verify_network = chosen("full verification, network");
    if outline || decode_network || verify_network {
        let network = Frames::make(Mix::Network, scale);
        if outline {
            results.push(outline_and_filter(&network).run(scale));
        }
        if decode_network {
            results.push(full_decode("full decode, network", &network).run(scale));
        }
        if verify_network {
            results.push(full_verification("full verification, network", &network).run(scale));
        }
    }
    let verify_calendar = chosen("full verification, calendar");
    if decode_calendar || verify_calendar {
        let calendar = Frames::make(Mix::Calendar, scale);
        if decode_calendar {
            results.push(full_decode("full decode, calendar", &calendar).run(scale));
        }
        if verify_calendar {
            results.push(full_verification("full verification, calendar", &calendar).run(scale));
        }
    }
}

/// Works through the frames so often that a run is long enough to be measured.
pub fn passes(frames: &Frames, at_least: usize) -> usize {
    (at_least / frames.frames.len()).max(1)
}

/// Somebody who does `work` on every frame, so many times over.
pub fn over_frames<'a>(
    name: &'static str,
    frames: &'a Frames,
    passes: usize,
    work: impl Fn(&Bytes) -> u64 + 'a,
) -> Contender<'a> {
    let run = move || {
        let watch = Stopwatch::start(None);
        let mut sum = 0u64;
        for _ in 0..passes {
            for frame in &frames.frames {
                sum = sum.wrapping_add(work(frame));
            }
        }
        (sum, watch.cost())
    };
    Contender { name, run: Box::new(run) }
}

/// Which frames are of followed collections.
pub fn outline_and_filter(frames: &Frames) -> Contest<'_> {
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let policy = Policy::new(
        Environment::parse("bench").expect("a literal that is a name"),
        CollectionSet::parse(collections).expect("literals that are collections"),
        DidRule::Network,
    );
    let passes = passes(frames, 200_000);
    let almanac = move || {
        let watch = Stopwatch::start(None);
        let mut kept = 0;
        for _ in 0..passes {
            for outline in decode::outlines(&frames.frames) {
                let outline = outline.expect("the generator writes frames");
                let verdict = filter::judge(&outline, &policy, |_| false).expect("the generator writes frames");
                kept += u64::from(verdict == Verdict::Keep);
            }
        }
        (kept, watch.cost())
    };
    let peer = |name, work: fn(&[u8]) -> bool| over_frames(name, frames, passes, move |frame| u64::from(work(frame)));
    Contest {
        name: "outline and filter",
        input: frames.describe(),
        unit: "frames",
        units: (frames.frames.len() * passes) as u64,
        rounds: 15,
        contenders: vec![
            Contender { name: "Almanac", run: Box::new(almanac) },
            peer("serde_ipld_dagcbor, whole envelope, borrowed", peers::serde_whole_filter),
            peer("serde_ipld_dagcbor, only what a filter needs, borrowed", peers::serde_filter),
            peer("ciborium, only what a filter needs", peers::ciborium_filter),
        ],
    }
}

/// What frames say, with their records.
pub fn full_decode<'a>(name: &'static str, frames: &'a Frames) -> Contest<'a> {
    let almanac = |frame: &Bytes| {
        let outline = decode::outline(frame).expect("the generator writes frames");
        match decode::decode(frame, &outline, |_| true, &Checks::NONE).expect("the generator writes frames") {
            Message::Commit(commit) => {
                let records = commit.ops.iter().filter_map(|op| op.record.as_ref());
                weigh(commit.ops.len() as u64, records.map(|record| record.bytes.len() as u64).sum())
            }
            _ => 0,
        }
    };
    let passes = passes(frames, 16_000);
    let peer =
        |name, car: fn(&[u8]) -> _| over_frames(name, frames, passes, move |frame| peers::serde_decode(frame, car));
    Contest {
        name,
        input: frames.describe(),
        unit: "frames",
        units: (frames.frames.len() * passes) as u64,
        rounds: 11,
        contenders: vec![
            over_frames("Almanac, hashes of the blocks used", frames, passes, almanac),
            peer("serde_ipld_dagcbor + rs-car, hashes of all blocks", peers::rs_car),
            peer("serde_ipld_dagcbor + iroh-car, hashes of all blocks", peers::iroh_car_hashed),
            peer("serde_ipld_dagcbor + iroh-car, no hashes", peers::iroh_car),
        ],
    }
}

/// Everything that can be proven of a frame alone: hashes, signature, and the tree undone to `prevData`.
pub fn full_verification<'a>(name: &'static str, frames: &'a Frames) -> Contest<'a> {
    let almanac = |frame: &Bytes| {
        let outline = decode::outline(frame).expect("the generator writes frames");
        let checks = Checks { level: Level::Full, key: frames.keys.get(outline.did), now: None };
        match decode::decode(frame, &outline, |_| true, &checks).expect("the generator signs what it says") {
            Message::Commit(commit) => {
                let records = commit.ops.iter().filter_map(|op| op.record.as_ref());
                weigh(commit.ops.len() as u64, records.map(|record| record.bytes.len() as u64).sum())
            }
            _ => 0,
        }
    };
    let passes = passes(frames, 4_000);
    Contest {
        name,
        input: frames.describe(),
        unit: "frames",
        units: (frames.frames.len() * passes) as u64,
        rounds: 11,
        contenders: vec![
            over_frames("Almanac, signatures and trees", frames, passes, almanac),
            over_frames("the same libraries, signatures alone: nothing of the tree", frames, passes, |frame| {
                peers::serde_signature(frame, &frames.keys)
            }),
        ],
    }
}
