//! A subscription against a scripted host on loopback: what it does when the host behaves, and when it does not.
#![cfg(feature = "runtime")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use almanac::event::{Delivery, Seq, UpstreamKind};
use almanac::source::relay::{
    self, ExtraCa, RelayOptions, RelayUrl, Subscription, SubscriptionSnapshot, SubscriptionState, SubscriptionStatus,
};
use almanac::source::{DeliveryReceiver, Parcel, QueueDepth, QueueLimits, delivery_queue};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Long enough for a busy machine; nothing waits for it unless the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The host's side: a listener, and one connection after the other as the script wants them.
struct Host {
    listener: TcpListener,
}

struct Peer<S> {
    socket: WebSocketStream<S>,
    /// What was asked for after the path.
    query: Option<String>,
}

impl Host {
    async fn start() -> Self {
        Host { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self, scheme: &str) -> RelayUrl {
        let port = self.listener.local_addr().unwrap().port();
        RelayUrl::parse(&format!("{scheme}://localhost:{port}")).unwrap()
    }

    async fn tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("nobody connects").unwrap().0
    }

    async fn accept(&self) -> Peer<TcpStream> {
        Peer::upgrade(self.tcp().await).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    async fn upgrade(stream: S) -> Self {
        let mut query = None;
        #[allow(clippy::result_large_err)] // The shape that the library asks for.
        let note = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), "/xrpc/com.atproto.sync.subscribeRepos");
            assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("almanac/"));
            query = request.uri().query().map(str::to_owned);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
        Peer { socket, query }
    }

    async fn send(&mut self, frame: impl Into<bytes::Bytes>) {
        self.socket.send(Message::Binary(frame.into())).await.unwrap();
    }
}

/// Our side: a running subscription and the receiving end of its queue.
struct Client {
    received: DeliveryReceiver,
    status: Arc<SubscriptionStatus>,
    /// What `resume` answers; negative for the live edge.
    cursor: Arc<AtomicI64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn options() -> RelayOptions {
    RelayOptions {
        connect_timeout: Duration::from_secs(10),
        ping_interval: Duration::from_millis(50),
        dead_after: Duration::from_millis(400),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(40),
        ..RelayOptions::default()
    }
}

/// For tests in which nothing may depend on pings.
fn patient() -> RelayOptions {
    RelayOptions { ping_interval: PATIENCE, dead_after: PATIENCE, ..options() }
}

impl Client {
    fn start(url: RelayUrl, options: RelayOptions) -> Self {
        Self::with_queue(url, options, QueueLimits::default())
    }

    fn with_queue(url: RelayUrl, options: RelayOptions, limits: QueueLimits) -> Self {
        let (sender, received) = delivery_queue(limits);
        let status = Arc::new(SubscriptionStatus::new());
        let cursor = Arc::new(AtomicI64::new(-1));
        let (stop, stopped) = watch::channel(false);
        let resume = {
            let cursor = cursor.clone();
            let status = status.clone();
            move || status.resume_after(Some(cursor.load(Ordering::SeqCst)).filter(|cursor| *cursor >= 0))
        };
        let sub = Subscription { upstream: url.upstream(UpstreamKind::Relay).into(), url, options };
        let task = tokio::spawn(relay::run(sub, resume, sender, status.clone(), stopped));
        Client { received, status, cursor, stop, task }
    }

    async fn next(&mut self) -> Delivery {
        let mut batch = Vec::new();
        let count = timeout(PATIENCE, self.received.recv_batch(&mut batch, 1)).await.expect("no delivery comes");
        assert_eq!(count, 1, "the subscription is over: {:?}", self.status.snapshot());
        batch.remove(0)
    }

