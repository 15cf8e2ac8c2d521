//! A listener with bounds: on connections, on how long a client may take over a request's head, and on how long it may
//! leave an answer unread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::measure::CONNECTIONS;
use crate::telemetry::LogBudget;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at once. More of them wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may take to send a request's head, counted from its opening or its last answer; so also
    /// how long it may be idle.
    pub head: Duration,
    /// How long a client may take no byte of an answer that is ready.
    pub stall: Duration,
    /// How long requests under way may still take when the listener is told to stop.
    pub drain: Duration,
}

impl Default for ServeLimits {
    /// With answers of 2 MB of records at most, slow readers hold at most about a gigabyte, and that for half a minute.
    fn default() -> Self {
        ServeLimits {
            connections: 512,
            head: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// The largest head of a request, in bytes; a longer one is answered with 431. A query string may have 16,000.
const HEAD_MAX_BYTES: usize = 32 * 1024;

static LINES: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(6));

/// Serves until `shutdown` comes true, then lets requests under way end. Within the default [`ServeLimits`].
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    serve_within(ServeLimits::default(), listener, router, shutdown).await;
}

/// As [`serve`], within limits of the caller's.
pub async fn serve_within(
    limits: ServeLimits,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_MAX_BYTES);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // Reaped here and not awaited: what an ended connection leaves behind is its slot in the set.
        while tasks.try_join_next().is_some() {}
        let accepted = async {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                if let Some(permit) = LINES.take("accept") {
                    tracing::warn!(%error, suppressed = permit.suppressed, "a connection could not be accepted");
                }
                // Out of file descriptors, as a rule: asking again at once would only burn a core.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let io = TokioIo::new(Stalling { stream, limit: limits.stall, deadline: None });
        let connection = http.serve_connection(io, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            let _slot = slot;
            let open = Open::new();
            // How a stranger's connection ends is the stranger's business.
            let _ended = connection.await;
            drop(open);
        });
    }
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way did not end within {} s and were cut off", limits.drain.as_secs());
    }
    tasks.shutdown().await;
}

/// Counts an open connection for as long as it lives, however it ends.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// A connection that breaks when its far end takes no byte for `limit` while there are bytes to take.
struct Stalling {
    stream: TcpStream,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    fn judge(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.deadline = None;
            return wrote;
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
