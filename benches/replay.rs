//! Dumps replayed by the code that `almanac replay` runs, into nothing and into Postgres.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use almanac::config::{Layers, Settings};
use almanac::db::embedded::{Server, ServerOptions};
use almanac::db::{self, Db, EmbeddedError, Target};
use almanac::decode::{self, Message};
use almanac::devnet::Mix;
use almanac::event_log;
use almanac::service::replay::{Options, Progress, Speed, replay};
use almanac::source::dump::DumpReader;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::clock::{Cost, Stopwatch};
use crate::contest::{Contender, Contest, Outcome};
use crate::fixture::{Frames, Scale};
use crate::postgres;

/// Runs the chosen paths.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) {
    let (null, postgres) = (chosen("replay to nothing"), chosen("replay to Postgres"));
    if !null && !postgres {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    let layers = Layers::read(None, [], []).expect("defaults are settings");
    let settings = Settings::check(&layers).expect("defaults are settings");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    if null {
        let network = Frames::make(Mix::Network, scale);
        let dump = network.dump(folder.path());
        results.push(to_nothing(&runtime, &settings, &network, &dump).run(scale));
    }
    if postgres {
        let calendar = Frames::make(Mix::Calendar, scale);
        let dump = calendar.dump(folder.path());
        let (_folder, server) = runtime.block_on(start_server());
        // Every commit is verified in full, with the keys of the accounts' documents.
        let documents = calendar.did_docs(folder.path()).display().to_string();
        let layers = Layers::read(None, [], [("verify.did_docs", "did-docs", vec![documents])]);
        let verifying = Settings::check(&layers.expect("a flag is a setting")).expect("a path is a setting");
        results.push(to_postgres(&runtime, (&settings, &verifying), &server, &calendar, &dump).run(scale));
        runtime.block_on(server.stop());
    }
}

/// One replay by the real path. Returns frames and events.
pub async fn replayed(settings: &Settings, db: Option<Db>, dump: &Path) -> (u64, u64) {
    let options =
        Options { files: vec![dump.to_owned()], range: None, speed: Speed::Max, declared: None, as_foreign: false };
    let (_never, stopped) = watch::channel(false);
    let outcome = replay(settings, db, options, Arc::new(Progress::default()), stopped, |why| panic!("{why}"))
        .await
        .expect("a dump of ours is replayed")
        .expect("nobody told it to stop");
    assert!(outcome.problems.is_empty(), "a dump of ours is whole");
    assert!(outcome.report.tally.refused_by_reason().is_empty(), "nothing that the generator writes is refused");
    (outcome.report.tally.frames, outcome.report.appended)
}

fn to_nothing<'a>(runtime: &'a Runtime, settings: &'a Settings, frames: &'a Frames, dump: &'a Path) -> Contest<'a> {
    let almanac = || {
        let watch = Stopwatch::start(None);
        let (frames, _) = runtime.block_on(replayed(settings, None, dump));
        (frames, watch.cost())
    };
    let container = move || {
        let watch = Stopwatch::start(None);
        let frames = DumpReader::open(dump).expect("the dump is there").map(|frame| frame.expect("the dump is whole"));
        (frames.count() as u64, watch.cost())
    };
    let content: usize = frames.frames.iter().map(|frame| 4 + frame.len()).sum();
    let decompression = move || {
        let watch = Stopwatch::start(None);
        let file = std::fs::File::open(dump).expect("the dump is there");
        let mut decoder = zstd::Decoder::new(file).expect("the dump is compressed");
        let mut buffer = vec![0; 256 * 1024];
        let mut read = 0;
        loop {
            match decoder.read(&mut buffer).expect("the dump is whole") {
                0 => break,
                more => read += more,
            }
        }
        assert_eq!(read, content);
        (frames.frames.len() as u64, watch.cost())
    };
    Contest {
        name: "replay to nothing",
        input: format!("{}, compressed", frames.describe()),
        unit: "frames",
        units: frames.frames.len() as u64,
        rounds: 11,
        contenders: vec![
            Contender { name: "Almanac", run: Box::new(almanac) },
            Contender { name: "reading the dump, doing nothing", run: Box::new(container) },
            Contender { name: "zstd decompression alone", run: Box::new(decompression) },
        ],
    }
}

/// A durable private server on an empty folder, where the tests have theirs.
pub async fn start_server() -> (TempDir, Server) {
    let folder = postgres::data_dir();
    let mut options = ServerOptions::default();
    let server = match Server::start(folder.path(), options.clone()).await {
        Err(EmbeddedError::NoBinaries { .. }) => {
            options.search.pg_bin = Some(postgres::installed_binaries().await);
            Server::start(folder.path(), options).await
        }
        started => started,
    };
    (folder, server.expect("a private Postgres starts"))
}

/// A record as the yardsticks store it.
struct Row {
    did: String,
    collection: String,
    rkey: String,
    rev: String,
    cid: String,
    record: Vec<u8>,
}

/// What the replay keeps of records, ready to be written.
fn rows(frames: &Frames) -> Vec<Row> {
    let mut rows = Vec::new();
    for frame in &frames.frames {
        let outline = decode::outline(frame).expect("the generator writes frames");
        let wanted = |collection: &str| {
            ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"].contains(&collection)
        };
        let message = decode::decode(frame, &outline, wanted, &decode::Checks::NONE);
        let Message::Commit(commit) = message.expect("the generator writes frames") else { continue };
        rows.extend(commit.ops.iter().map(|op| Row {
            did: commit.did.to_string(),
            collection: op.collection.to_string(),
            rkey: op.rkey.to_string(),
            rev: commit.rev.to_string(),
            cid: op.record.as_ref().map(|record| record.cid.to_string()).unwrap_or_default(),
            record: op.record.as_ref().map(|record| record.bytes.to_vec()).unwrap_or_default(),
        }));
    }
    rows
}

