//! A whole simulated network on loopback: a PLC directory, PDSes and a relay over real HTTP and websockets.
//!
//! In: a seed, wishes ("this account writes that") and [`Fault`]s armed at exact moments. Out: servers that speak as real
//! ones do, and beside them the [`NetworkTruth`]: what each repository really holds.
//! Always true: the same seed and the same wishes give the same accounts, keys and records; revisions are of the present,
//! because readers refuse others; a fault changes what a server says and never the truth.
//! Never: listens elsewhere than on loopback; forgets an account.
//!
//! [`Sim`] is the handle: all wishes are its methods, and dropping it ends the servers. [`Script`] makes wishes and faults
//! from a seed.

mod accounts;
mod damage;
mod emit;
mod faults;
mod filler;
mod http;
mod meeting;
mod pds;
mod plc;
mod population;
mod records;
mod relay;
mod script;
mod state;
mod stream;
mod subscribe;
mod truth;
mod wishes;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use accounts::SimError;
pub use faults::{At, Fault, FaultId, FaultReport, Kind, Place, When};
pub use population::CalendarSize;
pub use script::{Script, Trace};
pub use state::Served;
pub use truth::{AccountTruth, Difference, NetworkTruth, Shown, ShownAccount};

use state::{HostState, RelayState, State};
use stream::Stream;

use super::world::World;

/// What network to start.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Decides accounts, keys, records and chance.
    pub seed: u64,
    /// How many PDSes, at least 1.
    pub hosts: usize,
    /// How many accounts are there from the start, shared out over the hosts. They are born with frames.
    pub accounts: usize,
    /// How many frames a server keeps for cursors.
    pub window: usize,
    /// The moment that records are written at, as microseconds since 1970. Fixed, so that a seed gives the same records.
    pub records_at_micros: i64,
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            seed: 1,
            hosts: 2,
            accounts: 0,
            window: 100_000,
            // 2026-06-01T00:00:00Z.
            records_at_micros: 1_780_272_000_000_000,
        }
    }
}

/// A running network. Dropped: gone, with its connections.
pub struct Sim {
    shared: Arc<Shared>,
    plc_url: String,
    relay_url: String,
    handles: String,
    /// Aborts the servers when dropped.
    _servers: JoinSet<()>,
}

/// What servers and the handle share.
pub(super) struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whoever held the state did not panic")
    }
}

impl Sim {
    /// Binds the ports, fills the network and serves it.
    ///
    /// # Errors
    /// When loopback has no free ports.
    pub async fn start(options: SimOptions) -> io::Result<Sim> {
        let sim = Self::start_empty(&options).await?;
        {
            let mut state = sim.shared.lock();
            for n in 0..options.accounts {
                let host = n % state.hosts.len();
                state.create_account(host).expect("the host was counted");
            }
        }
        Ok(sim)
    }

    async fn start_empty(options: &SimOptions) -> io::Result<Sim> {
        let bind = async || -> io::Result<(TcpListener, String)> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?);
            Ok((listener, url))
        };
        let (plc, plc_url) = bind().await?;
        let (relay, relay_url) = bind().await?;
        let (web, handles) = bind().await?;
        let (mut hosts, mut listeners) = (vec![], vec![]);
        for _ in 0..options.hosts.max(1) {
            let (listener, url) = bind().await?;
            let stream = Stream::new(0, options.window);
            hosts.push(HostState { url, stream, held: None, latency: Duration::ZERO, web: None });
            listeners.push(listener);
        }
        let mut world = World::new(options.seed, 0, 2_000_000);
        (world.web, world.domains) = (false, ["test", "test"]);
        world.set_now(options.records_at_micros);
        let state = State {
            world,
            actors: vec![],
            by_did: Default::default(),
            handles: Default::default(),
            hosts,
            relay: RelayState {
                stream: Stream::new(1_000, options.window),
                held: None,
                latency: Duration::ZERO,
                views: Default::default(),
                guests: Default::default(),
            },
            copied: Default::default(),
            carriers: vec![],
            plc_latency: Duration::ZERO,
            faults: Default::default(),
            clock_offset_micros: 0,
            served: Default::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let mut servers = JoinSet::new();
        servers.spawn(http::serve(shared.clone(), Place::Plc, plc));
        servers.spawn(http::serve(shared.clone(), Place::Relay, relay));
        servers.spawn(http::serve(shared.clone(), Place::Handles, web));
        for (number, listener) in listeners.into_iter().enumerate() {
            servers.spawn(http::serve(shared.clone(), Place::Pds(number), listener));
        }
        let handles = format!("*.test={}", handles.trim_start_matches("http://"));
        Ok(Sim { shared, plc_url, relay_url, handles, _servers: servers })
    }

    /// The base URL of the PLC directory, `http://127.0.0.1:PORT`.
    pub fn plc_url(&self) -> &str {
        &self.plc_url
    }

    /// The base URL of the relay's XRPC methods, `http://127.0.0.1:PORT`.
    pub fn relay_url(&self) -> &str {
        &self.relay_url
    }

    /// The relay as `--relay` takes it, `ws://127.0.0.1:PORT`.
    pub fn relay_ws_url(&self) -> String {
        self.relay_url.replacen("http", "ws", 1)
    }

    /// Where handles resolve, as `--host-override` takes it: `*.test=127.0.0.1:PORT`.
    pub fn host_override(&self) -> &str {
        &self.handles
    }

    /// The base URL of the PDS with this number, `http://127.0.0.1:PORT`.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn pds_url(&self, number: usize) -> String {
        self.shared.lock().hosts[number].url.clone()
    }

    /// The base URLs of all PDSes.
    pub fn pds_urls(&self) -> Vec<String> {
        self.shared.lock().hosts.iter().map(|host| host.url.clone()).collect()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Whoever held the state and panicked is heard already.
        let Ok(state) = self.shared.state.lock() else { return };
        state.hosts.iter().for_each(|host| host.stream.cut());
        state.relay.stream.cut();
    }
}
