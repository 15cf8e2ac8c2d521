//! Why a connection was lost or never came about: a closed set for counters, and a line for people.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Why there is no connection any more, or none came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The host's name has no address.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session: certificate, protocol version, or no TLS at all.
    Tls,
    /// An HTTP answer instead of a websocket.
    Http,
    /// No connection in time.
    Timeout,
    /// The host closed.
    Closed,
    /// The connection broke.
    Broken,
    /// Silent, pings unanswered.
    Dead,
    /// A message larger than the connection takes.
    TooLarge,
    /// Bytes that are no websocket.
    Protocol,
    /// Ended by us.
    Stopped,
}

impl DisconnectReason {
    /// Every reason there is.
    pub const ALL: &'static [DisconnectReason] = &[
        DisconnectReason::Dns,
        DisconnectReason::Connect,
        DisconnectReason::Tls,
        DisconnectReason::Http,
        DisconnectReason::Timeout,
        DisconnectReason::Closed,
        DisconnectReason::Broken,
        DisconnectReason::Dead,
        DisconnectReason::TooLarge,
        DisconnectReason::Protocol,
        DisconnectReason::Stopped,
    ];

    /// The name in reports and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::Dns => "dns",
            DisconnectReason::Connect => "connect",
            DisconnectReason::Tls => "tls",
            DisconnectReason::Http => "http",
            DisconnectReason::Timeout => "timeout",
            DisconnectReason::Closed => "closed",
            DisconnectReason::Broken => "broken",
            DisconnectReason::Dead => "dead",
            DisconnectReason::TooLarge => "too_large",
            DisconnectReason::Protocol => "protocol",
            DisconnectReason::Stopped => "stopped",
        }
    }
}

/// One connection or attempt that ended.
#[derive(Debug)]
pub(super) struct Failure {
    pub reason: DisconnectReason,
    pub message: String,
    /// The host asks for at least this pause.
    pub retry_after: Option<Duration>,
    /// The length of the message that was too large.
    pub oversized: Option<usize>,
}

impl Failure {
    pub fn new(reason: DisconnectReason, message: impl Into<String>) -> Self {
        Failure { reason, message: message.into(), retry_after: None, oversized: None }
    }

    /// The host's close frame, or none.
    pub fn closed(frame: Option<CloseFrame>) -> Self {
        let message = match frame {
            Some(frame) if frame.reason.is_empty() => format!("the host closed with code {}", frame.code),
            Some(frame) => format!("the host closed with code {}: {}", frame.code, plain(frame.reason.as_str())),
            None => "the host closed without a word".to_owned(),
        };
        Failure::new(DisconnectReason::Closed, message)
    }

    /// What the websocket library reports, while dialling or later.
    pub fn websocket(error: Error) -> Self {
        match error {
            Error::Http(response) => Failure::http(&response),
            Error::ConnectionClosed | Error::AlreadyClosed => Failure::closed(None),
            Error::Protocol(ProtocolError::HttparseError(error)) => {
                Failure::new(DisconnectReason::Protocol, format!("the answer is no HTTP: {error}"))
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Failure::new(DisconnectReason::Broken, "the connection broke without a closing handshake")
            }
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => Failure {
                oversized: Some(size),
                ..Failure::new(
                    DisconnectReason::TooLarge,
                    format!("a message of at least {size} bytes, where at most {max_size} are taken"),
                )
            },
            Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidMessage(_)) => Failure::new(
                    DisconnectReason::Tls,
                    format!("TLS: the answer is no TLS ({error}); if the host speaks plain websocket, write ws://"),
                ),
                Some(tls) => Failure::new(DisconnectReason::Tls, format!("TLS: {tls}")),
                None => Failure::new(DisconnectReason::Broken, format!("the connection broke: {error}")),
            },
            Error::Tls(error) => Failure::new(DisconnectReason::Tls, format!("TLS: {error}")),
            other => Failure::new(DisconnectReason::Protocol, plain(&other.to_string())),
        }
    }

    /// An answer that is no upgrade, with what it says in its first line of text.
    fn http(response: &Response<Option<Vec<u8>>>) -> Self {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header("content-type").unwrap_or("no content type");
        let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default());
        let said = plain(&body);
        let mut message = format!("HTTP {} ({}) instead of a websocket", response.status(), plain(kind));
        if !said.is_empty() {
            message.push_str(": ");
            message.push_str(&said);
        }
        let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Failure { retry_after, ..Failure::new(DisconnectReason::Http, message) }
    }
}

/// A stranger's text made fit for a log line: one line, no control characters, at most 200 characters.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut out = String::new();
    for word in words {
        if out.len() > 800 {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().take(200));
    }
    out.chars().take(200).collect()
}
