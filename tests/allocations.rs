//! What a frame that is dropped costs in memory: nothing of its own.
//!
//! The allocator of this test counts. A frame that is judged and dropped allocates nothing; on its way from a dump it shares
//! what its parcel takes with the others in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use almanac::config::{Layers, Settings};
use almanac::decode;
use almanac::devnet::{Mix, Size, Traffic};
use almanac::event::{Delivery, Environment, Upstream, UpstreamKind};
use almanac::filter::{self, CollectionSet, DidRule, Policy, Verdict};
use almanac::ingest::{Batch, Judge, Trust};
use almanac::service::replay::{Options, Progress, Speed, replay};
use almanac::source::Parcel;
use almanac::source::dump::DumpReader;
use bytes::Bytes;
use tokio::sync::watch;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: what the caller promises us is what the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let made = work();
    (ALLOCATIONS.load(Ordering::SeqCst) - before, made)
}

fn policy() -> Policy {
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let environment = Environment::parse("test").unwrap();
    Policy::new(environment, CollectionSet::parse(collections).unwrap(), DidRule::Network)
}

/// Frames of the network that the filter drops.
fn dropped_frames(count: usize) -> Vec<Bytes> {
    let policy = policy();
    let is_dropped = |frame: &Bytes| {
        let outline = decode::outline(frame).unwrap();
        matches!(filter::judge(&outline, &policy, |_| false), Ok(Verdict::Drop(_)))
    };
    let mut traffic = Traffic::with_size(1, Mix::Network, Size { accounts: 20, pasts: 2, records: 200 }, 1);
    let mut frames = Vec::new();
    while frames.len() < count {
        frames.extend(traffic.next_frames(64).into_iter().map(|frame| Bytes::from(frame.bytes)).filter(is_dropped));
    }
    frames.truncate(count);
    frames
}

fn dump(folder: &Path, frames: &[Bytes], times: usize) -> PathBuf {
    let path = folder.join(format!("{times}.frames.zst"));
    let mut out = zstd::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    for frame in frames.iter().cycle().take(frames.len() * times) {
        out.write_all(&(frame.len() as u32).to_le_bytes()).unwrap();
        out.write_all(frame).unwrap();
    }
    out.finish().unwrap();
    path
}

async fn replayed(settings: &Settings, dump: &Path) -> u64 {
    let options =
        Options { files: vec![dump.to_owned()], range: None, speed: Speed::Max, declared: None, as_foreign: false };
    let (_never, stopped) = watch::channel(false);
    let outcome = replay(settings, None, options, Arc::new(Progress::default()), stopped, |why| panic!("{why}"));
    let report = outcome.await.unwrap().unwrap().report;
    assert_eq!(report.appended, 0, "a frame was kept");
    report.tally.frames
}

// One test: others beside it would be counted too.
#[test]
fn a_frame_that_is_dropped_allocates_nothing_of_its_own() {
    let frames = dropped_frames(400);

    // Judged, live: with a cursor and a watch over gaps.
    let policy = policy();
    let mut judge = Judge::new(Default::default(), Trust::Unverified, Arc::default(), None);
    let mut batch = Batch::default();
    let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test"));
    let seen_at = chrono::Utc::now();
    let mut parcel = Parcel::with_capacity(frames.len());
    frames[1..].iter().for_each(|frame| parcel.push(&upstream, seen_at, true, frame.clone()));
    // The first frame of an upstream makes its place in the list of cursors.
    judge.judge(&policy, &Delivery { upstream, seen_at, live: true, frame: frames[0].clone() }, &mut batch);
    let mut judged = 0;
    let (count, ()) = allocations(|| {
        parcel.for_each(decode::AHEAD, decode::prefetch, |delivery| {
            assert!(judge.judge(&policy, delivery, &mut batch).is_none());
            judged += 1;
        });
    });
    assert_eq!((count, judged), (0, frames.len() - 1), "allocations, frames");
    assert!(!batch.has_events() && !batch.is_empty(), "they moved the cursor and nothing else");

    // From a compressed dump to the verdict. What a run needs once is there in both.
    let folder = tempfile::tempdir().unwrap();
    let (few, many) = (dump(folder.path(), &frames, 5), dump(folder.path(), &frames, 55));
    let more = (50 * frames.len()) as f64;
    let settings = Settings::check(&Layers::read(None, [], []).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let whole = |dump: &Path| allocations(|| runtime.block_on(replayed(&settings, dump))).0;
    let alone = |dump: &Path| allocations(|| DumpReader::open(dump).unwrap().map(Result::unwrap).count()).0;
    // The first run pays for what the process needs once.
    whole(&few);
    let per_frame = |of: &dyn Fn(&Path) -> u64| (of(&many) as f64 - of(&few) as f64) / more;
    let (whole, alone) = (per_frame(&whole), per_frame(&alone));
    println!("allocations a frame: reading {alone:.4}, replayed and dropped {whole:.4}");
    assert!(alone < 0.1, "reading a frame allocates {alone:.4} times");
    assert!(whole < 0.25, "a frame that is replayed and dropped allocates {whole:.4} times");
}
