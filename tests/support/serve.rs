//! `almanac serve` as a child process, and what it answers over HTTP.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use super::child::{Running, end_with_this_thread};

/// A running `almanac serve`, of the environment `test` if no flag names another.
pub struct Serve {
    /// The process.
    pub running: Running,
    /// `http://127.0.0.1:PORT` of the public listener.
    pub public: String,
    /// `http://127.0.0.1:PORT` of the admin listener.
    pub admin: String,
    http: reqwest::Client,
}

impl Serve {
    /// Starts it on `database_url`, following `relay`, and waits until it says that it is ready. `folder` is its data
    /// folder and holds its log.
    pub fn start(database_url: &str, relay: &str, folder: &Path) -> Self {
        Self::start_with(database_url, relay, folder, &[])
    }

    /// The same, with further flags. An empty `relay`: none is followed.
    pub fn start_with(database_url: &str, relay: &str, folder: &Path, flags: &[&str]) -> Self {
        let mut running = Running::start(
            "almanac serve",
            &mut Self::command(database_url, relay, folder, flags),
            &folder.join("serve.log"),
        );
        let ready = running.json_line_with("ready", Duration::from_secs(60));
        let url = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {ready}")).to_owned();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
        Serve { public: url("public"), admin: url("admin"), running, http }
    }

    /// What it is started with.
    pub fn command(database_url: &str, relay: &str, folder: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
        command.args(["serve", "--json", "--database-url", database_url]);
        if !flags.contains(&"--environment") {
            command.args(["--environment", "test"]);
        }
        if !relay.is_empty() {
            command.args(["--relay", relay]);
        }
        command.args(flags);
        // Frames of made-up accounts whose documents nobody serves; tests of verification say otherwise.
        if !flags.iter().any(|flag| matches!(*flag, "--verify" | "--did-docs" | "--plc")) {
            command.args(["--verify", "none"]);
        }
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
        end_with_this_thread(&mut command);
        command
    }

    /// Kills it with SIGKILL, which it must not have been dead before.
    pub fn kill(mut self) {
        assert!(self.running.kill(), "almanac serve had ended by itself");
    }

    /// What `/health/ready` answers: the status, and the checks that fail with their reasons.
    pub async fn ready(&self) -> (StatusCode, BTreeMap<String, String>) {
        let (status, body) = self.get(&format!("{}/health/ready", self.admin), &[]).await;
        let value: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("/health/ready: {e}: {body}"));
        let checks = value["checks"].as_array().unwrap_or_else(|| panic!("no checks in {value}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let failing = checks.iter().filter(|check| check["ok"] == false);
        (status, failing.map(|check| (text(&check["name"]), text(&check["reason"]))).collect())
    }

    /// One series of `/metrics`, by its name with labels; `None` when it is not there.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get(&format!("{}/metrics", self.admin), &[]).await;
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(value)
    }

    /// One GET: status and body.
    pub async fn get(&self, url: &str, query: &[(&str, &str)]) -> (StatusCode, String) {
        let response = self.http.get(url).query(query).send().await.unwrap_or_else(|e| panic!("GET {url}: {e:?}"));
        (response.status(), response.text().await.unwrap())
    }

    /// A query `events.almanac.NAME` that must succeed.
    pub async fn query(&self, name: &str, query: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(&format!("{}/xrpc/events.almanac.{name}", self.public), query).await;
        assert!(status.is_success(), "{name} {query:?} answers {status}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{name}: {e}: {body}"))
    }

    /// Every row of a paged query.
    pub async fn all(&self, name: &str, rows: &str, query: &[(&str, &str)]) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|c| ("cursor", c)));
            let page = self.query(name, &query).await;
            all.extend(page[rows].as_array().unwrap_or_else(|| panic!("no `{rows}` in {page}")).iter().cloned());
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return all,
            }
        }
    }

    /// One event; none when it is not known or not to be shown.
    pub async fn event(&self, uri: &str) -> Option<Value> {
        let url = format!("{}/xrpc/events.almanac.getEvent", self.public);
        let (status, body) = self.get(&url, &[("uri", uri)]).await;
        let value: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("getEvent: {e}: {body}"));
        if status.is_success() {
            return Some(value["event"].clone());
        }
        assert!(status.is_client_error() && value["error"].is_string(), "getEvent {uri} answers {status}: {body}");
        None
    }

    /// The events of one author.
    pub async fn events_of(&self, did: &str) -> Vec<Value> {
        self.all("listEvents", "events", &[("author", did)]).await
    }

    /// The RSVPs to one event, also those that a later one of the same account supersedes.
    pub async fn rsvps_to(&self, uri: &str) -> Vec<Value> {
        self.all("listRsvps", "rsvps", &[("subject", uri), ("includeSuperseded", "true")]).await
    }
}

/// Asks again and again until `ask` answers `Ok`; after `limit` panics with the last complaint.
pub async fn eventually<T>(what: &str, limit: Duration, ask: impl AsyncFn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(complaint) if Instant::now() >= deadline => panic!("not within {limit:?}: {what}: {complaint}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
