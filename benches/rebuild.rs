//! The index made anew from the log, beside the bare writing of the same rows.

use std::fmt::Write;
use std::io::Write as _;

use almanac::config::{Layers, Settings};
use almanac::db::embedded::Server;
use almanac::db::{self, Db, Target};
use almanac::devnet::Mix;
use almanac::event_log;
use almanac::projection::{self, checksum};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Runtime;

use crate::clock::{Cost, Stopwatch};
use crate::contest::{Contender, Contest, Outcome};
use crate::fixture::{Frames, Scale};
use crate::replay::{replayed, run_sql, start_server};

/// The tables that are large.
const TABLES: [&str; 5] = ["words", "accounts", "events", "event_locations", "rsvps"];
/// Rows in one transaction of the yardsticks.
const BATCH: usize = 1000;

/// Events that the log is made to hold.
fn events(scale: Scale) -> i64 {
    match scale {
        Scale::Test => 300,
        Scale::Small => 100_000,
        Scale::Full => 1_000_000,
    }
}

/// Runs it.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) {
    if !chosen("rebuild") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    // The replay that the log grows from need not be long: what follows makes other accounts of it.
    let frames = Frames::make(Mix::Calendar, if scale == Scale::Test { Scale::Test } else { Scale::Small });
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dump = frames.dump(folder.path());
    let (_folder, server) = runtime.block_on(start_server());
    let db = runtime.block_on(async {
        let layers = Layers::read(None, [], []).expect("defaults are settings");
        let settings = Settings::check(&layers).expect("defaults are settings");
        let name = "bench_rebuild";
        server.connect_or_create(name).await.expect("a database can be made").close().await.ok();
        let db = db::open(&Target::Url(server.url(name)), 10).await.expect("the new database opens");
        db.migrate().await.expect("an empty database can be migrated");
        event_log::stamp(db.pool(), &settings.environment).await.expect("an empty database has no environment");
        replayed(&settings, Some(db.clone()), &dump).await;
        multiply(&db, events(scale)).await;
        // The first one is no round: the index does not show what was added to the log.
        projection::rebuild(&db, |_| {}).await.expect("the log can be folded");
        db
    });
    let outcome = contest(&runtime, &server, &db, scale).run(scale);
    results.push(outcome);
    runtime.block_on(db.close());
    runtime.block_on(server.stop());
}

fn contest<'a>(runtime: &'a Runtime, server: &'a Server, db: &'a Db, scale: Scale) -> Contest<'a> {
    let (units, bytes) = runtime.block_on(async {
        let units: i64 =
            sqlx::query_scalar("select position from log.head").fetch_one(db.pool()).await.expect("a head");
        let bytes: i64 = sqlx::query_scalar("select sum(octet_length(record))::bigint from log.event")
            .fetch_one(db.pool())
            .await
            .expect("a sum");
        (units.unsigned_abs(), bytes.unsigned_abs())
    });
    let sums = runtime.block_on(checksum(db.pool())).expect("the index can be summed");
    let almanac = move || {
        let cost = runtime.block_on(async {
            let watch = Stopwatch::start(server.process_id());
            projection::rebuild(db, |_| {}).await.expect("the log can be folded");
            watch.cost()
        });
        assert_eq!(
            runtime.block_on(checksum(db.pool())).expect("the index can be summed"),
            sums,
            "a rebuild changes nothing"
        );
        (runtime.block_on(rows(db, "calendar")), cost)
    };
    let yardstick = |name, how: How| {
        let run = move || runtime.block_on(bare(server, db, how));
        Contender { name, run: Box::new(run) as Box<dyn FnMut() -> (u64, Cost)> }
    };
    Contest {
        name: "rebuild",
        input: format!("a log of {units} events, {} bytes of record each, durable commits", bytes / units.max(1)),
        unit: "events",
        units,
        rounds: if scale == Scale::Full { 3 } else { 5 },
        contenders: vec![
            Contender { name: "Almanac: read, folded, indexed, exchanged", run: Box::new(almanac) },
            yardstick("the finished rows into the same tables with their indices, COPY", How::Copy),
            yardstick("the finished rows into the same tables with their indices, UNNEST upserts", How::Unnest),
        ],
    }
}

