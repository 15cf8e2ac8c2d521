//! A database with accounts in it, and the executable on it. Whatever the executable prints is searched for secrets.

use std::process::{Command, Output};

use almanac::event::{Did, Environment};
use almanac::identity::credential::{self, CredentialName};
use almanac::identity::vault::{KeyRing, Place, Vault};
use almanac::{event_log, identity};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::support::child::end_with_this_thread;
use crate::support::postgres::TestDb;

pub const PDS: &str = "https://pds.example.org";
/// In every secret that these tests make.
pub const MARK: &str = "planted-secret";
/// Keys by id, as base64.
const KEYS: [(&str, &str); 3] = [
    ("april", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ("may", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="),
    ("june", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="),
];

/// What the keys hold, as no output may: base64, and the bytes as text.
fn forbidden() -> Vec<String> {
    let mut words = vec![MARK.to_owned()];
    for (_, key) in KEYS {
        words.push(key.trim_end_matches('=').to_owned());
        words.push(String::from_utf8(data_encoding::BASE64.decode(key.as_bytes()).unwrap()).unwrap());
    }
    words
}

/// The setting identity.keys with these keys.
pub fn keys(ids: &[&str]) -> String {
    let key = |id: &&str| format!("{id}={}", KEYS.iter().find(|(known, _)| known == id).unwrap().1);
    ids.iter().map(key).collect::<Vec<_>>().join(",")
}

pub fn vault_in(environment: &str, ids: &[&str]) -> Vault {
    let text = |id: &&str| SecretString::from(KEYS.iter().find(|(known, _)| known == id).unwrap().1);
    let ring = KeyRing::read(ids.iter().map(|id| (*id, text(id)))).unwrap();
    Vault::new(Environment::parse(environment).unwrap(), ring)
}

pub fn vault(ids: &[&str]) -> Vault {
    vault_in("test", ids)
}

pub fn user(n: usize) -> String {
    format!("01HX{n:022}")
}

pub fn did(n: usize) -> String {
    let letters: String = format!("{n:024}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
    format!("did:plc:{letters}")
}

pub fn secret(n: usize, name: CredentialName, version: u64) -> String {
    format!("{MARK}-{n}-{}-{version}", name.as_str())
}

/// A database of the environment `test`.
pub async fn database() -> TestDb {
    let db = TestDb::fresh().await;
    event_log::stamp(db.pool(), &Environment::parse("test").unwrap()).await.unwrap();
    db
}

pub async fn link(db: &TestDb, n: usize) {
    let mut connection = db.pool().acquire().await.unwrap();
    identity::link(&mut connection, &user(n), &Did::parse(&did(n)).unwrap(), None, PDS, true).await.unwrap();
}

pub async fn store(db: &TestDb, vault: &Vault, n: usize, name: CredentialName, version: u64) {
    let mut connection = db.pool().acquire().await.unwrap();
    let secret = secret(n, name, version).into();
    credential::store(&mut connection, vault, &user(n), &did(n), name, &secret).await.unwrap();
}

pub async fn load(db: &TestDb, vault: &Vault, n: usize, name: CredentialName) -> Result<Option<String>, String> {
    let loaded = credential::load(db.pool(), vault, &user(n), &did(n), name).await;
    loaded.map(|secret| secret.map(|secret| secret.expose_secret().to_owned())).map_err(|error| error.to_string())
}

/// Accounts 0 to `count`, each with every secret in version 0.
pub async fn accounts(db: &TestDb, vault: &Vault, count: usize) {
    for n in 0..count {
        link(db, n).await;
        for name in CredentialName::ALL {
            store(db, vault, n, name, 0).await;
        }
    }
}

/// `almanac ARGS…` on this database, with these keys.
pub fn command(db: &TestDb, ids: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
    command.args(args).args(["--environment", "test", "--database-url", db.url().expose()]);
    if !ids.is_empty() {
        command.env("ALMANAC_IDENTITY_KEYS", keys(ids));
    }
    end_with_this_thread(&mut command);
    command
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Panics when a secret or a key is in it.
#[track_caller]
pub fn holds_no_secret(text: &str) {
    for word in forbidden() {
        assert!(!text.contains(&word), "{word} is in {text}");
    }
}

/// Runs a command to its end and searches what it says for secrets.
#[track_caller]
pub fn run(mut command: Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let said = Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    holds_no_secret(&said.stdout);
    holds_no_secret(&said.stderr);
    said
}

/// How many secrets name which key.
pub async fn key_use(db: &TestDb) -> Vec<(String, i64)> {
    let uses = credential::key_use(db.pool()).await.unwrap();
    uses.into_iter().map(|each| (each.key_id.unwrap_or_default(), each.secrets)).collect()
}

/// Envelopes that Node's crypto made: `envelopes.js`.
pub fn made_by_node() -> Value {
    serde_json::from_str(include_str!("envelopes.json")).unwrap()
}

/// Keys of ours, and those with which Node sealed, as the setting identity.keys.
pub fn keys_with_node(made: &Value, ids: &[&str]) -> String {
    let node = made["keys"].as_object().unwrap().iter().map(|(id, key)| format!("{id}={}", key.as_str().unwrap()));
    std::iter::once(keys(ids)).chain(node).collect::<Vec<_>>().join(",")
}

pub fn vault_with_node(made: &Value, ids: &[&str]) -> Vault {
    let setting = keys_with_node(made, ids);
    let pairs = setting.split(',').map(|entry| entry.split_once('=').unwrap());
    let ring = KeyRing::read(pairs.map(|(id, key)| (id, key.into()))).unwrap();
    Vault::new(Environment::parse("test").unwrap(), ring)
}

/// A password in an envelope of the older form, as another program may have put it there.
pub async fn older_row(db: &TestDb, n: usize, envelope: &str) {
    sqlx::query(
        "insert into identity.credential (user_id, did, name, envelope) values ($1, $2, 'password', $3)
         on conflict (did, name) do update set envelope = excluded.envelope, key_id = null",
    )
    .bind(user(n))
    .bind(did(n))
    .bind(envelope)
    .execute(db.pool())
    .await
    .unwrap();
}

/// The password of an account that is being made for a user.
pub async fn pending_row(db: &TestDb, vault: &Vault, n: usize, secret: &str) {
    let (user_id, handle) = (user(n), format!("user-{n}.example.org"));
    let sealed = vault.seal(&pending_place(&user_id, &handle), &secret.into()).unwrap();
    sqlx::query(
        "insert into identity.pending_account (user_id, handle, email, envelope, key_id) values ($1, $2, 'a@example.org', $3, $4)",
    )
    .bind(&user_id)
    .bind(&handle)
    .bind(sealed.envelope)
    .bind(sealed.key_id)
    .execute(db.pool())
    .await
    .unwrap();
}

/// What the vault says of it.
pub async fn load_pending(db: &TestDb, vault: &Vault, n: usize) -> Result<String, String> {
    let row: (String, String) =
        sqlx::query_as("select handle, envelope from identity.pending_account where user_id = $1")
            .bind(user(n))
            .fetch_one(db.pool())
            .await
            .unwrap();
    let opened = vault.open(&pending_place(&user(n), &row.0), &row.1);
    opened.map(|opened| opened.secret.expose_secret().to_owned()).map_err(|error| error.to_string())
}

fn pending_place<'a>(user_id: &'a str, handle: &'a str) -> Place<'a> {
    Place { user_id, did: handle, column: "pending_password" }
}
