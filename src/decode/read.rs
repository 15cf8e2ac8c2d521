//! Frames decoded whole: commits, syncs, identity and account events, infos and errors.
//!
//! In: a frame and its outline. Out: typed messages whose record bytes are slices of the frame. Always true: every block
//! that a message speaks of has been hash-checked, and a frame's `repo` and `rev` are the signed ones. How much of a commit
//! is proven beyond that is the caller's choice: [`Checks`]. Unknown fields are ignored; `tooBig`, `rebase` and `blobs` are
//! dead and ignored too.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::car::Car;
use super::cbor::Reader;
use super::checks::{Checks, Level};
use super::commit::SignedCommit;
use super::frame::{Kind, Ops, Outline};
use super::message::{Account, Commit, Identity, Message, Notice, Op, Record, Sync};
use super::mst;
use super::op::{Action, RawOp};
use super::record::check_record;
use super::{Reason, Reject};
use crate::event::{Cid, Codec, Did, Nsid, Rev, Rkey, Seq};

/// The `blocks` of a commit may have at most this many bytes.
pub const MAX_COMMIT_BLOCKS_BYTES: usize = 2_000_000;
/// The `blocks` of a sync may have at most this many bytes.
pub const MAX_SYNC_BLOCKS_BYTES: usize = 10_000;

/// A DID may have at most this many bytes. The syntax allows 2,048; the methods in use stay below 300, and keys that
/// hold a DID must fit a database index.
pub const MAX_DID_BYTES: usize = 512;

/// Decodes a frame and checks it as far as `checks` asks. Only records in collections that `wanted` names are looked at
/// and returned; the checks are about all operations of a commit.
///
/// # Errors
/// Every rule of [`Reason`] that needs nothing of the repository's past; for those that do, see
/// [`chain`](fn@super::chain).
pub fn decode(
    frame: &Bytes,
    outline: &Outline<'_>,
    wanted: impl Fn(&str) -> bool,
    checks: &Checks<'_>,
) -> Result<Message, Reject> {
    let mut reader = Reader::new(&frame[outline.body_at..]);
    let fields = match outline.kind {
        Kind::Unknown => return Ok(Message::Unknown),
        _ => Fields::read(&mut reader)?,
    };
    reader.finish()?;
    match outline.kind {
        Kind::Commit => commit(frame, outline, &fields, wanted, checks).map(Message::Commit),
        Kind::Sync => sync(outline, &fields, checks).map(Message::Sync),
        Kind::Identity => Ok(Message::Identity(Identity {
            did: did(outline)?,
            handle: fields.handle.map(Into::into),
            seq: seq(outline)?,
            time: time(outline)?,
        })),
        Kind::Account => Ok(Message::Account(Account {
            did: did(outline)?,
            active: need(fields.active, "active")?,
            status: fields.status.map(Into::into),
            seq: seq(outline)?,
            time: time(outline)?,
        })),
        Kind::Info => Ok(Message::Info(notice(fields.name, fields.message))),
        Kind::Error => Ok(Message::Error(notice(fields.error, fields.message))),
        Kind::Unknown => Ok(Message::Unknown),
    }
}

/// What the envelope of a commit claims of itself, unproven: its revision, and the CID of its commit object. For people who
/// look at what was refused.
pub fn claims(frame: &[u8], outline: &Outline<'_>) -> (Option<String>, Option<String>) {
    let mut reader = Reader::new(&frame[outline.body_at..]);
    match Fields::read(&mut reader) {
        Ok(fields) => (fields.rev.map(|rev| rev.chars().take(40).collect()), fields.commit.map(|cid| cid.to_string())),
        Err(_) => (None, None),
    }
}

/// The number of a field that is read, here or by the outline.
fn number_of(key: &[u8]) -> Option<u32> {
    Some(match key {
        b"ops" => 0,
        b"seq" => 1,
        b"repo" => 2,
        b"did" => 3,
        b"time" => 4,
        b"rev" => 5,
        b"since" => 6,
        b"blocks" => 7,
        b"commit" => 8,
        b"prevData" => 9,
        b"handle" => 10,
        b"active" => 11,
        b"status" => 12,
        b"name" => 13,
        b"error" => 14,
        b"message" => 15,
        _ => return None,
    })
}

