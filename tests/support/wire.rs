//! The wire between Almanac and its database: a TCP proxy that can be cut, with a bang or in silence.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Carries bytes.
    Whole,
    /// Ends connections, and refuses new ones.
    Cut,
    /// Takes connections and bytes and says nothing. What it carried before stays silent for ever, at both ends open.
    Silent,
}

/// A running proxy.
pub struct Wire {
    /// The database's address through the wire.
    pub url: String,
    state: watch::Sender<State>,
    silenced: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Before the server of `url`, which is reached through a socket.
    pub async fn before(url: &str) -> Self {
        // postgres://almanac@%2Fpath/database?sslmode=disable
        let (user, rest) = url.strip_prefix("postgres://").and_then(|rest| rest.split_once('@')).unwrap();
        let (folder, database) = rest.split_once('/').unwrap();
        let folder = folder.replace("%2F", "/");
        assert!(!folder.contains('%'), "{folder} has other characters that are written in code");
        let socket = PathBuf::from(folder).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://{user}@{}/{database}", listener.local_addr().unwrap());
        let state = watch::Sender::new(State::Whole);
        let silenced = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(run(listener, socket, state.subscribe(), silenced.clone()));
        Wire { url, state, silenced, task }
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// How many connections were struck by a cut or a silence.
    pub fn struck(&self) -> usize {
        self.silenced.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(listener: TcpListener, socket: PathBuf, state: watch::Receiver<State>, struck: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let (socket, mut state, struck) = (socket.clone(), state.clone(), struck.clone());
        connections.spawn(async move {
            let now = *state.borrow_and_update();
            match now {
                State::Cut => return,
                State::Silent => return swallow(client).await,
                State::Whole => {}
            }
            let Ok(mut server) = UnixStream::connect(socket).await else { return };
            let struck_by = tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                struck_by = state.wait_for(|state| *state != State::Whole) => match struck_by {
                    Ok(state) => *state,
                    Err(_) => return,
                },
            };
            struck.fetch_add(1, Ordering::SeqCst);
            if struck_by == State::Silent {
                swallow(client).await;
                // The server is not told either, as long as the test runs.
                std::future::pending::<()>().await;
            }
            let _ = server.shutdown().await;
        });
    }
}

async fn swallow(mut client: tokio::net::TcpStream) {
    let mut scratch = [0; 4096];
    while client.read(&mut scratch).await.is_ok_and(|n| n > 0) {}
}
