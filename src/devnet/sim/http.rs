//! The servers: connections, faults of requests, and who answers what.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::faults::{Fault, Occasion, Place, Sort};
use super::{Shared, pds, plc, relay, subscribe};

/// An answer before faults.
pub(super) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Reply {
    pub fn json(body: &Json) -> Self {
        Reply { status: 200, content_type: "application/json; charset=utf-8", body: body.to_string().into() }
    }

    pub fn car(body: Vec<u8>) -> Self {
        Reply { status: 200, content_type: "application/vnd.ipld.car", body: body.into() }
    }

    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Reply { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// An XRPC error: 400 with its name and message.
    pub fn error(name: &str, message: impl AsRef<str>) -> Self {
        let body = json!({"error": name, "message": message.as_ref()});
        Reply { status: 400, ..Self::json(&body) }
    }
}

/// A request as the answering rooms see it.
pub(super) struct Asked<'a> {
    /// The XRPC method, or the path with its slash.
    pub method: &'a str,
    /// The `Host` header without its port.
    pub host: &'a str,
    params: Vec<(String, String)>,
}

impl Asked<'_> {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value, or an empty text.
    pub fn text(&self, name: &str) -> &str {
        self.param(name).unwrap_or_default()
    }

    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.params.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A number between 1 and `max`.
    pub fn limit(&self, default: usize, max: usize) -> usize {
        self.param("limit").and_then(|text| text.parse().ok()).unwrap_or(default).clamp(1, max)
    }
}

/// Serves one place until the listener fails or the task is aborted, connections included.
pub(super) async fn serve(shared: Arc<Shared>, place: Place, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        // A delay is the latency's business alone.
        stream.set_nodelay(true).ok();
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(shared.clone(), place, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // How a client leaves is its own business.
            connection.with_upgrades().await.ok();
        });
    }
}

/// The end of a connection in place of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the server is down")]
struct Gone;

async fn answer(shared: Arc<Shared>, place: Place, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let path = request.uri().path().to_owned();
    let method = path.strip_prefix("/xrpc/").unwrap_or(&path);
    let params = parse_query(request.uri().query().unwrap_or_default());
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let host = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
    let asked = Asked { method, host, params };
    let did = match place {
        Place::Plc => decode_percent(path.trim_start_matches('/').split('/').next().unwrap_or_default()),
        _ => asked.param("did").or(asked.param("repo")).unwrap_or_default().to_owned(),
    };
    let (due, latency) = {
        let mut state = shared.lock();
        let now = Occasion { did: Some(&did), method: Some(method), ..Occasion::default() };
        (state.faults.due(Sort::Request, place, &now, |_, _| true), state.latency(place))
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    for fault in &due {
        match fault {
            Fault::Down => return Err(Gone),
            Fault::Hang => std::future::pending().await,
            Fault::Slow(delay) => tokio::time::sleep(*delay).await,
            Fault::RateLimited(seconds) => {
                let mut response = build(Reply {
                    status: 429,
                    ..Reply::json(&json!({"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"}))
                });
                response.headers_mut().extend(rate_limit(*seconds));
                return Ok(response);
            }
            Fault::ServerError => {
                let body = json!({"error": "InternalServerError", "message": "Internal Server Error"});
                return Ok(build(Reply { status: 500, ..Reply::json(&body) }));
            }
            Fault::Html => {
                let body =
                    "<!doctype html><html><head><title>Welcome</title></head><body>It works!</body></html>".into();
                return Ok(build(Reply { status: 200, content_type: "text/html; charset=utf-8", body }));
            }
            Fault::Redirect(to) => {
                let mut response = build(Reply::text(302, "Found"));
                response.headers_mut().extend(HeaderValue::from_str(to).ok().map(|to| (header::LOCATION, to)));
                return Ok(response);
            }
            _ => {}
        }
    }
    if method == "com.atproto.sync.subscribeRepos" && matches!(place, Place::Relay | Place::Pds(_)) {
        let cursor = asked.param("cursor").map(str::to_owned);
        return Ok(subscribe::upgrade(shared.clone(), place, request, cursor.as_deref()));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(build(Reply::error("InvalidRequest", "Incorrect HTTP method, expected GET")));
    }
    let reply = {
        let mut state = shared.lock();
        let reply = match place {
            Place::Plc => plc::answer(&mut state, &path),
            Place::Relay => relay::answer(&state, &asked),
            Place::Pds(number) => pds::answer(&state, number, &asked),
            Place::Handles => relay::answer_handles(&state, &asked),
        };
        let served =
            state.served.entry(if place == Place::Plc { "plc".into() } else { method.to_owned() }).or_default();
        served.requests += 1;
        served.bytes += reply.body.len() as u64;
        reply
    };
    Ok(spoiled(reply, &due))
}

fn rate_limit(seconds: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, seconds.into());
    headers.insert("ratelimit-limit", 3000.into());
    headers.insert("ratelimit-remaining", 0.into());
    headers.insert("ratelimit-reset", (chrono::Utc::now().timestamp().unsigned_abs() + seconds).into());
    headers.insert("ratelimit-policy", HeaderValue::from_static("3000;w=300"));
    headers
}

fn build(reply: Reply) -> Response<Body> {
    with_body(&reply, Body::from(reply.body.clone()))
}

fn with_body(reply: &Reply, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response
}

/// The answer with the faults of its body.
fn spoiled(mut reply: Reply, due: &[Fault]) -> Response<Body> {
    let half = reply.body.slice(..reply.body.len() / 2);
    for fault in due {
        match fault {
            Fault::Truncated => reply.body = half.clone(),
            Fault::CutOff => {
                let end = stream::once(async {
                    // What is before the end shall arrive.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err::<Bytes, Gone>(Gone)
                });
                let chunks = stream::iter([Ok(half.clone())]).chain(end);
                return with_body(&reply, Body::from_stream(chunks));
            }
            Fault::Endless => {
                let begin = reply.body.clone();
                // Blocks of 60,000 zero bytes each, whose CID no tree names.
                let more = stream::repeat_with(|| Ok::<_, Infallible>(endless_block()));
                let chunks = stream::iter([Ok(begin)]).chain(more);
                return with_body(&reply, Body::from_stream(chunks));
            }
            _ => {}
        }
    }
    build(reply)
}

/// One more block of a CAR, sound in itself.
fn endless_block() -> Bytes {
    static BLOCK: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let make = || {
        let block = crate::devnet::cbor::Value::Bytes(vec![0; 60_000]).encode();
        let cid = crate::devnet::cbor::cid_of(&block);
        let mut out = vec![];
        crate::devnet::car::put_block(&mut out, &cid, &block);
        out.into()
    };
    BLOCK.get_or_init(make).clone()
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Text of a path with `%XX` read.
pub(super) fn decode_percent(text: &str) -> String {
    // A plus in a path is a plus.
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
