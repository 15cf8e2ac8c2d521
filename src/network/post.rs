//! What is sent to addresses of the operator's own: the one request here that changes something elsewhere.
//!
//! Such an address is not a stranger's choice: it may be private, on loopback and without TLS. Nothing else of this room
//! trusts it for that, so an account that names the same host as its PDS gains nothing. It answers as it is: no redirect
//! is followed, and little of its words is kept.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::failure::plain;
use super::http::{asked_pause, sort_send_error};
use super::options::authority_of;
use super::{AddressError, HostError, HostErrorKind, Network};

/// Of an answer so much is read, for its words.
const ANSWER_BYTES_MAX: usize = 2_000;

/// An address of the operator's own to which something is sent: `http` or `https`, with a path.
#[derive(Clone, PartialEq, Eq)]
pub struct PostUrl(Url);

impl PostUrl {
    /// Reads an address. Good: `https://app.example.org/hooks/almanac`, `http://127.0.0.1:3000/hook`. Bad: `app.example.org`,
    /// `https://user:pw@app.example.org`, `ftp://x`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: &str| AddressError::new(text, why);
        let url = Url::parse(text.trim()).map_err(|e| refuse(&format!("{e}; write it like https://HOST/PATH")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("the scheme is neither https nor http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("leave out the user name and password"));
        }
        if url.fragment().is_some() {
            return Err(refuse("leave out the part after #"));
        }
        if url.port() == Some(0) {
            return Err(refuse("port 0 cannot be asked"));
        }
        Ok(PostUrl(url))
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> Box<str> {
        authority_of(&self.0)
    }

    /// The whole address.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// The address for people: whom it calls. Path and query may hold a token, as those of chat services do.
    pub fn shown(&self) -> String {
        let rest = if self.0.path() == "/" && self.0.query().is_none() { "" } else { "/…" };
        format!("{}://{}{rest}", self.0.scheme(), self.authority())
    }
}

impl std::fmt::Debug for PostUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostUrl({})", self.shown())
    }
}

/// What the other side answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostAnswer {
    /// The HTTP status.
    pub status: u16,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of its words, in one line fit for people; empty when it said none.
    pub words: String,
}

impl PostAnswer {
    /// Whether it took what was sent.
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer: [`HostError::as_str`] says it in a word.
pub type PostError = HostError;

impl Network {
    /// Sends a JSON document once. The whole of it, connecting and answering included, may take `limit`.
    ///
    /// # Errors
    /// No answer: no such name, no connection, or not in time. Whether the other side took it is then not known.
    ///
    /// # Panics
    /// With a header that is none: a mistake in this program.
    pub async fn post(
        &self,
        url: &PostUrl,
        headers: &[(&'static str, String)],
        body: Bytes,
        limit: Duration,
    ) -> Result<PostAnswer, PostError> {
        let deadline = Instant::now() + limit;
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("header values are printable");
            map.insert(HeaderName::from_static(name), value);
        }
        let request = self.inner.http.own().post(url.0.clone()).headers(map).body(body);
        let fail = |kind, detail: String| HostError::new(kind, url.authority(), detail);
        let mut response = match timeout_at(deadline, request.send()).await {
            Err(_) => return Err(fail(HostErrorKind::Timeout, format!("no answer within {limit:?}"))),
            Ok(Err(error)) => {
                let (kind, detail) = sort_send_error(&error);
                return Err(fail(kind, detail));
            }
            Ok(Ok(response)) => response,
        };
        let (status, retry_after) = (response.status().as_u16(), asked_pause(response.headers(), Utc::now()));
        let mut words = Vec::new();
        // The status says it all; an answer that breaks off or does not end costs only its words.
        while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
            words.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - words.len())]);
            if words.len() >= ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(PostAnswer { status, retry_after, words: plain(&String::from_utf8_lossy(&words)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_what_may_be_a_token_is_not_shown() {
        for good in ["https://app.example.org/hooks?token=x", "http://127.0.0.1:3000", "http://[::1]:80/a"] {
            assert!(PostUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "app.example.org", "ftp://x", "https://u:p@x/", "https://x/#a", "http://x:0/"] {
            assert!(PostUrl::parse(bad).is_err(), "{bad}");
        }
        let url = PostUrl::parse("https://App.example.org:443/hooks?token=hunter2").unwrap();
        assert_eq!((&*url.authority(), &*url.shown()), ("app.example.org", "https://app.example.org/…"));
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