/// Rows in one transaction of the yardsticks.
const BATCH: usize = 1000;

fn to_postgres<'a>(
    runtime: &'a Runtime,
    (settings, verifying): (&'a Settings, &'a Settings),
    server: &'a Server,
    frames: &Frames,
    dump: &'a Path,
) -> Contest<'a> {
    let rows: Arc<[Row]> = rows(frames).into();
    let units = rows.len() as u64;
    let almanac = move |settings: &'a Settings, who: &'static str, count: u32| {
        runtime.block_on(async {
            // A database of its own: what the last round left would be duplicates.
            let name = format!("bench_{who}_{count}");
            server.connect_or_create(&name).await.expect("a database can be made").close().await.ok();
            let db = db::open(&Target::Url(server.url(&name)), 10).await.expect("the new database opens");
            db.migrate().await.expect("an empty database can be migrated");
            event_log::stamp(db.pool(), &settings.environment).await.expect("an empty database has no environment");
            let watch = Stopwatch::start(server.process_id());
            replayed(settings, Some(db.clone()), dump).await;
            let cost = watch.cost();
            let kept = "select count(*) from log.event where kind in ('put', 'delete')";
            let kept: i64 = sqlx::query_scalar(kept).fetch_one(db.pool()).await.expect("the log can be counted");
            db.close().await;
            run_sql(&mut admin(server).await, format!("drop database {name} with (force)")).await;
            (u64::try_from(kept).expect("a count is not negative"), cost)
        })
    };
    let contender = |name, settings: &'a Settings, who| {
        let mut count = 0;
        let run = move || {
            count += 1;
            almanac(settings, who, count)
        };
        Contender { name, run: Box::new(run) as Box<dyn FnMut() -> (u64, Cost)> }
    };
    let yardstick = |name, how: How| {
        let rows = rows.clone();
        let run = move || runtime.block_on(write_bare(server, &rows, how));
        Contender { name, run: Box::new(run) as Box<dyn FnMut() -> (u64, Cost)> }
    };
    Contest {
        name: "replay to Postgres",
        input: format!("{}, compressed, durable commits", frames.describe()),
        unit: "records",
        units,
        rounds: 5,
        contenders: vec![
            contender("Almanac: decoded, fully verified, logged, folded, indexed", verifying, "verified"),
            contender("Almanac: the same, nothing verified", settings, "trusting"),
            yardstick("the decoded records into one bare table, COPY", How::Copy),
            yardstick("the decoded records into one bare table, UNNEST", How::Unnest),
            yardstick("the decoded records into one bare table, row by row", How::RowByRow),
        ],
    }
}

#[derive(Clone, Copy)]
enum How {
    Copy,
    Unnest,
    RowByRow,
}

/// Writes the rows into a fresh table with a key, [`BATCH`] to a transaction, and nothing else.
async fn write_bare(server: &Server, rows: &[Row], how: How) -> (u64, Cost) {
    let mut connection = admin(server).await;
    run_sql(&mut connection, "drop table if exists bare".to_owned()).await;
    let table = "create table bare (did text collate \"C\", collection text collate \"C\", rkey text collate \"C\",
         rev text collate \"C\", cid text, record bytea, primary key (did, collection, rkey, rev))";
    run_sql(&mut connection, table.to_owned()).await;
    let watch = Stopwatch::start(server.process_id());
    for batch in rows.chunks(BATCH) {
        let mut tx = connection.begin().await.expect("a transaction begins");
        match how {
            How::Copy => copy(&mut tx, batch).await,
            How::Unnest => unnest(&mut tx, batch).await,
            How::RowByRow => {
                for row in batch {
                    row_by_row(&mut tx, row).await;
                }
            }
        }
        tx.commit().await.expect("a transaction commits");
    }
    let cost = watch.cost();
    let written: i64 =
        sqlx::query_scalar("select count(*) from bare").fetch_one(&mut connection).await.expect("rows can be counted");
    connection.close().await.ok();
    (u64::try_from(written).expect("a count is not negative"), cost)
}

async fn copy(connection: &mut PgConnection, rows: &[Row]) {
    let mut text = String::new();
    for row in rows {
        let record = data_encoding::HEXLOWER.encode(&row.record);
        text += &format!("{}\t{}\t{}\t{}\t{}\t\\\\x{record}\n", row.did, row.collection, row.rkey, row.rev, row.cid);
    }
    let mut copy = connection.copy_in_raw("copy bare from stdin").await.expect("COPY begins");
    copy.send(text.as_bytes()).await.expect("COPY goes on");
    copy.finish().await.expect("COPY ends");
}

async fn unnest(connection: &mut PgConnection, rows: &[Row]) {
    sqlx::query(
        "insert into bare
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])",
    )
    .bind(rows.iter().map(|row| row.did.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.collection.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.rkey.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.rev.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.cid.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.record.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .expect("rows are inserted");
}

async fn row_by_row(connection: &mut PgConnection, row: &Row) {
    sqlx::query("insert into bare values ($1, $2, $3, $4, $5, $6)")
        .bind(&row.did)
        .bind(&row.collection)
        .bind(&row.rkey)
        .bind(&row.rev)
        .bind(&row.cid)
        .bind(&row.record)
        .execute(connection)
        .await
        .expect("a row is inserted");
}

/// A connection to a database beside those of the rounds.
pub async fn admin(server: &Server) -> PgConnection {
    server.connect_or_create("bench").await.expect("the private server answers")
}

/// Runs a statement of ours.
pub async fn run_sql(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.expect("a statement of ours is sound");
}
