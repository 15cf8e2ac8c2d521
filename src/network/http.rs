//! One request: judged, let through the host's gate, sent, led along redirects, and its answer sorted.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::failure::plain;
use super::gate::{Gates, Permit};
use super::guard::{Guard, Reach};
use super::names::{JudgedNames, NameError, Names};
use super::options::authority_of;
use super::{Call, HostError, HostErrorKind, NetworkOptions, NetworkSetupError, metric};

const USER_AGENT: &str = concat!("almanac/", env!("CARGO_PKG_VERSION"));
const REDIRECTS_MAX: usize = 3;
/// Of the body of an error, so much is read for its words.
const ERROR_BYTES_MAX: u64 = 16_000;
/// A connection that nobody uses is kept so long: hosts are many, and file descriptors are not.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// What requests go through.
pub(super) struct Http {
    public: Client,
    any: Client,
    guard: Guard,
    gates: Gates,
    /// Of requests with rights: what we do for our own users has limits of its own.
    acting: Gates,
    answer_timeout: Duration,
}

/// What is asked.
pub(super) struct Ask {
    pub call: Call,
    pub url: Url,
    /// The host that is meant, where the URL's is only where to find it.
    pub host_header: Option<Box<str>>,
}

/// The head of an answer with status 200, and what its body is read with.
pub(super) struct Head {
    pub response: Response,
    pub permit: Permit,
    /// When the answer as a whole must be there.
    pub deadline: Instant,
}

/// A whole answer with status 200.
pub(super) struct Answer {
    pub host: Box<str>,
    pub kind: ContentKind,
    pub body: Bytes,
}

/// What an answer says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    /// A web page.
    Html,
    Json,
    /// A CAR, or bytes of no kind.
    Car,
    Other,
    /// It does not say.
    Unsaid,
}

impl Http {
    pub fn new(options: &NetworkOptions, names: Arc<Names>) -> Result<Self, NetworkSetupError> {
        let refuse = |error: String| NetworkSetupError(error);
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &options.extra_roots {
            roots.add(certificate.clone()).map_err(|e| refuse(e.to_string()))?;
        }
        // Named here as for websockets: the process-wide default panics when nobody has set it.
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| refuse(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = |reach| {
            Client::builder()
                .user_agent(USER_AGENT)
                .use_preconfigured_tls(tls.clone())
                .dns_resolver(Arc::new(JudgedNames { names: names.clone(), reach }))
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(options.connect_timeout)
                .pool_idle_timeout(IDLE_CONNECTION)
                .build()
                .map_err(|e| refuse(e.to_string()))
        };
        let plc = options.plc.url();
        Ok(Http {
            public: client(Reach::Public)?,
            any: client(Reach::Any)?,
            guard: Guard::new(options, plc),
            gates: Gates::new(options.clone(), authority_of(plc)),
            acting: Gates::new(
                NetworkOptions { host: options.acting, backoff_max: options.acting_backoff_max, ..options.clone() },
                authority_of(plc),
            ),
            answer_timeout: options.answer_timeout,
        })
    }

    /// The client for addresses of the operator's own: it asks wherever they lead, and follows no redirect.
    pub fn own(&self) -> &Client {
        &self.any
    }

    /// Sends one request with rights, and reads the whole answer. No redirect is followed: a token is for one host.
    pub async fn act(&self, ask: Ask, build: impl Fn(&Client, &Url) -> RequestBuilder) -> Result<Answer, HostError> {
        let call = ask.call;
        let watch = metric::Watch::start(call);
        let result = self.act_once(&ask, build).await;
        watch.end(result.as_ref().err());
        if let Ok(answer) = &result {
            metric::bytes(call, answer.body.len());
        }
        result
    }

    async fn act_once(&self, ask: &Ask, build: impl Fn(&Client, &Url) -> RequestBuilder) -> Result<Answer, HostError> {
        let never_sent = |error: HostError| HostError { never_sent: true, ..error };
        let host = authority_of(&ask.url);
        let reach = self.guard.judge(&ask.url, None).map_err(|why| {
            let why = format!("refused to ask: {why}");
            never_sent(HostError::new(HostErrorKind::Guard, host.clone(), plain(&why)))
        })?;
        let permit = self.acting.of(&host).enter().await.map_err(never_sent)?;
        let client = match reach {
            Reach::Public => &self.public,
            Reach::Any => &self.any,
        };
        let deadline = Instant::now() + self.answer_timeout;
        let failed = |kind, detail: String| HostError::new(kind, host.clone(), detail);
        let response = match timeout_at(deadline, build(client, &ask.url).send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let (kind, detail) = sort_send_error(&error);
                let error = HostError { never_sent: error.is_connect(), ..failed(kind, detail) };
                if error.kind != HostErrorKind::Guard {
                    permit.gate().failed(&error);
                }
                return Err(error);
            }
            Err(_) => {
                let error = failed(HostErrorKind::Timeout, "no answer in time".to_owned());
                permit.gate().failed(&error);
                return Err(error);
            }
        };
        pause_when_used_up(&response, &permit);
        let mut head = Head { response, permit, deadline };
        if head.response.status() != StatusCode::OK {
            return Err(head.refusal().await);
        }
        let kind = head.kind();
        let body = head.body(ask.call.bytes_max()).await?;
        head.permit.gate().succeeded();
        Ok(Answer { host: head.permit.host().into(), kind, body })
    }

    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Asks, and reads the whole answer.
    pub async fn answer(&self, ask: Ask) -> Result<Answer, HostError> {
        let call = ask.call;
        let watch = metric::Watch::start(call);
        let result = self.whole(ask).await;
        watch.end(result.as_ref().err());
        if let Ok(answer) = &result {
            metric::bytes(call, answer.body.len());
        }
        result
    }