async fn rows(db: &Db, schema: &str) -> u64 {
    let mut rows = 0;
    for table in TABLES {
        let statement = AssertSqlSafe(format!("select count(*) from {schema}.{table}"));
        let count: i64 = sqlx::query_scalar(statement).fetch_one(db.pool()).await.expect("rows can be counted");
        rows += count.unsigned_abs();
    }
    rows
}

/// Makes the log hold about `wanted` events: what is there once more, as of other accounts. DIDs are as long as they were, so
/// that the records that name them stay whole.
async fn multiply(db: &Db, wanted: i64) {
    const COLUMNS: &str =
        "position, dedup, did, environment, kind, collection, rkey, rev, cid, record, active, status, handle,
        event_time, origin, upstream, seq, seen_at, live, verification, origin_rule, commit_cid, pds, detail";
    let mut connection = db.connect().await.expect("the private server answers");
    let statement = format!("copy (select {COLUMNS} from log.event order by position) to stdout");
    let out: Vec<bytes::Bytes> = connection
        .copy_out_raw(&statement)
        .await
        .expect("COPY begins")
        .try_collect()
        .await
        .expect("the log can be read");
    let text = String::from_utf8(out.concat()).expect("the log is text");
    let base: Vec<&str> = text.lines().collect();
    let have = i64::try_from(base.len()).expect("a log that was replayed is short");
    for copy in 1..wanted / have.max(1) {
        let mark = marked(copy);
        let hex = data_encoding::HEXLOWER.encode(mark.as_bytes());
        let mut rows = String::with_capacity(text.len());
        for line in &base {
            let mut fields = line.splitn(3, '\t');
            let (position, dedup) = (fields.next().expect("a position"), fields.next().expect("a key"));
            let position: i64 = position.parse().expect("a number");
            // COPY's text form doubles the backslash of bytes.
            write!(rows, "{}\t\\\\x{copy:06x}{}\t", position + copy * have, &dedup[9..]).expect("text can be written");
            renamed(fields.next().expect("the rest"), &mark, &hex, &mut rows);
            rows.push('\n');
        }
        let mut into =
            connection.copy_in_raw(&format!("copy log.event ({COLUMNS}) from stdin")).await.expect("COPY begins");
        into.send(rows.as_bytes()).await.expect("COPY goes on");
        into.finish().await.expect("COPY ends");
        if copy % 25 == 0 {
            eprintln!("rebuild: the log holds {} events", (copy + 1) * have);
        }
    }
    run_sql(&mut connection, "update log.head set position = (select max(position) from log.event)".to_owned()).await;
    run_sql(&mut connection, "vacuum analyze log.event".to_owned()).await;
}

/// Three digits of a DID.
fn marked(copy: i64) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..3).map(|place| DIGITS[(copy >> (5 * place) & 31) as usize] as char).collect()
}

/// Writes `line` with the last three digits of each DID exchanged, as text and in the bytes of records.
fn renamed(line: &str, mark: &str, hex: &str, out: &mut String) {
    const PLAIN: &str = "did:plc:";
    // The same, as COPY shows bytes.
    const BYTES: &str = "6469643a706c633a";
    let mut rest = line;
    loop {
        let next = [(PLAIN, 21, mark), (BYTES, 42, hex)]
            .into_iter()
            .filter_map(|(prefix, keep, mark)| rest.find(prefix).map(|at| (at + prefix.len() + keep, mark)))
            .min();
        match next {
            Some((end, mark)) if end + mark.len() <= rest.len() => {
                out.push_str(&rest[..end]);
                out.push_str(mark);
                rest = &rest[end + mark.len()..];
            }
            _ => return out.push_str(rest),
        }
    }
}

#[derive(Clone, Copy)]
enum How {
    Copy,
    Unnest,
}

