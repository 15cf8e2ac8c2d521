//! `com.atproto.sync.subscribeRepos`: a websocket on the same port as everything else.
//! Spec: <https://atproto.com/specs/event-stream>.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Shared;
use super::faults::{Occasion, Place, Sort};
use super::stream::{Ending, Start};
use crate::devnet::frames;

/// Frames taken at a time.
const BATCH: usize = 64;

/// Answers the handshake and goes on with it in a task of its own.
pub(super) fn upgrade(
    shared: Arc<Shared>,
    place: Place,
    mut request: Request<Incoming>,
    cursor: Option<&str>,
) -> Response<Body> {
    let refuse = |text: &'static str| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response
    };
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else { return refuse("Upgrade Required") };
    let accept = derive_accept_key(key.as_bytes());
    // Text that is no number asks for nothing.
    let cursor = cursor.map(|text| text.parse::<i64>().map_err(|_| ()));
    let upgrading = hyper::upgrade::on(&mut request);
    let begun = match cursor.transpose() {
        Ok(cursor) => begin(&shared, place, cursor).map(Ok),
        Err(()) => Some(Err(())),
    };
    let Some(begun) = begun else { return refuse("No stream here") };
    let mut cuts = begun.as_ref().ok().map(|begun| begun.cuts.clone());
    tokio::spawn(async move {
        let cut = async {
            match &mut cuts {
                Some(cuts) => drop(cuts.changed().await),
                None => std::future::pending().await,
            }
        };
        let sending = async {
            let Ok(upgraded) = upgrading.await else { return };
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            // How a subscriber leaves is its own business.
            match begun {
                Ok(begun) => send(&shared, place, socket, begun).await.ok(),
                Err(()) => refuse_params(socket).await.ok(),
            };
        };
        tokio::select! {
            () = sending => {}
            () = cut => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.extend(HeaderValue::from_str(&accept).ok().map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)));
    response
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Where a subscriber begins, decided before it hears that it is one: what happens after that it gets.
struct Begun {
    start: Start,
    muted: bool,
    changes: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
}

fn begin(shared: &Shared, place: Place, cursor: Option<i64>) -> Option<Begun> {
    let mut state = shared.lock();
    let stream = state.stream(place)?;
    let (start, changes, cuts) = (stream.start(cursor), stream.changes.subscribe(), stream.cuts.subscribe());
    let spoken = matches!(start, Start::Outdated(_) | Start::Future(_));
    let muted = !state.faults.due(Sort::Cursor, place, &Occasion::default(), |_, _| spoken).is_empty();
    Some(Begun { start, muted, changes, cuts })
}

async fn send(shared: &Shared, place: Place, mut socket: Socket, begun: Begun) -> Result<(), Error> {
    let Begun { start, muted, mut changes, cuts } = begun;
    let mut at = match start {
        Start::At(at) => at,
        Start::Outdated(at) => {
            if !muted {
                let text = "Requested cursor exceeded limit. Possibly missing events";
                socket.send(Message::Binary(frames::info("OutdatedCursor", Some(text)).into())).await?;
            }
            at
        }
        Start::Future(at) if muted => at,
        Start::Future(_) => return refuse(&mut socket, "FutureCursor", "Cursor in the future.").await,
    };
    loop {
        changes.borrow_and_update();
        let batch = match shared.lock().stream(place) {
            Some(stream) => stream.read(&mut at, BATCH),
            None => return Ok(()),
        };
        // What comes after a cut is for whoever comes after it.
        if cuts.has_changed().unwrap_or(true) {
            return Ok(());
        }
        let Some((frames, ending)) = batch else {
            return refuse(&mut socket, "ConsumerTooSlow", "Stream consumer too slow").await;
        };
        let idle = frames.is_empty();
        for frame in frames {
            socket.feed(Message::Binary(frame)).await?;
        }
        socket.flush().await?;
        match ending {
            Some(Ending::Cut) => return Ok(()),
            Some(Ending::TooSlow) => {
                return refuse(&mut socket, "ConsumerTooSlow", "Stream consumer too slow").await;
            }
            None => {}
        }
        if !idle {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            // Reading answers pings.
            word = socket.next() => match word {
                Some(word) => drop(word?),
                None => return Ok(()),
            },
        }
    }
}

async fn refuse_params(mut socket: Socket) -> Result<(), Error> {
    refuse(&mut socket, "InvalidRequest", "Params must have the property \"cursor\" as an integer").await
}

async fn refuse(socket: &mut Socket, name: &str, message: &str) -> Result<(), Error> {
    socket.send(Message::Binary(frames::error(name, Some(message)).into())).await?;
    let close = CloseFrame { code: CloseCode::Policy, reason: name.to_owned().into() };
    socket.close(Some(close)).await?;
    // Until the other side has heard it.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}
