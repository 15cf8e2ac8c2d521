//! A simulated network in a process of its own, so that what it needs does not count: this same program under another
//! first word. It says where it is, then answers questions on its stdin, and ends when that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use almanac::devnet::sim::{CalendarSize, Place, Shown, ShownAccount, Sim, SimOptions};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::fixture::{SEED, Scale};

/// The first word of the program that makes it the network.
pub const WORD: &str = "be-the-network";
/// Beside the hosts' own latencies: what the directory, the handles' hosts and the relay take to answer.
pub const SERVICE_LATENCY: Duration = Duration::from_millis(40);

const COLLECTIONS: [&str; 2] = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];

/// How large a network is looked at.
pub fn size(scale: Scale) -> CalendarSize {
    let (of, millis) = (CalendarSize::TODAY, Duration::from_millis);
    match scale {
        Scale::Test => CalendarSize {
            accounts: 24,
            hosts: 4,
            events: 60,
            event_authors: 6,
            rsvps: 40,
            rsvp_authors: 20,
            fillers_max: 128,
            failing_hosts_permille: 250,
            latency: (millis(1), millis(4)),
        },
        Scale::Small => CalendarSize {
            accounts: 200,
            hosts: 24,
            events: 1_800,
            event_authors: 40,
            rsvps: 800,
            rsvp_authors: 170,
            ..of
        },
        Scale::Full => of,
    }
}

/// Whether this process was started to be the network; returns when it is no longer needed.
pub fn served(words: &[String]) -> bool {
    let [word, name] = words else { return false };
    if word != WORD {
        return false;
    }
    let scale = [Scale::Test, Scale::Small, Scale::Full].into_iter().find(|scale| scale.name() == name);
    let scale = scale.expect("the bench gives the name of a scale");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the runtime starts").block_on(serve(scale));
    true
}

async fn serve(scale: Scale) {
    let options = SimOptions { seed: SEED, ..SimOptions::default() };
    let sim = Sim::populated(&options, size(scale)).await.expect("loopback has free ports");
    sim.set_latency(Place::Plc, SERVICE_LATENCY);
    sim.set_latency(Place::Relay, SERVICE_LATENCY);
    say(&json!({"plc": sim.plc_url(), "relay": sim.relay_ws_url(), "host_override": sim.host_override()}));
    // Lines come from a thread: the servers go on while nothing is asked.
    let (sender, mut questions) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    while let Some(question) = questions.recv().await {
        match question.as_str() {
            "truth" => say(&truth(&sim)),
            "served" => say(&served_so_far(&sim)),
            url => say(&compare(&sim, url).await),
        }
    }
}

fn say(value: &Value) {
    let mut out = std::io::stdout();
    // Whoever asked may be gone; then stdin ends too.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

fn truth(sim: &Sim) -> Value {
    let truth = sim.truth();
    let reachable = || truth.accounts.values().filter(|account| account.unreachable.is_none());
    json!({
        "accounts": truth.accounts.len(),
        "reachable": reachable().count(),
        "records": reachable().map(|account| account.records.len()).sum::<usize>(),
    })
}

fn served_so_far(sim: &Sim) -> Value {
    let served = sim.served().into_iter().map(|(method, served)| (method, json!([served.requests, served.bytes])));
    Value::Object(served.collect())
}

/// How the index in this database differs from what the repositories hold, and what its jobs say of who cannot be read.
async fn compare(sim: &Sim, url: &str) -> Value {
    let mut connection = PgConnection::connect(url).await.expect("the bench's server answers");
    let records: Vec<(String, String)> =
        sqlx::query_as("select uri, cid from calendar.events union all select uri, cid from calendar.rsvps")
            .fetch_all(&mut connection)
            .await
            .expect("the index is there");
    type Row = (String, Option<String>, Option<String>, Option<String>, Option<String>);
    let accounts: Vec<Row> = sqlx::query_as(
        "select did, r.rev, r.data, r.handle, case when job.state = 'failed' then job.outcome end
         from source.backfill_job as job left join ingest.repo as r using (did)",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the jobs are there");
    connection.close().await.ok();
    let account = |(did, rev, data, handle, trouble): Row| {
        let known = rev.is_some();
        let said = ShownAccount { rev, data, trouble, handle: known.then_some(handle), ..ShownAccount::default() };
        (did, said)
    };
    let shown = Shown { records: records.into_iter().collect(), accounts: accounts.into_iter().map(account).collect() };
    let differences = sim.truth().compare(&shown, &COLLECTIONS);
    json!(differences.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// The process, from outside.
pub struct Network {
    child: Child,
    answers: BufReader<ChildStdout>,
    /// Of the directory, for `--plc`.
    pub plc: String,
    /// For `--relay`.
    pub relay: String,
    /// For `--host-override`.
    pub host_override: String,
    /// Accounts in all.
    pub accounts: u64,
    /// Accounts whose hosts answer.
    pub reachable: u64,
    /// What those hold.
    pub records: u64,
}

/// Requests that were answered, and bytes of the answers' bodies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    pub requests: u64,
    pub bytes: u64,
}

impl Network {
    /// Starts it.
    pub fn start(scale: Scale) -> Self {
        let program = std::env::current_exe().expect("a running program has a file");
        let mut command = Command::new(program);
        command.args([WORD, scale.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program runs twice");
        let answers = BufReader::new(child.stdout.take().expect("piped above"));
        let mut network = Network {
            child,
            answers,
            plc: String::new(),
            relay: String::new(),
            host_override: String::new(),
            accounts: 0,
            reachable: 0,
            records: 0,
        };
        let places = network.read();
        let text = |name: &str| places[name].as_str().expect("the network says where it is").to_owned();
        (network.plc, network.relay, network.host_override) = (text("plc"), text("relay"), text("host_override"));
        let truth = network.ask("truth");
        let number = |name: &str| truth[name].as_u64().expect("the network counts itself");
        (network.accounts, network.reachable, network.records) =
            (number("accounts"), number("reachable"), number("records"));
        network
    }

    fn ask(&mut self, question: &str) -> Value {
        let mut stdin = self.child.stdin.as_ref().expect("piped at the start");
        writeln!(stdin, "{question}").expect("the network listens");
        self.read()
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the network answers");
        serde_json::from_str(&line).expect("the network answers in JSON")
    }

    /// What it had to do so far, by method.
    pub fn served(&mut self) -> BTreeMap<String, Served> {
        let served = self.ask("served");
        let of = |pair: &Value| Served {
            requests: pair[0].as_u64().expect("a count"),
            bytes: pair[1].as_u64().expect("a count"),
        };
        served.as_object().expect("counts by method").iter().map(|(method, pair)| (method.clone(), of(pair))).collect()
    }

    /// How the index differs from the truth, in words.
    pub fn differences(&mut self, url: &str) -> Vec<String> {
        let differences = self.ask(url);
        let words = differences.as_array().expect("a list").iter();
        words.map(|difference| difference.as_str().expect("text").to_owned()).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
