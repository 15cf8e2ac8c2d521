//! Acting for custodial accounts of the official PDS: tokens renewed once however many need them, in one process and in two;
//! what a dead token, a changed password, a takedown and a silent PDS lead to; and that no secret gets out.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod child;
    pub mod lossy;
    pub mod postgres;
    pub mod real_parts;
}

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use almanac::event::{Did, Environment};
use almanac::identity::credential::{self, CredentialName};
use almanac::identity::vault::{KeyRing, Vault};
use almanac::identity::{self, ActError, Custodial, Keeper, Session, Sessions, health};
use almanac::network::{Call, Network, NetworkOptions, ServiceUrl};
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use support::lossy::Lossy;
use support::postgres::TestDb;
use support::real_parts::{Account, RealParts};

const EVENT: &str = "community.lexicon.calendar.event";

/// A PDS behind a proxy, and a database of our users.
struct World {
    parts: RealParts,
    lossy: Lossy,
    db: TestDb,
    network: Network,
    vault: Arc<Vault>,
}

impl World {
    async fn new() -> Self {
        LazyLock::force(&LOG);
        let parts = RealParts::start().await;
        let lossy = Lossy::before(&parts.pds_url).await;
        let plc = ServiceUrl::parse(&parts.plc_url).unwrap();
        let network = Network::new(NetworkOptions { plc, allow_private: true, ..Default::default() }).unwrap();
        let ring = KeyRing::new(vec![("one".to_owned(), std::array::from_fn(|i| i as u8))]).unwrap();
        let vault = Arc::new(Vault::new(Environment::parse("test").unwrap(), ring));
        World { db: TestDb::fresh().await, parts, lossy, network, vault }
    }

    /// An account of the user of this name, with its password kept.
    async fn user(&self, name: &str) -> Account {
        let account = self.parts.create_account(name).await;
        let did = Did::parse(&account.did).unwrap();
        let mut tx = self.db.pool().begin().await.unwrap();
        identity::link(&mut tx, name, &did, None, &self.lossy.url, true).await.unwrap();
        tx.commit().await.unwrap();
        self.keep(name, &account, CredentialName::Password, self.parts.password()).await;
        account
    }

    async fn keep(&self, user: &str, account: &Account, name: CredentialName, secret: &str) {
        let mut connection = self.db.pool().acquire().await.unwrap();
        let secret = SecretString::from(secret);
        credential::store(&mut connection, &self.vault, user, &account.did, name, &secret).await.unwrap();
    }

    async fn kept(&self, user: &str, account: &Account, name: CredentialName) -> String {
        let secret = credential::load(self.db.pool(), &self.vault, user, &account.did, name).await.unwrap();
        secret.expect("it is kept").expose_secret().to_owned()
    }

    /// As a process that has just started: it remembers nothing.
    fn process(&self) -> Custodial {
        Custodial::new(self.db.pool().clone(), self.network.clone(), self.vault.clone())
    }

    fn sessions(&self, custodial: &Custodial) -> Sessions {
        Sessions::new(self.db.pool().clone(), vec![Arc::new(custodial.clone()) as Arc<dyn Keeper>])
    }

    fn asked(&self, method: &str) -> usize {
        self.lossy.count(&format!("com.atproto.server.{method}"))
    }

    async fn health(&self, account: &Account) -> (String, String) {
        let health = health::of(self.db.pool(), &account.did).await.unwrap().expect("it is custodial");
        (health.health, health.detail.unwrap_or_default())
    }

    /// The pause of a dead account is over.
    async fn end_pause(&self, account: &Account) {
        let over = "update identity.session set retry_at = now() - interval '1 second' where did = $1";
        sqlx::query(over).bind(&account.did).execute(self.db.pool()).await.unwrap();
    }

    /// From when on a dead account is tried again, in seconds from now.
    async fn pause(&self, account: &Account) -> f64 {
        let left = "select extract(epoch from retry_at - now())::float8 from identity.session where did = $1";
        sqlx::query_scalar(left).bind(&account.did).fetch_one(self.db.pool()).await.unwrap()
    }
}

fn put(account: &Account, rkey: &str) -> Value {
    let record = json!({ "$type": EVENT, "name": rkey, "createdAt": "2026-11-22T08:00:00.000Z" });
    json!({ "repo": account.did, "collection": EVENT, "rkey": rkey, "record": record })
}

