//! A relay on loopback with one subscriber, which sends as fast as it is told to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::network::Network;

/// How fast frames are sent, evenly spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Frames of the network mix a second.
    pub mixed: f64,
    /// Calendar records a second on top of them.
    pub told: f64,
}

/// A record that was handed to the socket, and when.
pub struct Sent {
    pub uri: String,
    pub at: Instant,
}

/// The relay. Dropped: gone.
pub struct Relay {
    /// As `--relay` takes it.
    pub url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    network: Mutex<Network>,
    /// Upstream-seconds that the next subscriber is behind, and at which pace they were.
    behind: Mutex<Option<(f64, Pace)>>,
    pace: watch::Sender<Pace>,
    sent: mpsc::UnboundedSender<Sent>,
}

impl Relay {
    /// Serves `network`, silent at first. Records that it sends are told to `sent`.
    pub async fn start(network: Network, sent: mpsc::UnboundedSender<Sent>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let url = format!("ws://{}", listener.local_addr().expect("it is bound"));
        let (pace, _) = watch::channel(Pace::default());
        let shared = Arc::new(Shared { network: Mutex::new(network), behind: Mutex::new(None), pace, sent });
        let serving = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // How a subscriber leaves is its own business.
                    shared.serve(stream).await.ok();
                }
            }
        });
        Relay { url, shared, serving }
    }

    /// From now on at this pace.
    pub fn set(&self, pace: Pace) {
        self.shared.pace.send_replace(pace);
    }

    /// The next subscriber is so many seconds behind: it is sent them at once.
    pub fn set_behind(&self, seconds: f64, pace: Pace) {
        *self.shared.behind.lock().expect(UNBROKEN) = Some((seconds, pace));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const UNBROKEN: &str = "whoever held it did not panic";

impl Shared {
    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().expect(UNBROKEN)
    }

    async fn serve(&self, stream: TcpStream) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        let behind = self.behind.lock().expect(UNBROKEN).take();
        if let Some((seconds, pace)) = behind {
            let (mut mixed, mut told) = (0.0, 0.0);
            // A second at a time, so that calendar records are spread over it all.
            for second in 1..=(seconds.ceil() as u64) {
                while told < (second as f64).min(seconds) * pace.told {
                    self.tell(&mut socket).await?;
                    told += 1.0;
                }
                while mixed < (second as f64).min(seconds) * pace.mixed {
                    let frame = self.network().mixed();
                    socket.feed(Message::Binary(frame)).await?;
                    mixed += 1.0;
                }
            }
            // The last frame, by which one sees that the subscriber is level.
            self.tell(&mut socket).await?;
        }
        let mut changes = self.pace.subscribe();
        loop {
            let pace = *changes.borrow_and_update();
            let began = Instant::now();
            let (mut mixed, mut told) = (0.0, 0.0);
            while !changes.has_changed().unwrap_or(true) {
                let elapsed = began.elapsed().as_secs_f64();
                while mixed < elapsed * pace.mixed {
                    let frame = self.network().mixed();
                    socket.send(Message::Binary(frame)).await?;
                    mixed += 1.0;
                }
                if told < elapsed * pace.told {
                    self.tell(&mut socket).await?;
                    told += 1.0;
                }
                let due = |sent: f64, rate: f64| if rate > 0.0 { (sent + 1e-9) / rate } else { 3600.0 };
                let next = due(mixed, pace.mixed).min(due(told, pace.told)) - began.elapsed().as_secs_f64();
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_secs_f64(next.max(0.0))) => {}
                    _ = changes.changed() => break,
                    message = socket.next() => match message {
                        Some(message) => drop(message?),
                        None => return Ok(()),
                    },
                }
            }
        }
    }

    /// Sends a calendar record.
    async fn tell(&self, socket: &mut WebSocketStream<TcpStream>) -> Result<(), Error> {
        let told = self.network().told();
        // Whoever watches may be gone.
        let _ = self.sent.send(Sent { uri: told.uri, at: Instant::now() });
        socket.send(Message::Binary(told.frame)).await
    }
}