    async fn whole(&self, ask: Ask) -> Result<Answer, HostError> {
        let bytes_max = ask.call.bytes_max();
        let mut head = self.head(ask).await?;
        let kind = head.kind();
        let body = head.body(bytes_max).await?;
        head.permit.gate().succeeded();
        Ok(Answer { host: head.permit.host().into(), kind, body })
    }

    /// Asks, follows redirects, and gives the head of an answer with status 200.
    pub async fn head(&self, ask: Ask) -> Result<Head, HostError> {
        let Ask { mut url, mut host_header, .. } = ask;
        let mut from: Option<Url> = None;
        let mut left = self.answer_timeout;
        for _ in 0..=REDIRECTS_MAX {
            // Many hosts may be found in one place, in a development environment; each has its own limits all the same.
            let host = host_header.clone().unwrap_or_else(|| authority_of(&url));
            let reach = self.guard.judge(&url, from.as_ref()).map_err(|why| {
                let why = match &from {
                    Some(from) => format!("refused to follow {} to {}: {why}", authority_of(from), authority_of(&url)),
                    None => format!("refused to ask: {why}"),
                };
                HostError::new(HostErrorKind::Guard, host.clone(), plain(&why))
            })?;
            let permit = self.gates.of(&host).enter().await?;
            // Only the host's own time counts, not the time in its queue.
            let start = Instant::now();
            let deadline = start + left;
            let response = match self.send(&url, host_header.as_deref(), reach, deadline).await {
                Ok(response) => response,
                Err((kind, detail)) => {
                    let error = HostError::new(kind, host, detail);
                    if error.kind != HostErrorKind::Guard {
                        permit.gate().failed(&error);
                    }
                    return Err(error);
                }
            };
            pause_when_used_up(&response, &permit);
            match response.status() {
                StatusCode::OK => return Ok(Head { response, permit, deadline }),
                status if status.is_redirection() => {
                    let target = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                    let Some(to) = target.and_then(|to| url.join(to).ok()) else {
                        permit.gate().succeeded();
                        return Err(HostError::new(
                            HostErrorKind::Status { code: status.as_u16(), name: None, message: None },
                            host,
                            format!("HTTP {status} without a place to go to"),
                        ));
                    };
                    permit.gate().succeeded();
                    left = left.saturating_sub(start.elapsed());
                    (from, url, host_header) = (Some(url), to, None);
                }
                _ => return Err(Head { response, permit, deadline }.refusal().await),
            }
        }
        let host = from.as_ref().map(authority_of).unwrap_or_default();
        let code = StatusCode::FOUND.as_u16();
        let kind = HostErrorKind::Status { code, name: None, message: None };
        Err(HostError::new(kind, host, format!("more than {REDIRECTS_MAX} redirects")))
    }

