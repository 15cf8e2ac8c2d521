//! Hosts and a name server that do what a test says, and remember what they were asked.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use almanac::event::Did;
use almanac::network::{Network, NetworkOptions, ServiceUrl};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Long enough for a busy machine; nothing waits for it unless the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One request as a host saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub query: String,
    pub host: String,
    pub user_agent: String,
}

#[derive(Default)]
struct Memory {
    seen: Mutex<Vec<Seen>>,
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// A host on loopback.
pub struct Host {
    pub address: SocketAddr,
    memory: Arc<Memory>,
}

impl Host {
    /// Answers every request by `answer`.
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory::default());
        let remember = memory.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (answer, memory) = (answer.clone(), remember.clone());
            let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let seen = Seen {
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                host: header(HOST),
                user_agent: header(USER_AGENT),
            };
            async move {
                memory.seen.lock().unwrap().push(seen.clone());
                let now = memory.now.fetch_add(1, Ordering::SeqCst) + 1;
                memory.peak.fetch_max(now, Ordering::SeqCst);
                let response = answer(seen).await;
                memory.now.fetch_sub(1, Ordering::SeqCst);
                response
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Host { address, memory }
    }

    /// Writes these bytes to whoever asks, then closes; with `hold`, keeps the connection open and silent.
    pub async fn raw(bytes: impl Into<Vec<u8>>, hold: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = bytes.into();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 4_096];
                    let _ = socket.read(&mut request).await;
                    let _ = socket.write_all(&bytes).await;
                    if hold {
                        // Until the other side gives up.
                        let _ = socket.read(&mut request).await;
                    }
                });
            }
        });
        Host { address, memory: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.memory.seen.lock().unwrap().clone()
    }

    /// The most requests that were being answered at one moment.
    pub fn peak(&self) -> usize {
        self.memory.peak.load(Ordering::SeqCst)
    }
}

pub fn answer(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    let response = Response::builder().status(status);
    let response = if kind.is_empty() { response } else { response.header(CONTENT_TYPE, kind) };
    response.body(body.into()).unwrap()
}

pub fn json_answer(status: u16, body: Value) -> Response {
    answer(status, "application/json; charset=utf-8", body.to_string())
}

pub fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// A `did:plc` for each number.
pub fn plc(n: usize) -> Did {
    let digits = b"abcdefghijklmnopqrstuvwxyz234567";
    let id: String = (0..24).map(|i| digits[if i < 12 { n >> (5 * i) & 31 } else { 7 }] as char).collect();
    Did::parse(&format!("did:plc:{id}")).unwrap()
}

pub fn document(did: &str, handle: &str, pds: &str) -> Value {
    json!({
        "id": did,
        "alsoKnownAs": [format!("at://{handle}")],
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": "zQ3shunBKsXixLxKtC5qeSG9E4J5RkGN57im31pcTzbNQnm5w",
        }],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}],
    })
}

/// Options under which these hosts may be asked, and nothing else private. The first is the directory.
pub fn options(hosts: &[&Host]) -> NetworkOptions {
    NetworkOptions {
        plc: ServiceUrl::parse(&hosts.first().map_or("http://127.0.0.1:1".to_owned(), |host| host.url())).unwrap(),
        named: hosts.iter().map(|host| host.address.to_string().into()).collect(),
        // A name server that nobody runs: a test that needs one brings it.
        dns: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1)],
        ..NetworkOptions::default()
    }
}

pub fn network(hosts: &[&Host]) -> Network {
    Network::new(options(hosts)).unwrap()
}

/// What a name server says of a name.
#[derive(Clone)]
pub enum Says {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// These texts.
    Texts(Vec<String>),
    /// That it is out of order.
    Trouble,
}

/// A name server on loopback, over UDP. Names that it does not know do not exist.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub async fn start(names: impl IntoIterator<Item = (&str, Says)>) -> Self {
        let names: HashMap<String, Says> = names.into_iter().map(|(name, says)| (name.to_owned(), says)).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let remember = asked.clone();
        tokio::spawn(async move {
            let mut packet = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let (name, reply) = reply(&packet[..length], &names);
                remember.lock().unwrap().push(name);
                let _ = socket.send_to(&reply, from).await;
            }
        });
        NameServer { address, asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// <https://www.rfc-editor.org/rfc/rfc1035#section-4>
fn reply(query: &[u8], names: &HashMap<String, Says>) -> (String, Vec<u8>) {
    let mut at = 12;
    let mut labels = vec![];
    while query[at] != 0 {
        let length = query[at] as usize;
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_ascii_lowercase());
        at += 1 + length;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let says = names.get(&name);
    let records: Vec<Vec<u8>> = match (says, kind) {
        (Some(Says::Addresses(ips)), 1 | 28) => ips
            .iter()
            .filter_map(|ip| match ip {
                IpAddr::V4(ip) if kind == 1 => Some(ip.octets().to_vec()),
                IpAddr::V6(ip) if kind == 28 => Some(ip.octets().to_vec()),
                _ => None,
            })
            .collect(),
        (Some(Says::Texts(texts)), 16) => {
            let pieces = |text: &String| {
                text.as_bytes().chunks(20).flat_map(|c| [&[c.len() as u8], c].concat()).collect::<Vec<u8>>()
            };
            texts.iter().map(pieces).collect()
        }
        _ => vec![],
    };
    let code = match says {
        None => 3u16,
        Some(Says::Trouble) => 2,
        Some(_) => 0,
    };
    let mut out = query[..2].to_vec();
    for word in [0x8180 | code, 1, records.len() as u16, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(question);
    for data in records {
        // The name by pointer, the type, class IN, and a time to live of nothing.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 0]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    (name, out)
}