async fn write(session: &dyn Session, account: &Account, rkey: &str) -> Result<Value, ActError> {
    session.call(Call::PutRecord, &[], Some(&put(account, rkey))).await
}

/// A token that ended long ago, by its own word.
fn ended() -> String {
    let payload = BASE64URL_NOPAD.encode(br#"{"exp":1700000000}"#);
    format!("eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln")
}

#[tokio::test]
async fn tokens_are_kept_and_renewed_once_however_many_need_them() {
    let world = World::new().await;
    let account = world.user("anna").await;
    let first = world.process();
    let session = world.sessions(&first).session_for("anna").await.unwrap();
    write(&*session, &account, "one").await.unwrap();
    write(&*session, &account, "two").await.unwrap();
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (1, 0));
    assert_eq!(world.health(&account).await.0, "ok");

    // Another process takes what is kept.
    let session = world.sessions(&world.process()).session_for("anna").await.unwrap();
    write(&*session, &account, "three").await.unwrap();
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (1, 0));

    // The token ended while nobody acted: two processes with fifty calls at once renew it once.
    world.keep("anna", &account, CredentialName::AccessToken, &ended()).await;
    let processes = [world.process(), world.process()];
    let calls = (0..50).map(|n| {
        let (world, account, custodial) = (&world, &account, &processes[n % 2]);
        async move {
            let session = world.sessions(custodial).session_for("anna").await.unwrap();
            write(&*session, account, &format!("n{n}")).await.unwrap();
        }
    });
    join_all(calls).await;
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (1, 1));
    let generation: i64 =
        sqlx::query_scalar("select generation from identity.session").fetch_one(world.db.pool()).await.unwrap();
    assert_eq!(generation, 2);

    // A token that does not tell its end is used until it is refused; then the same.
    world.keep("anna", &account, CredentialName::AccessToken, "opaque").await;
    let processes = [world.process(), world.process()];
    let calls = (0..50).map(|n| {
        let (world, account, custodial) = (&world, &account, &processes[n % 2]);
        async move {
            let session = world.sessions(custodial).session_for("anna").await.unwrap();
            write(&*session, account, &format!("m{n}")).await.unwrap();
        }
    });
    join_all(calls).await;
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (1, 2));
    assert_eq!(world.parts.list_records(&account.did, EVENT).await.len(), 103);

    // The refresh token is dead as well: the password opens the account once.
    world.keep("anna", &account, CredentialName::AccessToken, &ended()).await;
    world.keep("anna", &account, CredentialName::RefreshToken, "opaque").await;
    let custodial = world.process();
    let calls = (0..10).map(|n| {
        let (world, account, custodial) = (&world, &account, &custodial);
        async move {
            let session = world.sessions(custodial).session_for("anna").await.unwrap();
            write(&*session, account, &format!("o{n}")).await.unwrap();
        }
    });
    join_all(calls).await;
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (2, 3));

    // One that is known to have ended is not even sent.
    world.keep("anna", &account, CredentialName::AccessToken, &ended()).await;
    world.keep("anna", &account, CredentialName::RefreshToken, &ended()).await;
    world.sessions(&world.process()).session_for("anna").await.unwrap();
    assert_eq!((world.asked("createSession"), world.asked("refreshSession")), (3, 3));
}