    async fn send(
        &self,
        url: &Url,
        host_header: Option<&str>,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Response, (HostErrorKind, String)> {
        let client = match reach {
            Reach::Public => &self.public,
            Reach::Any => &self.any,
        };
        let mut request = client.get(url.clone());
        if let Some(host) = host_header {
            request = request.header(HOST, host);
        }
        match timeout_at(deadline, request.send()).await {
            Err(_) => Err((HostErrorKind::Timeout, "no answer in time".to_owned())),
            Ok(Err(error)) => Err(sort_send_error(&error)),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

/// What the error of a request that got no answer means.
pub(super) fn sort_send_error(error: &reqwest::Error) -> (HostErrorKind, String) {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
        if let Some(name) = inner.downcast_ref::<NameError>() {
            let kind = match name {
                NameError::NoSuchHost(_) => HostErrorKind::NoSuchHost,
                NameError::Refused { .. } => HostErrorKind::Guard,
                NameError::Timeout => HostErrorKind::Timeout,
                NameError::Failed(_) => HostErrorKind::Unreachable,
            };
            return (kind, name.to_string());
        }
    }
    let why = plain(&inner.to_string());
    if error.is_timeout() {
        (HostErrorKind::Timeout, format!("no connection in time ({why})"))
    } else if error.is_connect() {
        (HostErrorKind::Unreachable, format!("no connection: {why}"))
    } else {
        (HostErrorKind::Unreachable, format!("the connection broke before an answer: {why}"))
    }
}

/// Holds back when the host says that this answer was the last of its allowance.
fn pause_when_used_up(response: &Response, permit: &Permit) {
    let used_up = number(response.headers(), "ratelimit-remaining") == Some(0.0);
    if let (true, StatusCode::OK, Some(pause)) = (used_up, response.status(), reset(response.headers(), Utc::now())) {
        permit.gate().pause(pause, "the host's allowance is used up");
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// `RateLimit-Reset`: seconds from now, or, as the reference PDS writes it, the second since 1970.
fn reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let reset = number(headers, "ratelimit-reset")?;
    let seconds = if reset > 1e9 { reset - now.timestamp() as f64 } else { reset };
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

/// The pause that a host asks for: `Retry-After` in seconds or as a date, else `RateLimit-Reset`.
pub(super) fn asked_pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text: &str| {
        let until = DateTime::parse_from_rfc2822(text).ok()?;
        Some((until.to_utc() - now).to_std().unwrap_or_default())
    };
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    text.and_then(|text| seconds(text).or_else(|| date(text))).or_else(|| reset(headers, now))
}

#[derive(Default, Deserialize)]
struct XrpcError {
    error: Option<String>,
    message: Option<String>,
}

impl Head {
    /// What the answer says that it is.
    pub fn kind(&self) -> ContentKind {
        let text = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => ContentKind::Unsaid,
            "text/html" | "application/xhtml+xml" => ContentKind::Html,
            "application/json" => ContentKind::Json,
            "application/vnd.ipld.car" | "application/octet-stream" => ContentKind::Car,
            other if other.ends_with("+json") => ContentKind::Json,
            _ => ContentKind::Other,
        }
    }

    /// How a content type is called that was not expected.
    pub fn not_xrpc(&self) -> HostError {
        let said = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = plain(said.unwrap_or("no content type"));
        HostError::new(HostErrorKind::NotXrpc, self.permit.host(), format!("answers {said}, not a repository's bytes"))
    }

    /// The body, at most so large.
    pub async fn body(&mut self, bytes_max: u64) -> Result<Bytes, HostError> {
        let mut body = BytesMut::new();
        loop {
            let read = timeout_at(self.deadline, self.response.chunk()).await;
            let error = match read {
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(chunk))) if (body.len() + chunk.len()) as u64 > bytes_max => {
                    // The host works as it should; only the answer is not for us.
                    return Err(too_large(self.permit.host(), bytes_max));
                }
                Ok(Ok(Some(chunk))) => {
                    body.extend_from_slice(&chunk);
                    continue;
                }
                Ok(Err(error)) => cut_off(self.permit.host(), body.len() as u64, &error),
                Err(_) => {
                    let detail = format!("the answer did not end in time, after {} bytes", body.len());
                    HostError::new(HostErrorKind::Timeout, self.permit.host(), detail)
                }
            };
            self.permit.gate().failed(&error);
            return Err(error);
        }
    }

    /// Reads an answer with another status than 200.
    async fn refusal(mut self) -> HostError {
        let status = self.response.status();
        let now = Utc::now();
        let asked = asked_pause(self.response.headers(), now);
        // Its words are welcome but not needed.
        let body = self.body(ERROR_BYTES_MAX).await.unwrap_or_default();
        let said: XrpcError = serde_json::from_slice(&body).unwrap_or_default();
        let mut detail = format!("HTTP {status}");
        for words in [&said.error, &said.message].into_iter().flatten() {
            detail.push_str(": ");
            detail.push_str(&plain(words));
        }
        let host = self.permit.host();
        let gate = self.permit.gate();
        if status == StatusCode::TOO_MANY_REQUESTS {
            // Whoever does not say how long means a while.
            let pause = gate.pause(asked.unwrap_or(Duration::from_secs(10)).max(Duration::from_millis(100)), &detail);
            return HostError::new(HostErrorKind::RateLimited { until: now + pause }, host, detail);
        }
        let text = |words: Option<String>| words.map(|words| plain(&words).into());
        let kind = HostErrorKind::Status { code: status.as_u16(), name: text(said.error), message: text(said.message) };
        let error = HostError::new(kind, host, detail);
        if status.is_server_error() {
            gate.failed(&error);
            if let (StatusCode::SERVICE_UNAVAILABLE, Some(asked)) = (status, asked) {
                gate.pause(asked, &error.detail);
            }
        } else {
            gate.succeeded();
        }
        error
    }
}

pub(super) fn too_large(host: &str, bytes_max: u64) -> HostError {
    HostError::new(HostErrorKind::TooLarge, host, format!("the answer is larger than {bytes_max} bytes"))
}

pub(super) fn cut_off(host: &str, bytes: u64, error: &reqwest::Error) -> HostError {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    let detail = format!("the answer broke off after {bytes} bytes: {}", plain(&inner.to_string()));
    HostError::new(HostErrorKind::CutOff, host, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_pause_is_read_in_all_its_forms() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let date = (now + Duration::from_secs(90)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (pairs, wanted) in [
            (&[("retry-after", "7")][..], Some(7.0)),
            (&[("retry-after", "0.5")], Some(0.5)),
            (&[("retry-after", &date)], Some(90.0)),
            (&[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], Some(0.0)),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "soon"), ("ratelimit-reset", "1800000030")], Some(30.0)),
            (&[("ratelimit-reset", "45")], Some(45.0)),
            (&[("ratelimit-reset", "1700000000")], Some(0.0)),
            (&[("ratelimit-reset", "NaN")], None),
            (&[], None),
        ] {
            let asked = asked_pause(&headers(pairs), now).map(|pause| pause.as_secs_f64());
            assert_eq!(asked, wanted, "{pairs:?}");
        }
    }
}
