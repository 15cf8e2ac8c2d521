//! Lists of millions of accounts: what a DID costs in memory, and what the lists cost each frame.

use almanac::decode;
use almanac::devnet::Mix;
use almanac::event::Environment;
use almanac::filter::{self, CollectionSet, DidRule, DidSet, Facts, Identity, Policy, Verdict};
use bytes::Bytes;

use crate::contest::{Contest, Outcome};
use crate::decode::{over_frames, passes};
use crate::fixture::{Frames, Scale};

/// What a DID of a list may cost, in bytes.
const BYTES_MAX: f64 = 64.0;

/// What lists cost in memory.
pub struct Memory {
    /// How many DIDs in each of the two lists.
    pub dids: usize,
    /// Bytes for each of them, as the set tells it itself.
    pub told: f64,
    /// Bytes for each, by how much the process grew; only where the system tells, and where there are enough to see it.
    pub grown: Option<f64>,
}

/// Runs it, if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) -> Option<Memory> {
    if !chosen("lists of accounts") {
        return None;
    }
    let dids = match scale {
        Scale::Test => 20_000,
        Scale::Small | Scale::Full => 5_000_000,
    };
    let frames = Frames::make(Mix::Network, scale);
    eprintln!("making two lists of {dids} accounts");
    let before = resident();
    let (allowed, denied) = (list(dids, 1), list(dids, 2));
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
    let each = |bytes: usize| bytes as f64 / (2 * dids) as f64;
    let memory = Memory {
        dids,
        told: each(allowed.bytes() + denied.bytes()),
        // What the allocator had to spare hides small ones.
        grown: grown.filter(|_| scale != Scale::Test).map(each),
    };
    assert!(memory.told <= BYTES_MAX, "a DID costs {} bytes", memory.told);
    assert!(memory.grown.is_none_or(|grown| grown <= BYTES_MAX), "the process grew by {:?} bytes a DID", memory.grown);
    results.push(contest(&frames, allowed, denied).run(scale));
    Some(memory)
}

/// A list as a process reads it from a file: one did:plc a line, spread over all there could be.
fn list(dids: usize, seed: u64) -> DidSet {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(dids * 33);
    let mut state = seed;
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for _ in 0..dids {
        text.push_str("did:plc:");
        for _ in 0..2 {
            let bits = next();
            text.extend((0..12).map(|i| char::from(LETTERS[(bits >> (5 * i)) as usize & 31])));
        }
        text.push('\n');
    }
    let set = Policy::parse_list(&[], &text).expect("lines that are DIDs");
    assert_eq!(set.len(), dids, "two of the accounts are one");
    set
}

/// The filter over every frame, and the verdict about whose it is for all that are not dropped: as ingest does it, but for
/// what it remembers of accounts.
fn judged(frame: &Bytes, policy: &Policy) -> u64 {
    let outline = decode::outline(frame).expect("the generator writes frames");
    let verdict = filter::judge(&outline, policy, |_| false).expect("the generator writes frames");
    if matches!(verdict, Verdict::Drop(_) | Verdict::HostNotice) {
        return 0;
    }
    u64::from(decision(outline.did, policy))
}

fn decision(did: &str, policy: &Policy) -> bool {
    let facts = Facts { did, declared: None, through_pds: None, identity: Identity::NotAsked, before: None };
    filter::decide(&facts, policy).standing.is_kept()
}

fn contest(frames: &Frames, allowed: DidSet, denied: DidSet) -> Contest<'_> {
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let empty = Policy::new(
        Environment::parse("bench").expect("a literal that is a name"),
        CollectionSet::parse(collections).expect("literals that are collections"),
        DidRule::Network,
    );
    let full = Policy { allowed: allowed.into(), denied: denied.into(), ..empty.clone() };
    let input = format!("{}; two lists of {} accounts", frames.describe(), full.allowed.len());
    let passes = passes(frames, 200_000);
    Contest {
        name: "outline and filter, lists of accounts",
        input,
        unit: "frames",
        units: (frames.frames.len() * passes) as u64,
        rounds: 15,
        contenders: vec![
            over_frames("Almanac, with both lists", frames, passes, move |frame| judged(frame, &full)),
            over_frames("Almanac, with empty lists", frames, passes, move |frame| judged(frame, &empty)),
        ],
    }
}

/// Bytes of this process that are in memory now. Only Linux tells.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages * usize::try_from(page).ok()?)
}