/// Writes the index's rows into tables of the same shape, [`BATCH`] to a transaction.
async fn bare(server: &Server, db: &Db, how: How) -> (u64, Cost) {
    let mut connection = db.connect().await.expect("the private server answers");
    run_sql(&mut connection, "drop schema if exists bare cascade; create schema bare".to_owned()).await;
    let mut cost: Option<Cost> = None;
    for table in TABLES {
        run_sql(&mut connection, format!("create table bare.{table} (like calendar.{table} including all)")).await;
        let statement = "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = ('calendar.' || $1)::regclass and attnum > 0 and not attisdropped and attgenerated = ''
             order by attnum";
        let columns: Vec<(String, String)> =
            sqlx::query_as(statement).bind(table).fetch_all(&mut connection).await.expect("a table has columns");
        let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        // Through a file: a million rows do not fit into memory beside a server.
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        let mut out =
            connection.copy_out_raw(&format!("copy calendar.{table} ({names}) to stdout")).await.expect("COPY begins");
        while let Some(bytes) = out.try_next().await.expect("COPY goes on") {
            file.write_all(&bytes).expect("a temporary file can be written");
        }
        drop(out);
        std::io::Seek::rewind(&mut file).expect("a file can be rewound");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(file));
        let upsert = upsert(table, &columns, &mut connection).await;
        let watch = Stopwatch::start(server.process_id());
        loop {
            let batch: Vec<String> =
                lines.by_ref().take(BATCH).map(|line| line.expect("a temporary file can be read")).collect();
            if batch.is_empty() {
                break;
            }
            match how {
                How::Copy => {
                    let statement = format!("copy bare.{table} ({names}) from stdin");
                    let mut copy = connection.copy_in_raw(&statement).await.expect("COPY begins");
                    copy.send((batch.join("\n") + "\n").as_bytes()).await.expect("COPY goes on");
                    copy.finish().await.expect("COPY ends");
                }
                How::Unnest => {
                    let mut query = sqlx::query(AssertSqlSafe(upsert.clone()));
                    let rows: Vec<Vec<Option<String>>> =
                        batch.iter().map(|line| line.split('\t').map(unescaped).collect()).collect();
                    for column in 0..columns.len() {
                        query = query.bind(rows.iter().map(|row| row[column].as_deref()).collect::<Vec<_>>());
                    }
                    query.execute(&mut connection).await.expect("rows are inserted");
                }
            }
        }
        let spent = watch.cost();
        cost = Some(match cost {
            None => spent,
            Some(before) => Cost { cpu: before.cpu + spent.cpu, wall: before.wall + spent.wall },
        });
    }
    let written = rows(db, "bare").await;
    run_sql(&mut connection, "drop schema bare cascade".to_owned()).await;
    (written, cost.expect("there are tables"))
}

async fn upsert(table: &str, columns: &[(String, String)], connection: &mut PgConnection) -> String {
    let statement = "select string_agg(a.attname::text, ', ') from pg_index x
         join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any(x.indkey)
         where x.indrelid = ('calendar.' || $1)::regclass and x.indisprimary";
    let key: String = sqlx::query_scalar(statement).bind(table).fetch_one(connection).await.expect("a table has a key");
    let list = |of: &dyn Fn(usize, &str, &str) -> String| {
        columns.iter().enumerate().map(|(i, (name, kind))| of(i + 1, name, kind)).collect::<Vec<_>>().join(", ")
    };
    format!(
        "insert into bare.{table} ({names}) select {typed} from unnest({arrays}) as u ({names})
         on conflict ({key}) do update set {changes}",
        names = list(&|_, name, _| name.to_owned()),
        typed = list(&|_, name, kind| format!("{name}::{kind}")),
        arrays = list(&|n, _, _| format!("${n}::text[]")),
        changes = list(&|_, name, _| format!("{name} = excluded.{name}")),
    )
}

/// A field of COPY's text form.
fn unescaped(field: &str) -> Option<String> {
    if field == "\\N" {
        return None;
    }
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('b')) => out.push('\u{8}'),
            ('\\', Some('f')) => out.push('\u{c}'),
            ('\\', Some('v')) => out.push('\u{b}'),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    Some(out)
}
