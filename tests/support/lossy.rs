//! A proxy before a host that speaks HTTP/1.1, and what may go wrong on the way: an answer that never comes although the
//! request was carried out, a host that cannot be reached, one that takes its time.
//!
//! Every request goes over a connection of its own, so that what is dropped is one answer and nothing else. It counts what
//! passed, by path: a fault that was asked for is seen to have happened.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The answer that will be dropped.
struct Fault {
    text: String,
    /// So many requests that match are answered before it.
    before: usize,
}

#[derive(Default)]
struct Seen {
    /// Paths of the requests that the host got, the oldest first.
    paths: Vec<String>,
    faults: Vec<Fault>,
    dropped: Vec<String>,
    /// Requests whose path contains this text wait so long before the host gets them.
    slow: Option<(String, Duration)>,
}

struct Shared {
    target: String,
    seen: Mutex<Seen>,
    down: watch::Sender<bool>,
}

/// A running proxy. Dropped: gone.
pub struct Lossy {
    /// `http://127.0.0.1:PORT`: to be asked in place of the host.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Lossy {
    /// Before `http://HOST:PORT`.
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = target.strip_prefix("http://").expect("an http address").trim_end_matches('/').to_owned();
        let shared = Arc::new(Shared { target, seen: Mutex::default(), down: watch::Sender::new(false) });
        let task = tokio::spawn(run(listener, shared.clone()));
        Lossy { url: format!("http://{address}"), shared, task }
    }

    /// Of the requests from now on whose path contains `text`, the `nth` (1: the next) is carried out and its answer dropped.
    pub fn drop_answer(&self, text: &str, nth: usize) {
        assert!(nth > 0, "the first is 1");
        self.shared.seen.lock().unwrap().faults.push(Fault { text: text.to_owned(), before: nth - 1 });
    }

    /// Nobody listens (connections are refused), until it is called with `false`. Answers that are under way are lost.
    pub fn down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Requests whose path contains `text` wait so long before they are carried out.
    pub fn slow(&self, text: &str, wait: Duration) {
        self.shared.seen.lock().unwrap().slow = Some((text.to_owned(), wait));
    }

    /// How many requests the host got whose path contains `text`.
    pub fn count(&self, text: &str) -> usize {
        self.shared.seen.lock().unwrap().paths.iter().filter(|path| path.contains(text)).count()
    }

    /// Paths of the requests whose answers were dropped.
    pub fn dropped(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().dropped.clone()
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut down = shared.down.subscribe();
    loop {
        if *down.borrow_and_update() {
            listener = None;
            down.wait_for(|down| !down).await.unwrap();
        }
        let open = match listener.take() {
            Some(listener) => listener,
            // Somebody may have the port for a moment.
            None => match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        tokio::select! {
            accepted = open.accept() => {
                let (client, _) = accepted.unwrap();
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut down = shared.down.subscribe();
                    tokio::select! {
                        // Whoever goes away in the middle is no failure of the proxy.
                        _ = carry(client, &shared) => {}
                        _ = down.wait_for(|down| *down) => {}
                    }
                });
            }
            _ = down.changed() => {}
        }
        listener = Some(open);
    }
}

/// One request and its answer.
async fn carry(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    assert!(header("transfer-encoding").is_none(), "a request in chunks: {path}");
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    while request.len() < head_end + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let slow = shared.seen.lock().unwrap().slow.clone();
    if let Some((_, wait)) = slow.filter(|(text, _)| path.contains(text.as_str())) {
        tokio::time::sleep(wait).await;
    }
    let drops = {
        let mut seen = shared.seen.lock().unwrap();
        seen.paths.push(path.clone());
        let mut drops = false;
        seen.faults.retain_mut(|fault| {
            let matches = path.contains(&fault.text);
            let due = matches && fault.before == 0;
            fault.before -= usize::from(matches && !due);
            drops |= due;
            !due
        });
        drops
    };
    // In a task of its own: what the host was asked it carries out, whether anybody still waits or not.
    let target = shared.target.clone();
    let asked = tokio::spawn(async move {
        let mut host = TcpStream::connect(target).await?;
        let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        host.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes()).await?;
        host.write_all(&request[head_end..]).await?;
        let mut answer = Vec::new();
        host.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = asked.await.unwrap()?;
    if drops {
        shared.seen.lock().unwrap().dropped.push(path);
        return Ok(());
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}
