//! Two environments on one relay: production, which takes in everybody but whom it must not, and dev, which takes in those on
//! its list. Each has its own directory and PDSes, and declares its own hosts and the other's.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use almanac::devnet::sim::{Sim, SimOptions};
use almanac::event::{Did, ListChange};
use almanac::{identity, ingest::lists};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::child::end_with_this_thread;
use crate::support::postgres::TestDb;
use crate::support::receiver::Receiver;
use crate::support::serve::{Serve, eventually};

/// Far more than any settling takes, also on a machine that compiles at the same time.
pub const LIMIT: Duration = Duration::from_secs(90);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The PDS of each network that is an environment's own.
pub const OWN: usize = 0;
/// A PDS of each network that nobody declared.
pub const NEUTRAL: usize = 1;
/// Another one.
pub const NEUTRAL_TOO: usize = 2;

/// Two networks. The relay of `prod` carries the accounts of both.
pub struct Two {
    pub prod: Sim,
    pub dev: Sim,
}

impl Two {
    pub async fn start(seed: u64) -> Self {
        let network = async |seed| Sim::start(SimOptions { seed, hosts: 3, ..SimOptions::default() }).await.unwrap();
        let two = Two { prod: network(2 * seed).await, dev: network(2 * seed + 1).await };
        two.dev.leak_into(&two.prod);
        two
    }

    /// `almanac serve` of production, following the relay.
    pub async fn production(&self) -> Env {
        Env::start(&self.prod, self, "production", "", &[]).await
    }

    /// The same, following this PDS directly and no relay.
    pub async fn production_at(&self, pds: &str) -> Env {
        Env::start(&self.prod, self, "production", pds, &[]).await
    }

    /// `almanac serve` of dev, following the same relay, for these accounts.
    pub async fn development(&self, allowed: &[&str]) -> Env {
        Env::start(&self.dev, self, "dev", "", allowed).await
    }

    /// Host and port of a URL.
    fn origins(&self) -> (Vec<String>, Vec<String>) {
        let host = |url: String| url.trim_start_matches("http://").to_owned();
        let hosts = [(&self.prod, "production"), (&self.dev, "dev")];
        let hosts = hosts.map(|(sim, name)| format!("{}={name}", host(sim.pds_url(OWN))));
        (hosts.into(), vec![".prod.test=production".into(), ".dev.test=dev".into()])
    }
}

/// A running environment with its database.
pub struct Env {
    pub db: TestDb,
    pub serve: Serve,
    /// What the app of this environment is told.
    pub receiver: Receiver,
    environment: &'static str,
    flags: Vec<String>,
    upstream: [String; 2],
    stopped: bool,
    folder: TempDir,
}

/// `almanac serve`, once it is connected.
async fn serve(db: &TestDb, folder: &TempDir, flags: &[String], upstream: &[String; 2]) -> Serve {
    let flags: Vec<&str> = flags.iter().chain(upstream).map(String::as_str).collect();
    let serve = Serve::start_with(db.url().expose(), "", folder.path(), &flags);
    eventually("connected", LIMIT, async || match serve.ready().await {
        (status, _) if status == 200 => Ok(()),
        (status, why) => Err(format!("{status}: {why:?}")),
    })
    .await;
    serve
}

impl Env {
    async fn start(sim: &Sim, two: &Two, environment: &'static str, pds: &str, allowed: &[&str]) -> Self {
        let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
        let (hosts, handles) = two.origins();
        let dids = if environment == "dev" { "allowlist" } else { "network" };
        let receiver = Receiver::start().await;
        let settings = format!(
            "[webhooks.app]\nurl = '{}/app'\nsecret = '{SECRET}'\n\
             [origin]\nhosts = {hosts:?}\nhandles = {handles:?}\n\
             [filter]\ndids = '{dids}'\nallow = {allowed:?}\n\
             [backfill]\ncoverage_every = '2s'\nhost_pause = '200ms'\n",
            receiver.url
        );
        let file = folder.path().join("almanac.toml");
        std::fs::write(&file, settings).unwrap();
        let flags = ["--environment", environment, "--config", file.to_str().unwrap(), "--plc", sim.plc_url()]
            .into_iter()
            .chain(["--allow-private", "--host-override", sim.host_override()]);
        let flags: Vec<String> = flags.map(str::to_owned).collect();
        let upstream = match pds {
            "" => ["--relay".to_owned(), two.prod.relay_ws_url()],
            pds => ["--pds".to_owned(), pds.replacen("http", "ws", 1)],
        };
        let serve = serve(&db, &folder, &flags, &upstream).await;
        Env { db, serve, receiver, environment, flags, upstream, stopped: false, folder }
    }

