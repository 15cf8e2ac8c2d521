//! A database given by address: what opens, and what the error says when it does not.

mod support;

use almanac::db::{self, DatabaseUrl, DbError, Target};
use sqlx::{AssertSqlSafe, Connection, Executor, migrate::Migrate};
use support::postgres::TestDb;

async fn error_of(url: &str) -> DbError {
    match db::open(&Target::Url(url.parse().unwrap()), 1).await {
        Ok(_) => panic!("{url} opens"),
        Err(error) => error,
    }
}

fn check(error: &DbError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    let all = format!("{text} {error:?}");
    assert!(!all.contains("hunter2"), "a password is told: {all}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_repeating_it() {
    for text in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:99999999/d", "postgres://u:hunter2@h/d?sslmode=maybe"]
    {
        let error = text.parse::<DatabaseUrl>().unwrap_err();
        check(&error, &["database URL", "postgres://user:password@host:5432/almanac"]);
    }
}

#[test]
fn a_password_does_not_print() {
    let url: DatabaseUrl = "postgres://me:hunter2@db.example:5433/almanac?sslmode=require".parse().unwrap();
    assert_eq!(format!("{url:?}"), "DatabaseUrl(…)");
    assert_eq!(format!("{:?}", Target::Url(url.clone())), "Url(DatabaseUrl(…))");
    assert_eq!(url.redacted(), "postgres://me@db.example:5433/almanac");
    assert!(url.expose().contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = error_of(&format!("postgres://me:hunter2@127.0.0.1:{port}/almanac")).await;
    assert!(matches!(error, DbError::CannotConnect { .. }), "{error:?}");
    check(&error, &[&format!("postgres://me@127.0.0.1:{port}/almanac"), "refused", "firewall"]);
}

#[tokio::test]
async fn a_missing_database_is_named_with_the_command_that_makes_it() {
    let test = TestDb::empty().await;
    let error = error_of(&test.url().expose().replace("/test_", "/no_such_")).await;
    assert!(matches!(error, DbError::NoSuchDatabase { .. }), "{error:?}");
    check(&error, &["createdb", "no_such_"]);
}

#[tokio::test]
async fn an_unknown_role_is_refused_by_name() {
    let test = TestDb::empty().await;
    let error = error_of(&test.url().expose().replace("://almanac@", "://stranger:hunter2@")).await;
    assert!(matches!(error, DbError::Refused { .. }), "{error:?}");
    check(&error, &["stranger", "pg_hba.conf"]);
}

#[tokio::test]
async fn connections_have_a_name_and_no_time_limit() {
    let test = TestDb::empty().await;
    let name = test.url().expose().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let limit = format!("alter database {name} set statement_timeout = '1s'");
    sqlx::query(AssertSqlSafe(limit)).execute(test.pool()).await.unwrap();
    let db = db::open(&Target::Url(test.url().clone()), 1).await.unwrap();
    let show = "select current_setting('application_name'), current_setting('statement_timeout')";
    let expected = ("almanac".to_owned(), "0".to_owned());
    assert_eq!(sqlx::query_as::<_, (String, String)>(show).fetch_one(db.pool()).await.unwrap(), expected);
    let mut own = db.connect().await.unwrap();
    assert_eq!(sqlx::query_as::<_, (String, String)>(show).fetch_one(&mut own).await.unwrap(), expected);
    own.close().await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn four_at_once_migrate_once() {
    let test = TestDb::empty().await;
    let migrate = || async { test.db().migrate().await.unwrap() };
    tokio::join!(migrate(), migrate(), migrate(), migrate());
    let applied: i64 =
        sqlx::query_scalar("select count(*) from _sqlx_migrations").fetch_one(test.pool()).await.unwrap();
    assert_eq!(applied, sqlx::migrate!("./migrations").iter().count() as i64);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let test = TestDb::fresh().await;
    let later = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9999, 'later', true, '', 0)";
    test.pool().execute(later).await.unwrap();
    let error = test.db().migrate().await.unwrap_err();
    assert!(matches!(error, DbError::Newer { applied: 9999, .. }), "{error:?}");
    check(&error, &["newer than this program", "9999"]);
    // The failed attempt holds no lock: the next one gets its answer as well.
    assert!(matches!(test.db().migrate().await, Err(DbError::Newer { .. })));
    let mut other = test.db().connect().await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(30), other.lock()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_database_of_another_build_is_refused() {
    let test = TestDb::fresh().await;
    test.pool().execute("update _sqlx_migrations set checksum = 'other' where version = 1").await.unwrap();
    let error = test.db().migrate().await.unwrap_err();
    assert!(matches!(error, DbError::Foreign { version: 1 }), "{error:?}");
}
