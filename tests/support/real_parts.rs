//! The official PDS and PLC directory, really running, for tests that must not be judged by code of ours.
//!
//! [`RealParts::start`] installs them if need be (`tests/real-parts/install`), starts both on free loopback ports with a
//! data folder of their own, and waits until they answer. Dropped, they are gone. The methods speak the PDS's HTTP API
//! and panic with the PDS's own words when it refuses.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::child::Running;

pub const ADMIN_PASSWORD: &str = "admin-of-the-tests";
const PASSWORD: &str = "password-of-the-tests";
/// Node on a busy machine: it starts in two seconds alone.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running PDS, with its PLC directory if it is the first one there.
pub struct RealParts {
    // Dropped in this order: the processes before their data.
    _pds: Running,
    _plc: Option<Running>,
    _data: TempDir,
    installation: PathBuf,
    /// Where its accounts' handles end: `.test`.
    domain: String,
    /// The private key that changes its accounts' documents, in hexadecimal digits.
    rotation_key: String,
    /// `http://127.0.0.1:PORT` of the PDS.
    pub pds_url: String,
    /// `http://127.0.0.1:PORT` of the PLC directory.
    pub plc_url: String,
    http: reqwest::Client,
    invite: String,
}

/// An account on the PDS, signed in.
#[derive(Clone, Debug)]
pub struct Account {
    pub did: String,
    pub handle: String,
    pub token: String,
}

/// Where a record is and what it is, in the PDS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub uri: String,
    pub cid: String,
}

impl Written {
    fn of(answer: &Value) -> Self {
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {answer}")).to_owned();
        Written { uri: text("uri"), cid: text("cid") }
    }

    /// The record key.
    pub fn rkey(&self) -> &str {
        self.uri.rsplit('/').next().expect("a split has a last part")
    }

    /// As a record refers to it: `com.atproto.repo.strongRef`.
    pub fn reference(&self) -> Value {
        json!({ "uri": self.uri, "cid": self.cid })
    }
}

/// A record as `listRecords` gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub uri: String,
    pub cid: String,
    pub value: Value,
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/real-parts")
}

