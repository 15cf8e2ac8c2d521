//! Frames over a websocket on the loopback, judged by the code that `almanac serve` runs, into nothing.
//!
//! A thread of this process plays the frames from memory as fast as its socket takes them. Its CPU time is taken off: it is
//! the host's.

use std::future::Future;
use std::io::{IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use almanac::decode::Level;
use almanac::devnet::Mix;
use almanac::event::{DidDocument, Environment, UpstreamKind};
use almanac::filter::{CollectionSet, DidRule, Policy};
use almanac::ingest::{Cursors, Ingest, Inquiries, Judge, Sink, Trust};
use almanac::source::relay::{self, RelayOptions, RelayUrl, Subscription, SubscriptionStatus};
use almanac::source::{QueueLimits, delivery_queue};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::clock::{Cost, Stopwatch};
use crate::contest::{Contender, Contest, Outcome};
use crate::fixture::{Frames, Scale};
use crate::peers;

/// Runs the chosen paths.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) {
    if !chosen(NAME) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    let frames = Frames::make(Mix::Network, scale);
    results.push(to_verdict(&runtime, &frames).run(scale));
}

const NAME: &str = "websocket to verdict";

/// `#info` with the name `End`: a word of the host about its stream, as the last frame.
const END: &[u8] = b"\xa2\x61t\x65#info\x62op\x01\xa1\x64name\x63End";

/// The path and its peers.
pub fn to_verdict<'a>(runtime: &'a Runtime, frames: &'a Frames) -> Contest<'a> {
    let shared: Arc<[Bytes]> = frames.frames.clone().into();
    let contender = |name, work: fn(SocketAddr) -> Work| {
        let shared = shared.clone();
        let run = move || {
            let watch = Stopwatch::start(None);
            let host = Host::start(shared.clone());
            let count = runtime.block_on(work(host.address));
            let sending = host.finish();
            let Cost { cpu, wall } = watch.cost();
            (count, Cost { cpu: cpu.saturating_sub(sending), wall })
        };
        Contender { name, run: Box::new(run) as Box<dyn FnMut() -> (u64, Cost)> }
    };
    Contest {
        name: NAME,
        input: format!("{}, as fast as the socket takes them", frames.describe()),
        unit: "frames",
        units: frames.frames.len() as u64,
        rounds: 11,
        contenders: vec![
            contender("Almanac", |address| Box::pin(almanac(address))),
            contender("tokio-tungstenite alone, messages counted", |address| Box::pin(bare(address, |_| true))),
            contender("tokio-tungstenite + serde_ipld_dagcbor, only what a filter needs", |address| {
                Box::pin(bare(address, |frame| {
                    std::hint::black_box(peers::serde_filter(frame));
                    true
                }))
            }),
        ],
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = u64> + Send>>;

/// A host that plays frames to whoever connects first.
struct Host {
    address: SocketAddr,
    playing: JoinHandle<Duration>,
}

impl Host {
    fn start(frames: Arc<[Bytes]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback can be listened on");
        let address = listener.local_addr().expect("it is bound");
        let playing = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("somebody connects");
            let mut socket = tungstenite::accept(stream).expect("it is a websocket");
            play(socket.get_mut(), &frames).expect("frames are taken");
            // Until the other end has closed: what it has not read would be lost with the socket.
            while socket.read().is_ok() {}
            clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every system has a clock of the thread").into()
        });
        Host { address, playing }
    }

    /// The CPU time that playing took.
    fn finish(self) -> Duration {
        self.playing.join().expect("playing does not panic")
    }
}

/// Writes each frame as one unmasked binary message, many at a time, without a copy of ours.
fn play(stream: &mut TcpStream, frames: &[Bytes]) -> std::io::Result<()> {
    const AT_ONCE: usize = 256;
    let end = [Bytes::from_static(END)];
    for frames in frames.chunks(AT_ONCE).chain([&end[..]]) {
        let heads: Vec<Vec<u8>> = frames.iter().map(|frame| head(frame.len())).collect();
        let mut slices: Vec<IoSlice<'_>> =
            heads.iter().zip(frames).flat_map(|(head, frame)| [IoSlice::new(head), IoSlice::new(frame)]).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = stream.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, written);
        }
    }
    Ok(())
}

/// <https://www.rfc-editor.org/rfc/rfc6455#section-5.2>: the last frame of a message, binary, unmasked.
fn head(length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => vec![0x82, short],
        (_, Ok(middle)) => [&[0x82, 126], &middle.to_be_bytes()[..]].concat(),
        _ => [&[0x82, 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

/// What `serve` does with a relay's frames, but for the log. Returns how many were judged.
async fn almanac(address: SocketAddr) -> u64 {
    let url = RelayUrl::parse(&format!("ws://{address}")).expect("an address is a URL");
    let upstream = Arc::new(url.upstream(UpstreamKind::Relay));
    let (out, deliveries) = delivery_queue(QueueLimits::default());
    let (stop, stopped) = watch::channel(false);
    let subscription = Subscription { upstream, url, options: RelayOptions::default() };
    let status = Arc::new(SubscriptionStatus::new());
    let relaying = tokio::spawn(relay::run(subscription, || None, out, status, stopped));
    let collections = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];
    let policy = Policy::new(
        Environment::parse("bench").expect("a literal that is a name"),
        CollectionSet::parse(collections).expect("literals that are collections"),
        DidRule::Network,
    );
    let ingest = Ingest {
        judge: Judge::new(Default::default(), Trust::given(Level::None, [] as [DidDocument; 0]), Arc::default(), None),
        inquiries: Inquiries::none(),
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        cursors: Arc::new(Cursors::default()),
        position: watch::channel(0).0,
        health: Box::new(|_| {}),
        // The host's last word: everything before it is judged.
        on_host_word: Box::new(move |_| _ = stop.send_replace(true)),
    };
    let ingesting = tokio::spawn(ingest.run(deliveries, Sink::Null));
    let report = ingesting.await.expect("ingest does not panic").expect("nothing is refused that nothing takes");
    relaying.await.expect("the subscription does not panic");
    assert!(report.tally.refused_by_reason().is_empty(), "nothing that the generator writes is refused");
    report.tally.frames - 1
}

/// Messages of which `work` says that they count, by the same library with nothing around it.
async fn bare(address: SocketAddr, work: fn(&[u8]) -> bool) -> u64 {
    let reading = async move {
        let (mut socket, _) =
            tokio_tungstenite::connect_async(format!("ws://{address}")).await.expect("the host answers");
        let mut count = 0;
        while let Some(message) = socket.next().await {
            match message.expect("the host sends messages") {
                Message::Binary(frame) if *frame == *END => break,
                Message::Binary(frame) => count += u64::from(work(&frame)),
                _ => {}
            }
        }
        count
    };
    // On a worker of the runtime, as a daemon's tasks are.
    tokio::spawn(reading).await.expect("reading does not panic")
}