/// The fields of every kind that are read beyond the outline.
#[derive(Default)]
struct Fields<'a> {
    rev: Option<&'a str>,
    since: Option<&'a str>,
    blocks: Option<&'a [u8]>,
    commit: Option<Cid>,
    prev_data: Option<Cid>,
    handle: Option<&'a str>,
    active: Option<bool>,
    status: Option<&'a str>,
    name: Option<&'a str>,
    error: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let mut fields = Fields::default();
        let mut seen = 0u32;
        let text_or_null = |reader: &mut Reader<'a>| if reader.null() { Ok(None) } else { reader.text().map(Some) };
        for _ in 0..reader.map()? {
            let key = reader.key()?;
            // Order does not matter, but two values for one field would let two readers see two frames.
            if let Some(known) = number_of(key) {
                if seen >> known & 1 == 1 {
                    return Err(Reject::new(Reason::DuplicateKey, format!("{} of the frame", key.escape_ascii())));
                }
                seen |= 1 << known;
            }
            match key {
                b"rev" => fields.rev = Some(reader.text()?),
                b"since" => fields.since = text_or_null(reader)?,
                b"blocks" => fields.blocks = Some(reader.bytes()?),
                b"commit" => fields.commit = Some(reader.link()?),
                b"prevData" => fields.prev_data = reader.link_or_null()?,
                b"handle" => fields.handle = text_or_null(reader)?,
                b"active" => fields.active = Some(reader.bool()?),
                b"status" => fields.status = text_or_null(reader)?,
                b"name" => fields.name = text_or_null(reader)?,
                b"error" => fields.error = text_or_null(reader)?,
                b"message" => fields.message = text_or_null(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }
}

fn commit(
    frame: &Bytes,
    outline: &Outline<'_>,
    fields: &Fields<'_>,
    wanted: impl Fn(&str) -> bool,
    checks: &Checks<'_>,
) -> Result<Commit, Reject> {
    let did = did(outline)?;
    let rev = rev(fields)?;
    let since = fields.since.map(|text| Rev::parse(text).map_err(bad_field)).transpose()?;
    let cid = need(fields.commit, "commit")?;
    let blocks = need(fields.blocks, "blocks")?;
    if blocks.len() > MAX_COMMIT_BLOCKS_BYTES {
        return Err(Reject::new(Reason::BlocksTooLarge, format!("{} bytes of blocks in a commit", blocks.len())));
    }
    checks.rev(rev)?;
    let car = Car::parse(blocks)?;
    if car.root() != cid {
        return Err(Reject::new(Reason::CarRoot, format!("root {}, but the commit is {cid}", car.root())));
    }
    let signed = SignedCommit::parse(car.block(&cid, "commit")?)?;
    agrees(&signed, &did, rev)?;
    checks.signature(&signed)?;
    let raw = checked_ops(&outline.ops, checks.level)?;
    if checks.level > Level::None {
        are_there(&car, &raw)?;
    }
    match checks.level {
        Level::None => {}
        Level::Signature => mst::check_leaves(&car, signed.data, &raw)?,
        Level::Full => mst::check_inversion(&car, signed.data, &raw, fields.prev_data)?,
    }
    let ops = raw.into_iter().filter(|op| wanted(op.collection()));
    let ops = ops.map(|op| decode_op(frame, &car, op)).collect::<Result<_, _>>()?;
    Ok(Commit {
        did,
        rev,
        since,
        cid,
        data: signed.data,
        prev_data: fields.prev_data,
        seq: seq(outline)?,
        time: time_or_rev(outline, rev),
        ops,
    })
}

/// Whether the envelope states what was signed.
fn agrees(signed: &SignedCommit<'_>, did: &Did, rev: Rev) -> Result<(), Reject> {
    if signed.did != *did {
        return Err(Reject::new(Reason::RepoMismatch, format!("frame of {did}, commit signed for {}", signed.did)));
    }
    if signed.rev != rev {
        return Err(Reject::new(Reason::RevMismatch, format!("frame says {rev}, commit is signed as {}", signed.rev)));
    }
    Ok(())
}

/// Whether the CAR has a block for each record that the operations write. Those that are used are also hash-checked.
fn are_there(car: &Car<'_>, ops: &[RawOp<'_>]) -> Result<(), Reject> {
    let missing = ops.iter().find_map(|op| op.cid.filter(|cid| !car.has(cid)).map(|cid| (op.path, cid)));
    match missing {
        None => Ok(()),
        Some((path, cid)) => Err(Reject::new(Reason::MissingBlock, format!("{path} {cid} is not in the CAR"))),
    }
}

