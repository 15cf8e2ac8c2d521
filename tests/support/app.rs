//! An app that publishes through `almanac serve` on the official PDS: settings, users, a token, and the calls of `/v1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::child::end_with_this_thread;
use super::postgres::TestDb;
use super::real_parts::{ADMIN_PASSWORD, RealParts};
use super::serve::{Serve, eventually};

/// Far more than any step takes, also on a machine that compiles at the same time.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Seals the credentials; found in nothing that is printed.
pub const KEY: &str = "b25lLWtleS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODk=";
/// The key after a rotation.
pub const NEXT_KEY: &str = "bmV4dC1rZXktZm9yLXRoZS10ZXN0cy0xMjM0NTY3ODk=";

/// The app's side.
pub struct App {
    pub db: TestDb,
    pub folder: TempDir,
    pub token: String,
    http: reqwest::Client,
    /// Everything that any command printed.
    printed: std::sync::Mutex<Vec<u8>>,
}

impl App {
    /// Settings for this PDS, as the app's own, in a database of its own; and a token.
    pub async fn new(parts: &RealParts) -> Self {
        let db = TestDb::fresh().await;
        let folder = tempfile::tempdir().unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        let mut app = App { db, folder, token: String::new(), http, printed: Default::default() };
        app.settings(parts, &parts.pds_url, &[("one", KEY)]);
        let made = app.json(&["tokens", "create", "tests", "--scope", "read,publish,grants", "--json"]);
        app.token = made["token"].as_str().unwrap_or_else(|| panic!("no token in {made}")).to_owned();
        app
    }

    /// Writes the settings: the PDS at an address (its own, or a proxy's), and the keys.
    pub fn settings(&self, parts: &RealParts, pds_url: &str, keys: &[(&str, &str)]) {
        let keys: Vec<String> = keys.iter().map(|(id, key)| format!("\"{id}={key}\"")).collect();
        let text = format!(
            "environment = 'test'\nenvironment_kind = 'development'\n\
             [network]\nplc = '{}'\nallow_private = true\nhost_overrides = ['{}']\n\
             [pds]\nurl = '{pds_url}'\nadmin_password = '{ADMIN_PASSWORD}'\n\
             [identity]\nkeys = [{}]\n\
             [publish]\nretry_first = '200ms'\nretry_max = '2s'\nunseen_after = '20s'\n\
             [backfill]\ncoverage_every = 'off'\n",
            parts.plc_url,
            parts.handles(),
            keys.join(", "),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Says in the settings which environment a host belongs to.
    pub fn declare(&self, host: &str, environment: &str) {
        let settings = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), format!("{settings}[origin]\nhosts = ['{host}={environment}']\n")).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("almanac.toml")
    }

    /// `almanac serve`, following the PDS.
    pub fn serve(&self, parts: &RealParts) -> Serve {
        let config = self.config();
        let flags = ["--config", config.to_str().unwrap(), "--pds", &parts.firehose(), "--plc", &parts.plc_url];
        Serve::start_with(self.db.url().expose(), "", self.folder.path(), &flags)
    }

    /// `almanac ARGS…` with the same settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
        command.args(args).arg("--config").arg(self.config()).args(["--database-url", self.db.url().expose()]);
        end_with_this_thread(&mut command);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        // A token is shown by the command that makes it, and by nothing else.
        if args[0] != "tokens" {
            let mut printed = self.printed.lock().unwrap();
            printed.extend_from_slice(&output.stdout);
            printed.extend_from_slice(&output.stderr);
        }
        output
    }

    /// Runs it to its good end, and reads the JSON it prints.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "almanac {args:?}: {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("almanac {args:?} prints no JSON: {e}: {out}"))
    }

    /// Everything that any command printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// A custodial account for this user; its DID.
    pub fn create_user(&self, user: &str) -> String {
        let made = self.json(&["identity", "create", user, "--json"]);
        made["did"].as_str().unwrap_or_else(|| panic!("no DID in {made}")).to_owned()
    }

    /// One call of `/v1`: status and body.
    pub async fn call(
        &self,
        serve: &Serve,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let url = format!("{}/v1/{path}", serve.public);
        let mut request = self.http.request(method.clone(), &url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap_or_else(|e| panic!("{method} {url}: {e:?}"));
        let status = response.status();
        let text = response.text().await.unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {url}: {status}: {e}: {text}"));
        (status, value)
    }

    /// A PUT that the PDS takes at once.
    pub async fn put(&self, serve: &Serve, path: &str, body: &Value) -> Value {
        let (status, value) = self.call(serve, Method::PUT, path, &[], Some(body)).await;
        assert!(matches!(status.as_u16(), 200 | 201), "PUT {path}: {status}: {value}");
        value
    }

    /// Waits until the last wish for a record is so far.
    pub async fn see_state(&self, serve: &Serve, path: &str, state: &str) -> Value {
        eventually(&format!("{path} {state}"), LIMIT, async || {
            let (status, value) = self.call(serve, Method::GET, path, &[], None).await;
            if status.is_success() && value["intent"]["state"] == state { Ok(value) } else { Err(value.to_string()) }
        })
        .await
    }
}

/// Text of a file that a process wrote.
pub fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