#[tokio::test]
async fn an_account_that_lets_us_in_no_more_is_left_alone_until_something_changes() {
    let world = World::new().await;
    let account = world.user("anna").await;
    let custodial = world.process();
    let sessions = world.sessions(&custodial);
    let session = sessions.session_for("anna").await.unwrap();
    write(&*session, &account, "one").await.unwrap();

    // Its owner changes the password, which ends every session.
    let mut owner = account.clone();
    world.parts.change_password(&account.did, "the owner's own").await;
    world.parts.take_down(&owner).await;
    let error = write(&*session, &account, "two").await.unwrap_err();
    assert!(matches!(&error, ActError::Dead { why, .. } if why.contains("taken the account down")), "{error}");
    let (health, detail) = world.health(&account).await;
    assert!(health == "dead" && detail.contains("operator can lift"), "{health}: {detail}");
    let asked = world.asked("createSession");
    for _ in 0..20 {
        assert!(matches!(write(&*session, &account, "two").await, Err(ActError::Dead { .. })));
        assert!(matches!(sessions.session_for("anna").await.map(drop), Err(ActError::Dead { .. })));
        assert!(matches!(
            world.sessions(&world.process()).session_for("anna").await.map(drop),
            Err(ActError::Dead { .. })
        ));
    }
    assert_eq!(world.asked("createSession"), asked);

    // The takedown is lifted; the password stays another. Each try in vain makes the pause longer.
    world.parts.change_password(&account.did, world.parts.password()).await;
    world.parts.restore(&mut owner).await;
    world.parts.change_password(&account.did, "the owner's own").await;
    world.keep("anna", &account, CredentialName::AccessToken, &ended()).await;
    world.keep("anna", &account, CredentialName::RefreshToken, &ended()).await;
    let mut pauses = Vec::new();
    for tries in 1..=3 {
        world.end_pause(&account).await;
        let fresh = world.process();
        let calls = (0..10).map(|_| async {
            let error = world.sessions(&fresh).session_for("anna").await.map(drop).unwrap_err();
            assert!(matches!(&error, ActError::Dead { .. }), "{error}");
        });
        join_all(calls).await;
        assert_eq!(world.asked("createSession"), asked + tries);
        pauses.push(world.pause(&account).await);
    }
    assert!(pauses[0] > 100.0 && pauses[1] > 1.5 * pauses[0] && pauses[2] > 1.5 * pauses[1], "{pauses:?}");
    let (health, detail) = world.health(&account).await;
    assert!(health == "dead" && detail.contains("refuses the password") && detail.contains("release"), "{detail}");

    // The right password is stored: no pause has to end first.
    let error = world.sessions(&world.process()).session_for("anna").await.map(drop).unwrap_err();
    assert!(matches!(error, ActError::Dead { .. }));
    world.keep("anna", &account, CredentialName::Password, "the owner's own").await;
    assert!(world.pause(&account).await > 60.0);
    write(&*session, &account, "two").await.unwrap();
    assert_eq!(world.health(&account).await, ("ok".to_owned(), String::new()));

    // Switched off by its owner: the call itself says so.
    world.parts.switch(&account, false).await;
    let error = write(&*session, &account, "three").await.unwrap_err();
    assert!(matches!(&error, ActError::Dead { why, .. } if why.contains("deactivated")), "{error}");
    world.parts.switch(&account, true).await;
    world.end_pause(&account).await;
    write(&*session, &account, "three").await.unwrap();
    assert_eq!(world.health(&account).await.0, "ok");
}