/// The operations, none of which contradicts itself, no two of which touch one path. To be undone, each must also state
/// what it replaced or removed.
fn checked_ops<'a>(ops: &Ops<'a>, level: Level) -> Result<Vec<RawOp<'a>>, Reject> {
    let ops: Vec<RawOp<'a>> = ops.iter().collect::<Result<_, _>>()?;
    let states_prev = |op: &RawOp<'_>| level < Level::Full || op.prev.is_some();
    for op in &ops {
        let fits = match op.action {
            Action::Create => op.cid.is_some() && op.prev.is_none(),
            Action::Update => op.cid.is_some() && states_prev(op),
            Action::Delete => op.cid.is_none() && states_prev(op),
        };
        if !fits {
            let detail = format!("{} of {}: cid {:?}, prev {:?}", op.action.as_str(), op.path, op.cid, op.prev);
            return Err(Reject::new(Reason::OpShape, detail));
        }
    }
    if ops.len() < 2 {
        return Ok(ops);
    }
    let mut paths: Vec<&str> = ops.iter().map(|op| op.path).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Reject::new(Reason::DuplicatePath, pair[0])),
        None => Ok(ops),
    }
}

fn decode_op(frame: &Bytes, car: &Car<'_>, op: RawOp<'_>) -> Result<Op, Reject> {
    let wrong_path = || Reject::new(Reason::BadField, format!("path {:?} is not collection/rkey", op.path));
    let (collection, rkey) = op.path.split_once('/').ok_or_else(wrong_path)?;
    let collection = Nsid::parse(collection).map_err(|_| wrong_path())?;
    let rkey = Rkey::parse(rkey).map_err(|_| wrong_path())?;
    let record = match op.cid {
        None => None,
        Some(cid) if cid.codec() == Codec::Raw => {
            return Err(Reject::new(Reason::BlockShape, format!("record {} under a raw CID", op.path)));
        }
        Some(cid) => {
            let bytes = car.block(&cid, op.path)?;
            check_record(bytes)?;
            Some(Record { cid, bytes: frame.slice_ref(bytes) })
        }
    };
    Ok(Op { action: op.action, collection, rkey, record })
}

fn sync(outline: &Outline<'_>, fields: &Fields<'_>, checks: &Checks<'_>) -> Result<Sync, Reject> {
    let did = did(outline)?;
    let rev = rev(fields)?;
    let blocks = need(fields.blocks, "blocks")?;
    if blocks.len() > MAX_SYNC_BLOCKS_BYTES {
        return Err(Reject::new(Reason::BlocksTooLarge, format!("{} bytes of blocks in a sync", blocks.len())));
    }
    checks.rev(rev)?;
    let car = Car::parse(blocks)?;
    let cid = car.root();
    let signed = SignedCommit::parse(car.block(&cid, "commit")?)?;
    agrees(&signed, &did, rev)?;
    checks.signature(&signed)?;
    Ok(Sync { did, rev, cid, data: signed.data, seq: seq(outline)?, time: time_or_rev(outline, rev) })
}

fn notice(name: Option<&str>, message: Option<&str>) -> Notice {
    let cut = |text: Option<&str>| text.unwrap_or_default().chars().take(300).collect::<String>().into();
    Notice { name: cut(name), message: cut(message) }
}

fn need<T>(field: Option<T>, name: &str) -> Result<T, Reject> {
    field.ok_or_else(|| Reject::new(Reason::MissingField, name))
}

#[cold]
fn bad_field(e: crate::event::IdentError) -> Reject {
    Reject::new(Reason::BadField, e.to_string())
}

fn did(outline: &Outline<'_>) -> Result<Did, Reject> {
    if outline.did.len() > MAX_DID_BYTES {
        return Err(Reject::new(Reason::BadField, format!("DID of {} bytes", outline.did.len())));
    }
    Did::parse(outline.did).map_err(bad_field)
}

fn seq(outline: &Outline<'_>) -> Result<Seq, Reject> {
    need(outline.seq, "seq")
}

fn rev(fields: &Fields<'_>) -> Result<Rev, Reject> {
    Rev::parse(need(fields.rev, "rev")?).map_err(bad_field)
}

/// Reads a frame's time, which hosts write with `Z` or with an offset.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

fn time(outline: &Outline<'_>) -> Result<DateTime<Utc>, Reject> {
    parse_time(outline.time).ok_or_else(|| Reject::new(Reason::BadField, format!("time {:?}", outline.time)))
}

/// A commit is ordered by its revision, so its time only informs.
fn time_or_rev(outline: &Outline<'_>, rev: Rev) -> DateTime<Utc> {
    parse_time(outline.time).unwrap_or_else(|| {
        i64::try_from(rev.micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default()
    })
}