    /// Kills `serve`, and starts it again.
    pub async fn restart(&mut self) {
        assert!(self.serve.running.kill(), "it had ended by itself");
        self.serve = serve(&self.db, &self.folder, &self.flags, &self.upstream).await;
    }

    pub fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    /// A file beside the settings.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends `serve`, so that another process may append.
    pub fn stop(&mut self) {
        self.serve.running.terminate();
        let status = self.serve.running.end(LIMIT);
        assert!(status.success(), "{status}");
        self.stopped = true;
    }

    /// Another `almanac` of this environment on the same database: run to its end.
    pub fn run(&self, args: &[&str], reaching: bool) -> Output {
        self.command(args, reaching).output().unwrap()
    }

    /// The same, to be started.
    pub fn command(&self, args: &[&str], reaching: bool) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
        command.args(args).args(["--database-url", self.db.url().expose()]);
        // How the network is reached only concerns those who reach for it.
        command.args(if reaching { &self.flags[..] } else { &self.flags[..4] });
        end_with_this_thread(&mut command);
        command
    }

    /// Waits until this is shown to everybody.
    pub async fn shows(&self, uri: &str) {
        eventually(&format!("{} shows {uri}", self.environment), LIMIT, async || match self.is_shown(uri).await {
            true => Ok(()),
            false => Err(self.state(uri).await),
        })
        .await;
    }

    /// Waits until this is hidden, or gone.
    pub async fn hides(&self, uri: &str) {
        eventually(&format!("{} hides {uri}", self.environment), LIMIT, async || match self.is_shown(uri).await {
            false => Ok(()),
            true => Err(self.state(uri).await),
        })
        .await;
    }

    pub async fn is_shown(&self, uri: &str) -> bool {
        let shown = "select exists(select from calendar.events where uri = $1)
                         or exists(select from calendar.rsvps where uri = $1)";
        sqlx::query_scalar(shown).bind(uri).fetch_one(self.pool()).await.unwrap()
    }

    /// What is known of a record's account, for messages.
    async fn state(&self, uri: &str) -> String {
        let did = did_of(uri);
        let row: Option<String> = sqlx::query_scalar(
            "select concat_ws(' ', r.state, 'standing', r.standing, r.standing_rule, 'missing', r.identity_missing, 'pds', r.pds,
                 'job', j.state, j.reason, j.outcome, j.error,
                 'held', (select count(*) from ingest.held h where h.did = r.did))
             from ingest.repo r left join source.backfill_job j using (did) where did = $1",
        )
        .bind(did)
        .fetch_optional(self.pool())
        .await
        .unwrap();
        format!("{row:?}, quarantine {:?}", self.quarantine(did).await)
    }

    /// What lies in quarantine of an account: reason, rule, and the records that it is about (none: the account was offered).
    pub async fn quarantine(&self, did: &str) -> Vec<(String, Option<i16>, Vec<String>)> {
        sqlx::query_as("select reason, rule, paths from ingest.quarantine where did = $1 order by id")
            .bind(did)
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// Waits until this record lies in quarantine, with its bytes, for this reason and by this rule (0: none); then sees to it
    /// that nothing of its account shows anywhere.
    pub async fn refused(&self, uri: &str, reason: &str, rule: i16) {
        self.quarantined(uri, reason, rule).await;
        self.nothing_of(did_of(uri)).await;
    }

    /// The first half of it: for accounts that are shown with other records.
    pub async fn quarantined(&self, uri: &str, reason: &str, rule: i16) {
        eventually(&format!("{uri} is in quarantine as {reason}"), LIMIT, async || {
            self.has_in_quarantine(uri, reason, rule).await
        })
        .await;
        assert!(!self.is_shown(uri).await, "{uri}");
        self.uncounted(uri).await;
        self.untold(uri).await;
    }

    /// Whether the record lies there with its bytes; an error says what is known.
    pub async fn has_in_quarantine(&self, uri: &str, reason: &str, rule: i16) -> Result<(), String> {
        let found: Option<i64> = sqlx::query_scalar(
            "select id from ingest.quarantine
             where did = $1 and $2 = any(paths) and reason = $3 and coalesce(rule, 0) = $4 and frame is not null",
        )
        .bind(did_of(uri))
        .bind(uri.splitn(4, '/').nth(3).unwrap())
        .bind(reason)
        .bind(rule)
        .fetch_optional(self.pool())
        .await
        .unwrap();
        if found.is_some() { Ok(()) } else { Err(self.state(uri).await) }
    }

    /// Waits until it is noted that an account was offered, and not fetched for this reason; nothing of it shows.
    pub async fn not_fetched(&self, did: &str, reason: &str, rule: i16) {
        eventually(&format!("{did} is not fetched as {reason}"), LIMIT, async || {
            let rows = self.quarantine(did).await;
            let found = rows.iter().any(|(r, by, paths)| r == reason && by.unwrap_or(0) == rule && paths.is_empty());
            if found { Ok(()) } else { Err(self.state(&format!("at://{did}/")).await) }
        })
        .await;
        self.nothing_of(did).await;
    }

    /// No word of the account in the log, no row, no count, no effect.
    pub async fn nothing_of(&self, did: &str) {
        let told: Vec<String> = sqlx::query_scalar("select kind from log.event where did = $1")
            .bind(did)
            .fetch_all(self.pool())
            .await
            .unwrap();
        assert_eq!(told, Vec::<String>::new(), "the log tells of {did}");
        let rows: i64 = sqlx::query_scalar(
            "select (select count(*) from calendar.events where did = $1)
                  + (select count(*) from calendar.rsvps where did = $1)
                  + (select count(*) from calendar.accounts where did = $1)
                  + (select count(*) from calendar.event_locations where uri like 'at://' || $1 || '/%')",
        )
        .bind(did)
        .fetch_one(self.pool())
        .await
        .unwrap();
        assert_eq!(rows, 0, "rows of {did}");
        self.untold(&format!("at://{did}/")).await;
    }

    /// Waits until the app was told of this record.
    pub async fn told(&self, uri: &str) {
        eventually(&format!("the app of {} is told of {uri}", self.environment), LIMIT, async || {
            if self.receiver.about(uri).is_empty() { Err(self.state(uri).await) } else { Ok(()) }
        })
        .await;
    }

    /// The whole log was looked at for effects, and nobody is told of what begins like this.
    pub async fn untold(&self, uri: &str) {
        eventually("the whole log is looked at", LIMIT, async || {
            let (head, done): (i64, Option<i64>) =
                sqlx::query_as("select position, (select position from effects.checkpoint) from log.head")
                    .fetch_one(self.pool())
                    .await
                    .unwrap();
            if done >= Some(head) || self.stopped { Ok(()) } else { Err(format!("{done:?} of {head}")) }
        })
        .await;
        let about: Vec<(String, Option<String>)> =
            sqlx::query_as("select subscription, uri from effects.delivery where starts_with(uri, $1)")
                .bind(uri)
                .fetch_all(self.pool())
                .await
                .unwrap();
        assert!(about.is_empty(), "somebody is to be told: {about:?}");
        let told = self.receiver.received();
        assert!(!told.iter().any(|told| told.uri().starts_with(uri)), "somebody was told: {told:?}");
    }

    /// A record in quarantine is counted nowhere: the counts are those of the RSVPs that show.
    pub async fn uncounted(&self, uri: &str) {
        let subjects: Vec<String> = sqlx::query_scalar(
            "select subject_uri from calendar.rsvp_counts c where going + interested + notgoing + other > (
                 select count(*) from calendar.rsvps r where r.subject_uri = c.subject_uri)",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        assert_eq!(subjects, Vec::<String>::new(), "counted without a row, after {uri}");
    }

    /// Nothing that belongs is held back: of these accounts nothing is in quarantine, and no frame waits.
    pub async fn nothing_held_back(&self, dids: &[&str]) {
        for did in dids {
            let rows = self.quarantine(did).await;
            assert!(rows.is_empty(), "{did} belongs here, and is in quarantine: {rows:?}");
            assert_eq!(self.waiting(did).await, 0, "frames of {did} wait");
        }
    }

    /// Waits until the lists of accounts were read once, and every job that came of it is done.
    pub async fn has_looked_around(&self) {
        let open = "select (select count(*) from source.discovery where finished_at is null)
             + (select count(*) from source.backfill_job where state in ('queued', 'running'))
             + (select count(*) from (select) as nothing where not exists (select from source.discovery))";
        eventually("everybody was looked at once", LIMIT, async || {
            match sqlx::query_scalar::<_, i64>(open).fetch_one(self.pool()).await.unwrap() {
                0 => Ok(()),
                open => Err(format!("{open} lists or jobs are open")),
            }
        })
        .await;
    }

    /// Waits until a job that began after this call found the account as its host shows it.
    pub async fn is_compared(&self, did: &str) {
        let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(self.pool()).await.unwrap();
        let done =
            "select exists (select from source.backfill_job where did = $1 and state = 'done' and started_at > $2)";
        eventually(&format!("{did} is compared with its host"), LIMIT, async || {
            match sqlx::query_scalar(done).bind(did).bind(now).fetch_one(self.pool()).await.unwrap() {
                true => Ok(()),
                false => Err(self.state(&format!("at://{did}/")).await),
            }
        })
        .await;
    }

    /// How many frames of an account wait.
    pub async fn waiting(&self, did: &str) -> i64 {
        let count = "select count(*) from ingest.held where did = $1";
        sqlx::query_scalar(count).bind(did).fetch_one(self.pool()).await.unwrap()
    }

    /// Waits until the log holds these verdicts about an account, in order: whether its records are kept, and the word.
    pub async fn verdicts(&self, did: &str, want: &[&str]) {
        eventually(&format!("verdicts about {did} are {want:?}"), LIMIT, async || {
            let told: Vec<String> =
                sqlx::query_scalar("select status from log.event where did = $1 and kind = 'origin' order by position")
                    .bind(did)
                    .fetch_all(self.pool())
                    .await
                    .unwrap();
            if told == want { Ok(()) } else { Err(format!("{told:?}, {}", self.state(&format!("at://{did}/")).await)) }
        })
        .await;
    }

    /// Makes an account one of our users', known to live on `pds`.
    pub async fn link(&self, user: &str, did: &str, pds: &str) {
        let did = Did::parse(did).unwrap();
        let mut tx = self.pool().begin().await.unwrap();
        identity::link(&mut tx, user, &did, None, pds, true).await.unwrap();
        lists::note(&mut tx, &did, ListChange::Link, "test", "they are one").await.unwrap();
        tx.commit().await.unwrap();
        eventually("the link is in the log", LIMIT, async || {
            let count = "select count(*) from log.event where did = $1 and kind = 'list'";
            let told: i64 = sqlx::query_scalar(count).bind(did.as_str()).fetch_one(self.pool()).await.unwrap();
            if told > 0 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
}

/// The DID in an AT-URI.
pub fn did_of(uri: &str) -> &str {
    uri.strip_prefix("at://").unwrap().split('/').next().unwrap()
}

/// The account writes an event: its URI.
pub fn event(sim: &Sim, did: &str) -> String {
    let (path, _) = sim.create_event(did).unwrap();
    format!("at://{did}/{path}")
}

/// The account says that it comes to an event of anybody: the URI of that.
pub fn rsvp(sim: &Sim, did: &str, to: &str, at: &Sim) -> String {
    let path = to.splitn(4, '/').nth(3).unwrap();
    let cid = almanac::devnet::cbor::cid_of(&at.record(did_of(to), path).expect("the event stands"));
    let (path, _) = sim.create_rsvp(did, to, cid).unwrap();
    format!("at://{did}/{path}")
}