#[tokio::test]
async fn a_pds_that_is_away_is_told_apart_from_an_account_that_is_dead() {
    let world = World::new().await;
    let account = world.user("anna").await;
    let bob = world.user("bob").await;
    world.lossy.down(true);
    let custodial = world.process();
    let sessions = world.sessions(&custodial);
    let error = sessions.session_for("anna").await.map(drop).unwrap_err();
    assert!(matches!(&error, ActError::Host(host) if host.passes() && host.never_sent), "{error}");
    let (health, detail) = world.health(&account).await;
    assert!(health == "unreachable" && detail.contains("host is up"), "{health}: {detail}");
    assert_eq!(world.health(&bob).await.0, "untried");
    world.lossy.down(false);
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    let session = loop {
        match sessions.session_for("anna").await {
            Ok(session) => break session,
            Err(error) => assert!(tokio::time::Instant::now() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(world.health(&account).await.0, "ok");

    // What nobody has tried is looked at before somebody needs it, and so is a token that ends soon.
    let ahead = Duration::from_secs(600);
    let due = |accounts: Vec<identity::Account>| accounts.into_iter().map(|a| a.user_id).collect::<Vec<_>>();
    assert_eq!(due(custodial.due(ahead, 10).await.unwrap()), ["bob"]);
    for account in custodial.due(ahead, 10).await.unwrap() {
        custodial.look_at(&account, ahead).await.unwrap();
    }
    assert_eq!(world.health(&bob).await.0, "ok");
    assert!(custodial.due(ahead, 10).await.unwrap().is_empty());
    write(&*session, &account, "one").await.unwrap();
    let three_hours = Duration::from_secs(3 * 3_600);
    assert_eq!(due(custodial.due(three_hours, 10).await.unwrap()), ["anna"], "bob was not acted for");
    let before = world.asked("refreshSession");
    let anna = custodial.due(three_hours, 10).await.unwrap().remove(0);
    custodial.look_at(&anna, three_hours).await.unwrap();
    assert_eq!(world.asked("refreshSession"), before + 1);

    // A renewal whose answer is lost is no loss: the host takes the refresh token once more, or else the password does.
    world.keep("bob", &bob, CredentialName::AccessToken, &ended()).await;
    world.lossy.drop_answer("refreshSession", 1);
    let sessions = world.sessions(&world.process());
    let error = sessions.session_for("bob").await.map(drop).unwrap_err();
    assert!(matches!(&error, ActError::Host(_)), "{error}");
    assert_eq!(world.lossy.dropped().len(), 1);
    let session = sessions.session_for("bob").await.unwrap();
    write(&*session, &bob, "one").await.unwrap();
    let numbers = health::counts(world.db.pool()).await.unwrap();
    assert!(numbers.contains(&("ok", 2)), "{numbers:?}");
}

#[tokio::test]
async fn many_accounts_at_once_leave_connections_for_others() {
    let world = World::new().await;
    let names = ["a-one", "a-two", "a-three", "a-four", "a-five", "a-six"];
    for name in names {
        world.user(name).await;
    }
    let slow = Duration::from_secs(5);
    world.lossy.slow("createSession", slow);
    let sessions = world.sessions(&world.process());
    let renewals = join_all(names.map(|name| sessions.session_for(name)));
    let others = async {
        let pool = world.db.pool();
        while (pool.size() as usize - pool.num_idle()) < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Seven of ten, while the host takes its time.
        let all = tokio::time::timeout(slow / 2, join_all((0..7).map(|_| pool.acquire()))).await;
        assert_eq!(all.expect("the renewals hold the connections").into_iter().filter(Result::is_ok).count(), 7);
    };
    let (renewed, ()) = tokio::join!(renewals, others);
    assert!(renewed.iter().all(Result::is_ok));
    assert_eq!(world.asked("createSession"), names.len());
}

/// What this process logged, everything.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    tracing::subscriber::set_global_default(subscriber.with_writer(move || writer.clone()).finish()).unwrap();
    log
});

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_logs_or_errors() {
    let world = World::new().await;
    let account = world.user("anna").await;
    let custodial = world.process();
    let sessions = world.sessions(&custodial);
    let session = sessions.session_for("anna").await.unwrap();
    write(&*session, &account, "one").await.unwrap();
    let mut secrets = vec![world.parts.password().to_owned(), "opaque-planted".to_owned()];
    for name in [CredentialName::AccessToken, CredentialName::RefreshToken] {
        secrets.push(world.kept("anna", &account, name).await);
    }
    let mut told = String::new();
    // Refused tokens, a refused password, a lost answer, a silent host.
    for name in [CredentialName::AccessToken, CredentialName::RefreshToken] {
        world.keep("anna", &account, name, "opaque-planted").await;
    }
    world.lossy.drop_answer("createSession", 1);
    let fresh = world.sessions(&world.process());
    for _ in 0..2 {
        let result = match fresh.session_for("anna").await {
            Ok(session) => write(&*session, &account, "two").await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            told.push_str(&format!("{error} {error:?}\n"));
        }
    }
    world.parts.change_password(&account.did, "another").await;
    for name in [CredentialName::AccessToken, CredentialName::RefreshToken] {
        secrets.push(world.kept("anna", &account, name).await);
        world.keep("anna", &account, name, "opaque-planted").await;
    }
    let fresh = world.sessions(&world.process());
    let result = match fresh.session_for("anna").await {
        Ok(session) => write(&*session, &account, "three").await.unwrap_err(),
        Err(error) => error,
    };
    told.push_str(&format!("{result} {result:?}\n"));
    assert!(matches!(result, ActError::Dead { .. }), "{result}");
    told.push_str(&format!("{:?}\n", world.health(&account).await));
    let log = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("does not let us in"), "nothing was logged");
    for secret in secrets {
        assert!(!log.contains(&secret) && !told.contains(&secret), "{secret} got out");
    }
}