    async fn until(&self, what: &str, reached: impl Fn(&SubscriptionSnapshot) -> bool) -> SubscriptionSnapshot {
        let started = Instant::now();
        loop {
            let snapshot = self.status.snapshot();
            if reached(&snapshot) {
                return snapshot;
            }
            assert!(started.elapsed() < PATIENCE, "never {what}: {snapshot:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_error(&self, said: &str) {
        self.until(&format!("said {said:?}"), |now| {
            now.last_error.as_ref().is_some_and(|(_, text)| text.contains(said))
        })
        .await;
    }

    /// Says stop, and is told off unless the subscription ends at once.
    async fn stop(self) -> SubscriptionSnapshot {
        self.stop.send_replace(true);
        timeout(Duration::from_secs(3), self.task).await.expect("stop is not prompt").unwrap();
        self.status.snapshot()
    }
}

#[tokio::test]
async fn what_comes_little_by_little_is_read_together() {
    let host = Host::start().await;
    let rest = Duration::from_millis(300);
    let mut client = Client::start(host.url("ws"), RelayOptions { rest, ..patient() });
    let mut peer = host.accept().await;
    let mut parcels = Vec::new();
    peer.send("first").await;
    assert_eq!(timeout(PATIENCE, client.received.recv_parcels(&mut parcels, 1)).await.unwrap(), 1);
    for frame in ["second", "third", "fourth"] {
        peer.send(frame).await;
    }
    assert_eq!(timeout(PATIENCE, client.received.recv_parcels(&mut parcels, 1)).await.unwrap(), 3);
    let frames: Vec<_> = parcels.iter().flat_map(Parcel::frames).map(|(frame, _)| frame.clone()).collect();
    assert_eq!(frames, ["first", "second", "third", "fourth"]);
    assert_eq!(parcels.len(), 2);
}

/// After a pause the connection is looked at unasked. What is not there yet must wake the subscription when it comes.
#[tokio::test]
async fn a_look_that_finds_half_a_frame_or_nothing_is_followed_by_a_wait() {
    let rest = Duration::from_millis(40);
    let host = Host::start().await;
    let client = Client::start(host.url("ws"), RelayOptions { rest, ..patient() });
    bit_by_bit(client, host.accept().await, rest).await;

    let host = Host::start().await;
    let extra_ca = Some(ExtraCa::load(Path::new("tests/tls/ca.pem")).unwrap());
    let client = Client::start(host.url("wss"), RelayOptions { rest, extra_ca, ..patient() });
    let peer = Peer::upgrade(acceptor().accept(host.tcp().await).await.unwrap()).await;
    bit_by_bit(client, peer, rest).await;
}

async fn bit_by_bit<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client, mut peer: Peer<S>, rest: Duration) {
    peer.send("first").await;
    assert_eq!(client.next().await.frame, "first");
    // A binary message of four bytes, with half of them.
    for half in [&[0x82, 4, b'h', b'a'][..], b"lf"] {
        peer.socket.get_mut().write_all(half).await.unwrap();
        peer.socket.get_mut().flush().await.unwrap();
        tokio::time::sleep(rest * 4).await;
    }
    assert_eq!(client.next().await.frame, "half");
    tokio::time::sleep(rest * 4).await;
    peer.send("after silence").await;
    assert_eq!(client.next().await.frame, "after silence");
    client.stop().await;
}

#[tokio::test]
async fn frames_arrive_as_sent_and_a_drop_resumes_at_the_cursor() {
    let host = Host::start().await;
    let mut client = Client::start(host.url("ws"), patient());
    let mut peer = host.accept().await;
    assert_eq!(peer.query, None);
    for frame in [&b"one"[..], b"", &[0xff; 70_000]] {
        peer.send(frame).await;
        let delivery = client.next().await;
        assert_eq!(delivery.frame, frame);
        assert!(delivery.live);
        assert_eq!(*delivery.upstream.name, *host.url("ws").name());
        assert!((chrono::Utc::now() - delivery.seen_at).num_seconds().abs() < 20);
    }
    for cursor in [3 as Seq, 9_007_199_254_740_993] {
        client.cursor.store(cursor, Ordering::SeqCst);
        drop(peer);
        peer = host.accept().await;
        assert_eq!(peer.query, Some(format!("cursor={cursor}")));
    }
    peer.send(&b"on"[..]).await;
    assert_eq!(client.next().await.frame, "on");
    let snapshot = client.stop().await;
    assert_eq!((snapshot.connects_total, snapshot.frames_total, snapshot.bytes_total), (3, 4, 70_005));
    assert!(snapshot.last_frame_at.is_some());
    assert!(matches!(snapshot.state, SubscriptionState::Stopped { reason } if reason == "told to stop"));
}

#[tokio::test]
async fn the_hosts_farewell_is_kept_for_the_operator() {
    let host = Host::start().await;
    let client = Client::start(host.url("ws"), patient());
    let mut peer = host.accept().await;
    let reason = CloseFrame { code: CloseCode::Policy, reason: "ConsumerTooSlow\nreally".into() };
    peer.socket.close(Some(reason)).await.unwrap();
    client.until_error("code 1008: ConsumerTooSlow really").await;
    host.accept().await;
}

#[tokio::test]
async fn a_silent_dead_socket_is_left() {
    let host = Host::start().await;
    let client = Client::start(host.url("ws"), options());
    // Never read from: its pings stay unanswered.
    let _dead = host.accept().await;
    client.until_error("pings unanswered").await;
    host.accept().await;
}

#[tokio::test]
async fn an_idle_host_that_answers_pings_is_kept() {
    let host = Host::start().await;
    let mut client = Client::start(host.url("ws"), options());
    let mut peer = host.accept().await;
    // Three times what a silent one gets.
    for _ in 0..24 {
        let message = timeout(PATIENCE, peer.socket.next()).await.expect("no pings come").unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    peer.send(&b"at last"[..]).await;
    assert_eq!(client.next().await.frame, "at last");
    assert_eq!(client.stop().await.connects_total, 1);
}

#[tokio::test]
async fn answers_that_are_no_websocket_are_reported_and_tried_again() {
    let host = Host::start().await;
    let client = Client::start(host.url("ws"), options());
    for (answer, said) in [
        ("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", "HTTP 429 Too Many Requests"),
        (
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"error\":\"Oh no\"}",
            "HTTP 500",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<h1>Hello</h1>",
            "HTTP 200 OK (text/html) instead of a websocket",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is no HTTP"),
    ] {
        let mut stream = host.tcp().await;
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        client.until_error(said).await;
    }
    let _peer = host.accept().await;
    client.until("connected", |now| matches!(now.state, SubscriptionState::Connected { .. })).await;
}

#[tokio::test]
async fn a_host_that_asks_for_a_pause_gets_it() {
    let host = Host::start().await;
    let client = Client::start(host.url("ws"), options());
    let mut stream = host.tcp().await;
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let waits = |now: &SubscriptionSnapshot| match now.state {
        SubscriptionState::Backoff { until, attempts: 1 } => (until - chrono::Utc::now()).num_seconds() > 60,
        _ => false,
    };
    client.until("pausing for two minutes", waits).await;
    client.stop().await;
}

#[tokio::test]
async fn hosts_that_cannot_be_reached_are_named() {
    let unknown = Client::start(RelayUrl::parse("ws://nowhere.invalid").unwrap(), options());
    unknown.until_error("no address for nowhere.invalid").await;
    let host = Host::start().await;
    let url = host.url("ws");
    drop(host);
    let refused = Client::start(url, options());
    refused.until_error("no connection to").await;
    refused.until("trying again", |now| matches!(now.state, SubscriptionState::Backoff { attempts: 3.., .. })).await;
    let host = Host::start().await;
    let mute = Client::start(host.url("ws"), RelayOptions { connect_timeout: Duration::from_millis(80), ..options() });
    let _open = host.tcp().await;
    mute.until_error("no websocket within").await;
}

#[tokio::test]
async fn a_slow_consumer_slows_the_host_and_holds_little() {
    const FRAME: usize = 10_000;
    const COUNT: u64 = 8_000;
    let host = Host::start().await;
    let limits = QueueLimits { frames: 4, bytes: 35_000 };
    let mut client = Client::with_queue(host.url("ws"), options(), limits);
    let mut peer = host.accept().await;
    let sent = Arc::new(AtomicU64::new(0));
    let server = tokio::spawn({
        let sent = sent.clone();
        async move {
            for number in 0..COUNT {
                let mut frame = number.to_le_bytes().to_vec();
                frame.resize(FRAME, 0);
                peer.send(frame).await;
                sent.fetch_add(1, Ordering::SeqCst);
            }
            while let Some(Ok(_)) = peer.socket.next().await {}
        }
    });
    // The thing to wait for is that nothing moves, for longer than a dead host would get.
    let mut last = u64::MAX;
    while last != sent.load(Ordering::SeqCst) || last == 0 {
        last = sent.load(Ordering::SeqCst);
        tokio::time::sleep(options().dead_after * 3).await;
    }
    assert!(last < COUNT, "nothing held the host back");
    assert_eq!(client.received.depth(), QueueDepth { frames: 3, bytes: 3 * FRAME });
    assert_eq!(client.status.snapshot().connects_total, 1, "{:?}", client.status.snapshot());
    for number in 0..COUNT {
        assert_eq!(client.next().await.frame[..8], number.to_le_bytes());
        let depth = client.received.depth();
        assert!(depth.frames <= limits.frames + 1 && depth.bytes <= limits.bytes, "{depth:?}");
    }
    client.received.finish();
    assert_eq!(client.received.depth(), QueueDepth::default());
    assert_eq!(client.stop().await.connects_total, 1);
    timeout(PATIENCE, server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_host_that_was_silent_while_we_were_busy_is_asked_before_it_is_left() {
    let host = Host::start().await;
    let mut client = Client::with_queue(host.url("ws"), options(), QueueLimits { frames: 1, bytes: 1_000 });
    let mut peer = host.accept().await;
    peer.send(&b"one"[..]).await;
    peer.send(&b"two"[..]).await;
    client.until("full", |now| now.frames_total == 1).await;
    // The second frame waits for longer than a dead host would get.
    tokio::time::sleep(options().dead_after * 2).await;
    assert_eq!(client.next().await.frame, "one");
    assert_eq!(client.next().await.frame, "two");
    for _ in 0..2 {
        let message = timeout(PATIENCE, peer.socket.next()).await.expect("no pings come").unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    assert_eq!(client.stop().await.connects_total, 1);
}

#[tokio::test]
async fn the_queue_is_bounded_in_frames_too_and_lets_a_large_frame_pass_alone() {
    let host = Host::start().await;
    let mut client = Client::with_queue(host.url("ws"), patient(), QueueLimits { frames: 2, bytes: 1_000 });
    let mut peer = host.accept().await;
    for _ in 0..50 {
        peer.send(vec![1; 10]).await;
    }
    client.until("full", |now| now.frames_total == 2).await;
    assert_eq!(client.received.depth(), QueueDepth { frames: 2, bytes: 20 });
    peer.send(vec![2; 400_000]).await;
    for _ in 0..50 {
        assert_eq!(client.next().await.frame.len(), 10);
    }
    assert_eq!(client.next().await.frame.len(), 400_000);
    assert_eq!(client.received.depth(), QueueDepth { frames: 1, bytes: 1_000 });
}

#[tokio::test]
async fn a_frame_above_the_protocols_limit_arrives_for_decode_to_refuse() {
    let host = Host::start().await;
    let mut client = Client::start(host.url("ws"), patient());
    let mut peer = host.accept().await;
    let sending = tokio::spawn(async move {
        peer.send(vec![0; 5_000_001]).await;
        peer
    });
    assert_eq!(client.next().await.frame.len(), 5_000_001);
    sending.await.unwrap();
    assert_eq!(client.stop().await.connects_total, 1);
}

#[tokio::test]
async fn a_frame_too_large_for_the_connection_is_passed_and_not_met_for_ever() {
    let host = Host::start().await;
    let options = RelayOptions { message_bytes_max: 1_000, message_bytes_max_retry: 2_000, ..patient() };
    let mut client = Client::start(host.url("ws"), options);
    client.cursor.store(41, Ordering::SeqCst);
    // A little too large: the second connection takes it.
    let mut first = host.accept().await;
    assert_eq!(first.query.as_deref(), Some("cursor=41"));
    first.send(vec![0; 1_500]).await;
    let snapshot = client.until("too large", |now| now.oversized.is_some()).await;
    let oversized = snapshot.oversized.unwrap();
    assert_eq!((oversized.cursor, oversized.bytes, oversized.times), (Some(41), 1_500, 1));
    let mut second = host.accept().await;
    assert_eq!(second.query.as_deref(), Some("cursor=41"));
    second.send(vec![0; 1_500]).await;
    assert_eq!(client.next().await.frame.len(), 1_500);
    // Far too large for both: from the second time on it is stepped over, number by number.
    client.cursor.store(42, Ordering::SeqCst);
    drop(second);
    for (cursor, times) in [(42, 1), (42, 2), (43, 1), (43, 2)] {
        let mut peer = host.accept().await;
        assert_eq!(peer.query, Some(format!("cursor={cursor}")));
        peer.send(vec![0; 5_000]).await;
        let counted = |now: &SubscriptionSnapshot| {
            now.oversized.as_ref().is_some_and(|it| it.cursor == Some(cursor) && it.times == times)
        };
        client.until("counted", counted).await;
    }
    let mut peer = host.accept().await;
    assert_eq!(peer.query.as_deref(), Some("cursor=44"));
    peer.send(vec![0; 10]).await;
    assert_eq!(client.next().await.frame.len(), 10);
    // Got past: the host's numbers may even begin anew.
    client.cursor.store(7, Ordering::SeqCst);
    drop(peer);
    assert_eq!(host.accept().await.query.as_deref(), Some("cursor=7"));
}

#[tokio::test]
async fn text_is_counted_and_ignored_and_the_hosts_pings_are_answered() {
    let host = Host::start().await;
    let mut client = Client::start(host.url("ws"), patient());
    let mut peer = host.accept().await;
    peer.socket.send(Message::text("hello")).await.unwrap();
    peer.socket.send(Message::Ping("here?".into())).await.unwrap();
    peer.send(&b"frame"[..]).await;
    assert_eq!(client.next().await.frame, "frame");
    let answer = timeout(PATIENCE, peer.socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::Pong("here?".into()));
    let snapshot = client.stop().await;
    assert_eq!((snapshot.ignored_total, snapshot.frames_total), (1, 1));
}

#[tokio::test]
async fn stop_is_prompt_whatever_is_going_on() {
    let host = Host::start().await;
    // Connected and idle; the host is told.
    let client = Client::start(host.url("ws"), patient());
    let mut peer = host.accept().await;
    client.until("connected", |now| matches!(now.state, SubscriptionState::Connected { .. })).await;
    client.stop().await;
    let farewell = timeout(PATIENCE, peer.socket.next()).await.unwrap();
    assert!(matches!(farewell, Some(Ok(Message::Close(_)))), "{farewell:?}");
    // Waiting for an upgrade that never comes.
    let client = Client::start(host.url("ws"), patient());
    let _mute = host.tcp().await;
    client.stop().await;
    // With a full queue.
    let client = Client::with_queue(host.url("ws"), patient(), QueueLimits { frames: 1, bytes: 100 });
    let mut peer = host.accept().await;
    for _ in 0..3 {
        peer.send(vec![0; 50]).await;
    }
    client.until("full", |now| now.frames_total == 1).await;
    client.stop().await;
    // Between two attempts.
    let pause = Duration::from_secs(3600);
    let client = Client::start(host.url("ws"), RelayOptions { backoff_min: pause, backoff_max: pause, ..patient() });
    drop(host.tcp().await);
    client.until("pausing", |now| matches!(now.state, SubscriptionState::Backoff { .. })).await;
    client.stop().await;
}

#[tokio::test]
async fn a_subscription_can_be_ended_for_good_and_ends_with_its_receiver() {
    let host = Host::start().await;
    let Client { status, task, stop: _stop, received: _received, .. } = Client::start(host.url("ws"), patient());
    let _peer = host.accept().await;
    status.stop_for_good("FutureCursor: cursor 9 is ahead of the host");
    status.stop_for_good("another word");
    timeout(PATIENCE, task).await.unwrap().unwrap();
    let state = status.snapshot().state;
    assert!(matches!(&state, SubscriptionState::Stopped { reason } if reason.starts_with("FutureCursor")), "{state:?}");

    // Its receiver goes while it waits for room.
    let Client { status, task, stop: _stop, received, .. } =
        Client::with_queue(host.url("ws"), patient(), QueueLimits { frames: 5, bytes: 10 });
    let mut peer = host.accept().await;
    for _ in 0..3 {
        peer.send(vec![0; 10]).await;
    }
    drop(received);
    timeout(PATIENCE, task).await.unwrap().unwrap();
    assert!(matches!(status.snapshot().state, SubscriptionState::Stopped { .. }));
}

/// A TLS server with the certificate of the test authority.
fn acceptor() -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_file("tests/tls/host.pem").unwrap();
    let key = PrivateKeyDer::from_pem_file("tests/tls/host.key").unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config).into()
}

#[tokio::test]
async fn tls_works_without_a_process_wide_provider() {
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "this test must show that none is needed");
    let host = Host::start().await;
    let extra_ca = Some(ExtraCa::load(Path::new("tests/tls/ca.pem")).unwrap());
    let mut client = Client::start(host.url("wss"), RelayOptions { extra_ca, ..patient() });
    let mut peer = Peer::upgrade(acceptor().accept(host.tcp().await).await.unwrap()).await;
    peer.send(&b"sealed"[..]).await;
    assert_eq!(client.next().await.frame, "sealed");
}

#[tokio::test]
async fn trouble_with_tls_says_what_it_is() {
    // An authority nobody trusts.
    let host = Host::start().await;
    let client = Client::start(host.url("wss"), options());
    assert!(acceptor().accept(host.tcp().await).await.is_err());
    client.until_error("TLS: invalid peer certificate").await;
    // A host that speaks no TLS.
    let host = Host::start().await;
    let client = Client::start(host.url("wss"), options());
    let mut stream = host.tcp().await;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    client.until_error("write ws://").await;

    let error = |path: &str| ExtraCa::load(Path::new(path)).unwrap_err().to_string();
    assert!(error("tests/tls/absent.pem").contains("absent.pem"));
    assert!(error("tests/tls/README.md").contains("no certificate"));
}

#[tokio::test]
async fn the_queue_keeps_order_and_forgets_a_cancelled_hand_over() {
    let (sender, mut receiver) = delivery_queue(QueueLimits { frames: 2, bytes: 100 });
    let url = RelayUrl::parse("ws://h").unwrap();
    let upstream = Arc::new(url.upstream(UpstreamKind::Pds));
    let delivery = |n: u8| Delivery {
        upstream: upstream.clone(),
        seen_at: chrono::Utc::now(),
        live: true,
        frame: vec![n; 40].into(),
    };
    sender.send(delivery(1)).await.unwrap();
    sender.send(delivery(2)).await.unwrap();
    let cancelled = AtomicBool::new(false);
    tokio::select! {
        biased;
        _ = sender.send(delivery(3)) => unreachable!("there is no room"),
        () = async { cancelled.store(true, Ordering::SeqCst) } => {}
    }
    assert!(cancelled.into_inner());
    let mut batch = Vec::new();
    assert_eq!(receiver.recv_batch(&mut batch, 100).await, 2);
    // Taken but not finished: the bytes still count.
    assert_eq!(receiver.depth(), QueueDepth { frames: 2, bytes: 80 });
    receiver.finish();
    sender.send(delivery(4)).await.unwrap();
    drop(sender);
    assert_eq!(receiver.recv_batch(&mut batch, 100).await, 1);
    assert_eq!(receiver.recv_batch(&mut batch, 100).await, 0);
    assert_eq!(batch.iter().map(|delivery| delivery.frame[0]).collect::<Vec<_>>(), [1, 2, 4]);
}
