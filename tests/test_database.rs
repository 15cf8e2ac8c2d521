//! The harness that every other integration test stands on.

mod support;

use almanac::db::{self, DbError, Target};
use support::postgres::TestDb;

#[tokio::test]
async fn a_fresh_database_is_migrated_and_empty() {
    let test = TestDb::fresh().await;
    let events: i64 = sqlx::query_scalar("select count(*) from calendar.events").fetch_one(test.pool()).await.unwrap();
    assert_eq!(events, 0);
    // Nothing is left to migrate.
    test.db().migrate().await.unwrap();
}

#[tokio::test]
async fn two_databases_do_not_see_each_other() {
    let (one, two) = tokio::join!(TestDb::fresh(), TestDb::fresh());
    let write = "insert into log.environment (name) values ('dev')";
    sqlx::query(write).execute(one.pool()).await.unwrap();
    sqlx::query(write).execute(two.pool()).await.unwrap();
}

#[tokio::test]
async fn a_database_goes_with_its_test() {
    let test = TestDb::fresh().await;
    let url = test.url().clone();
    drop(test);
    let wait = async {
        loop {
            match db::open(&Target::Url(url.clone()), 1).await {
                Err(DbError::NoSuchDatabase { .. }) => return,
                // Still there, or in the middle of being dropped.
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.unwrap();
}