/// The folder with the installed packages; installs them the first time.
fn installation() -> PathBuf {
    let script = scripts().join("install");
    let output = Command::new(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {}: {e}; it needs bash", script.display()));
    assert!(
        output.status.success(),
        "the official PDS could not be installed: {} says above what is missing and how to get it",
        script.display()
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// The PDS syncs its SQLite files on every request: memory spares the test most of its time.
fn data_folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let make = tempfile::Builder::new().prefix("almanac-real-parts-").to_owned();
    if memory.is_dir() { make.tempdir_in(memory).or_else(|_| make.tempdir()) } else { make.tempdir() }.unwrap()
}

fn port(running: &mut Running) -> u64 {
    running.json_line_with("port", START_LIMIT)["port"].as_u64().unwrap()
}

impl RealParts {
    /// Starts both and waits until they answer.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further settings of the PDS, such as `PDS_INVITE_REQUIRED`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let installation = installation();
        let data = data_folder();
        let mut plc = Running::start(
            "the PLC directory",
            Command::new("node").arg(scripts().join("plc.mjs")).arg(&installation).env("LOG_ENABLED", "false"),
            &data.path().join("plc.log"),
        );
        let plc_url = format!("http://127.0.0.1:{}", port(&mut plc));
        Self::start_pds(installation, data, Some(plc), plc_url, ".test", "1", settings).await
    }

    /// A second PDS for handles under `DOMAIN`, such as `.second.test`, on the same PLC directory. That ends with the first.
    pub async fn start_another(&self, domain: &str) -> Self {
        Self::start_pds(self.installation.clone(), data_folder(), None, self.plc_url.clone(), domain, "2", &[]).await
    }

    async fn start_pds(
        installation: PathBuf,
        data: TempDir,
        plc: Option<Running>,
        plc_url: String,
        domain: &str,
        digit: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let rotation_key = digit.repeat(64);
        let mut pds = Running::start(
            "the PDS",
            Command::new("node")
                .arg(scripts().join("pds.mjs"))
                .args([installation.as_path(), data.path()])
                .arg(&plc_url)
                .env("PDS_ADMIN_PASSWORD", ADMIN_PASSWORD)
                .env("PDS_SERVICE_HANDLE_DOMAINS", domain)
                .env("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX", &rotation_key)
                .envs(settings.iter().copied()),
            &data.path().join("pds.log"),
        );
        let pds_url = format!("http://127.0.0.1:{}", port(&mut pds));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        let (domain, invite) = (domain.to_owned(), String::new());
        let mut parts = RealParts {
            _pds: pds,
            _plc: plc,
            _data: data,
            installation,
            domain,
            rotation_key,
            pds_url,
            plc_url,
            http,
            invite,
        };
        parts.get("_health", &[]).await;
        let invite = parts.admin("com.atproto.server.createInviteCode", json!({ "useCount": 1000 })).await;
        parts.invite = invite["code"].as_str().expect("an invite code").to_owned();
        parts
    }

    /// What opens its admin methods.
    pub fn admin_password(&self) -> &'static str {
        ADMIN_PASSWORD
    }

    /// What opens the accounts that [`RealParts::create_account`] makes.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The administrator changes the password of an account, and nobody tells us.
    pub async fn change_password(&self, did: &str, password: &str) {
        self.admin("com.atproto.admin.updateAccountPassword", json!({ "did": did, "password": password })).await;
    }

    /// Every account that it has.
    pub async fn dids(&self) -> Vec<String> {
        let page = self.get("com.atproto.sync.listRepos", &[("limit", "1000")]).await;
        let repos = page["repos"].as_array().expect("listRepos has repos");
        repos.iter().map(|repo| repo["did"].as_str().expect("a DID").to_owned()).collect()
    }

    /// What `--relay` wants: `ws://127.0.0.1:PORT`.
    pub fn firehose(&self) -> String {
        self.pds_url.replacen("http", "ws", 1)
    }

    /// For `--host-override`: where the handles of its accounts are served.
    pub fn handles(&self) -> String {
        format!("*{}={}", self.domain, self.pds_url.trim_start_matches("http://"))
    }

    async fn answer(&self, what: &str, request: reqwest::RequestBuilder) -> Vec<u8> {
        let response = request.send().await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let status = response.status();
        let body = response.bytes().await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert!(status.is_success(), "the PDS answers {what} with {status}: {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }

    async fn json(&self, what: &str, request: reqwest::RequestBuilder) -> Value {
        let body = self.answer(what, request).await;
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }

    /// A query that needs no sign-in.
    pub async fn get(&self, nsid: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}/xrpc/{nsid}", self.pds_url);
        self.json(nsid, self.http.get(url).query(query)).await
    }

    /// A procedure as this account.
    pub async fn post(&self, account: &Account, nsid: &str, body: Value) -> Value {
        let url = format!("{}/xrpc/{nsid}", self.pds_url);
        self.json(nsid, self.http.post(url).bearer_auth(&account.token).json(&body)).await
    }

    /// A procedure as the PDS's administrator.
    pub async fn admin(&self, nsid: &str, body: Value) -> Value {
        let url = format!("{}/xrpc/{nsid}", self.pds_url);
        self.json(nsid, self.http.post(url).basic_auth("admin", Some(ADMIN_PASSWORD)).json(&body)).await
    }

    /// A new account `NAME.test`.
    pub async fn create_account(&self, name: &str) -> Account {
        self.create(name, json!({}), None).await
    }

    async fn create(&self, name: &str, more: Value, token: Option<&str>) -> Account {
        let mut body = json!({
            "handle": format!("{name}{}", self.domain), "email": format!("{name}@example.test"),
            "password": PASSWORD, "inviteCode": self.invite,
        });
        body.as_object_mut().expect("made above").extend(more.as_object().cloned().unwrap_or_default());
        let url = format!("{}/xrpc/com.atproto.server.createAccount", self.pds_url);
        let mut request = self.http.post(url).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = self.json("createAccount", request).await;
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {answer}")).to_owned();
        Account { did: text("did"), handle: text("handle"), token: text("accessJwt") }
    }

    /// Signs in anew: a takedown ends every session.
    pub async fn sign_in(&self, account: &mut Account) {
        self.sign_in_with(account, PASSWORD).await;
    }

    /// An account that somebody else made, not signed in.
    pub fn account(&self, did: &str, handle: &str) -> Account {
        Account { did: did.to_owned(), handle: handle.to_owned(), token: String::new() }
    }

    /// Signs in with a password of the account's own.
    pub async fn sign_in_with(&self, account: &mut Account, password: &str) {
        let url = format!("{}/xrpc/com.atproto.server.createSession", self.pds_url);
        let body = json!({ "identifier": account.did, "password": password });
        let answer = self.json("createSession", self.http.post(url).json(&body)).await;
        account.token = answer["accessJwt"].as_str().expect("an access token").to_owned();
    }

    /// A new record; the PDS chooses the record key when `rkey` is none.
    pub async fn create_record(&self, account: &Account, rkey: Option<&str>, record: Value) -> Written {
        let mut body = json!({ "repo": account.did, "collection": record["$type"], "record": record });
        if let Some(rkey) = rkey {
            body["rkey"] = rkey.into();
        }
        Written::of(&self.post(account, "com.atproto.repo.createRecord", body).await)
    }

    /// Replaces a record (or makes it).
    pub async fn put_record(&self, account: &Account, rkey: &str, record: Value) -> Written {
        let body = json!({ "repo": account.did, "collection": record["$type"], "rkey": rkey, "record": record });
        Written::of(&self.post(account, "com.atproto.repo.putRecord", body).await)
    }

    /// Removes a record.
    pub async fn delete_record(&self, account: &Account, collection: &str, rkey: &str) {
        let body = json!({ "repo": account.did, "collection": collection, "rkey": rkey });
        self.post(account, "com.atproto.repo.deleteRecord", body).await;
    }

    /// Several writes in one commit. Each is `{"create"|"update": record, "rkey"?}` or `{"delete": collection, "rkey"}`;
    /// the answers are in the same order, none for a delete.
    pub async fn apply_writes(&self, account: &Account, writes: &[Value]) -> Vec<Option<Written>> {
        let write = |w: &Value| {
            let (action, what) = ["create", "update", "delete"]
                .iter()
                .find_map(|action| w.get(action).map(|what| (*action, what)))
                .unwrap_or_else(|| panic!("no action in {w}"));
            let mut out = json!({ "$type": format!("com.atproto.repo.applyWrites#{action}") });
            match action {
                "delete" => out["collection"] = what.clone(),
                _ => {
                    out["collection"] = what["$type"].clone();
                    out["value"] = what.clone();
                }
            }
            if let Some(rkey) = w.get("rkey") {
                out["rkey"] = rkey.clone();
            }
            out
        };
        let body = json!({ "repo": account.did, "writes": writes.iter().map(write).collect::<Vec<_>>() });
        let answer = self.post(account, "com.atproto.repo.applyWrites", body).await;
        let results = answer["results"].as_array().unwrap_or_else(|| panic!("no results in {answer}"));
        assert_eq!(results.len(), writes.len(), "{answer}");
        results.iter().map(|r| r.get("uri").map(|_| Written::of(r))).collect()
    }

    /// Its owner switches the account off.
    pub async fn deactivate(&self, account: &Account) {
        self.post(account, "com.atproto.server.deactivateAccount", json!({})).await;
    }

    /// Its owner switches the account on again.
    pub async fn activate(&self, account: &Account) {
        let url = format!("{}/xrpc/com.atproto.server.activateAccount", self.pds_url);
        self.answer("activateAccount", self.http.post(url).bearer_auth(&account.token)).await;
    }

    /// The administrator deletes the account.
    pub async fn delete_account(&self, account: &Account) {
        self.admin("com.atproto.admin.deleteAccount", json!({ "did": account.did })).await;
    }

    /// The administrator hides the account.
    pub async fn take_down(&self, account: &Account) {
        self.takedown(account, json!({ "applied": true, "ref": "test" })).await;
    }

    /// The administrator shows the account again, and its owner signs in.
    pub async fn restore(&self, account: &mut Account) {
        self.takedown(account, json!({ "applied": false })).await;
        self.sign_in(account).await;
    }

    async fn takedown(&self, account: &Account, takedown: Value) {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": account.did });
        let body = json!({ "subject": subject, "takedown": takedown });
        self.admin("com.atproto.admin.updateSubjectStatus", body).await;
    }

    /// The administrator switches the account off, or on again.
    pub async fn switch(&self, account: &Account, on: bool) {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": account.did });
        let body = json!({ "subject": subject, "deactivated": { "applied": !on } });
        self.admin("com.atproto.admin.updateSubjectStatus", body).await;
    }

    /// Changes the handle to `NAME.test`.
    pub async fn update_handle(&self, account: &mut Account, name: &str) {
        account.handle = format!("{name}{}", self.domain);
        let body = json!({ "handle": account.handle });
        self.post(account, "com.atproto.identity.updateHandle", body).await;
    }

    /// Every record of one collection of one account, as the PDS itself lists them.
    pub async fn list_records(&self, did: &str, collection: &str) -> Vec<Held> {
        let mut held = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("repo", did), ("collection", collection), ("limit", "100")];
            query.extend(cursor.as_deref().map(|c| ("cursor", c)));
            let page = self.get("com.atproto.repo.listRecords", &query).await;
            for record in page["records"].as_array().expect("listRecords has records") {
                let Written { uri, cid } = Written::of(record);
                held.push(Held { uri, cid, value: record["value"].clone() });
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return held,
            }
        }
    }

    /// The repository as a CAR file.
    pub async fn get_repo(&self, did: &str) -> Vec<u8> {
        let url = format!("{}/xrpc/com.atproto.sync.getRepo", self.pds_url);
        self.answer("getRepo", self.http.get(url).query(&[("did", did)])).await
    }

    /// The first steps of a move to this host: the account exists here as well, switched off, under the same DID with a
    /// signing key of this host's, and has its repository. It lives where it lived.
    pub async fn copy_from(&self, old: &RealParts, account: &Account, name: &str) -> Account {
        let here = self.get("com.atproto.server.describeServer", &[]).await;
        let audience = here["did"].as_str().expect("a PDS has a DID");
        let query = [("aud", audience), ("lxm", "com.atproto.server.createAccount")];
        let url = format!("{}/xrpc/com.atproto.server.getServiceAuth", old.pds_url);
        let answer = old.json("getServiceAuth", old.http.get(url).bearer_auth(&account.token).query(&query)).await;
        let token = answer["token"].as_str().expect("a service token");
        let copy = self.create(name, json!({ "did": account.did }), Some(token)).await;
        let repo = old.get_repo(&account.did).await;
        let url = format!("{}/xrpc/com.atproto.repo.importRepo", self.pds_url);
        let import = self.http.post(url).bearer_auth(&copy.token).header("content-type", "application/vnd.ipld.car");
        self.answer("importRepo", import.body(repo)).await;
        copy
    }

    /// The step of a move that counts: the DID document names this host and its key. The old host's key signs that.
    pub async fn take_over(&self, old: &RealParts, copy: &Account) {
        let url = format!("{}/xrpc/com.atproto.identity.getRecommendedDidCredentials", self.pds_url);
        let mut wanted = self.json("getRecommendedDidCredentials", self.http.get(url).bearer_auth(&copy.token)).await;
        wanted["did"] = copy.did.as_str().into();
        let output = tokio::process::Command::new("node")
            .arg(scripts().join("plc-sign.mjs"))
            .arg(&self.installation)
            .args([&self.plc_url, &old.rotation_key, &wanted.to_string()])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "plc-sign.mjs: {}", String::from_utf8_lossy(&output.stderr));
        let signed: Value = serde_json::from_slice(&output.stdout).unwrap();
        self.post(copy, "com.atproto.identity.submitPlcOperation", json!({ "operation": signed })).await;
    }
}
