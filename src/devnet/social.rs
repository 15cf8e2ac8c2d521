//! The rest of the network, which a calendar consumer reads only to skip it: likes, posts, reposts, follows, and the
//! long past of the repositories they are written to.

use std::sync::Arc;

use super::cbor::{Value, cid_of};
use super::dice::Dice;
use super::frames::datetime;
use super::mst::Mst;
use super::world::{Past, World};
use super::{Tid, Write, calendar};
use crate::event::{Cid, Codec};

const LIKE: &str = "app.bsky.feed.like";
const POST: &str = "app.bsky.feed.post";
const REPOST: &str = "app.bsky.feed.repost";
const FOLLOW: &str = "app.bsky.graph.follow";
const BLOCK: &str = "app.bsky.graph.block";
const PROFILE: &str = "app.bsky.actor.profile/self";

/// One commit in so many touches a calendar collection.
const CALENDAR_EVERY: u64 = 10_000;

/// The world of the network mix: `accounts` repositories that grew out of a few pasts of `records` records and less.
pub(super) fn populate(world: &mut World, accounts: usize, pasts: usize, records: usize) {
    let now = world.now() as u64;
    world.calendar_due = world.dice.below(100) as u64;
    for at in 0..pasts {
        // The largest is eight times the smallest: a few heavy users, many light ones.
        let size = (records >> (3 * at / pasts)).max(1);
        let past = past(&mut world.dice, now, size);
        world.pasts.push(past);
    }
    for _ in 0..accounts {
        let past = world.dice.below(pasts);
        world.add_person(Some(past));
    }
}

fn past(dice: &mut Dice, now: u64, records: usize) -> Past {
    const TWO_YEARS_MICROS: u64 = 63_072_000_000_000;
    let mut leaves: Vec<(Arc<str>, Cid)> = vec![(PROFILE.into(), Cid::new(Codec::DagCbor, dice.bytes()))];
    for _ in 0..records {
        let collection = match dice.below(100) {
            0..66 => LIKE,
            66..79 => POST,
            79..89 => REPOST,
            89..98 => FOLLOW,
            _ => BLOCK,
        };
        let age = dice.below(TWO_YEARS_MICROS as usize) as u64;
        let tid = Tid::new(now - 1_000_000 - age, dice.below(1024) as u16);
        leaves.push((format!("{collection}/{tid}").into(), Cid::new(Codec::DagCbor, dice.bytes())));
    }
    let tree = Mst::from_leaves(leaves);
    // From the tree, so that no key stands there twice.
    let keys = tree.leaves().into_iter().map(|(key, _)| key).filter(|key| **key != *PROFILE).collect();
    // Once computed here, node CIDs are shared by every repository that starts from this past.
    tree.root();
    Past { tree, keys, rev: Tid::new(now - 1_000_000, 1) }
}

/// Plans one step of the network mix: at least one happening.
pub(super) fn step(world: &mut World) {
    let planned = world.planned;
    if planned >= world.calendar_due {
        world.calendar_due += CALENDAR_EVERY;
        calendar::write_in_turn(world);
    } else {
        match world.dice.below(10_000) {
            0..6 => drop(world.plan_birth()),
            6..18 => calendar::repeat_identity(world),
            18..26 => calendar::hide(world),
            26..34 => calendar::come_back(world),
            34..42 => calendar::sync(world),
            _ => write(world),
        }
    }
    if world.planned == planned {
        world.plan_birth();
    }
}

fn write(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    let write = match world.dice.below(1000) {
        0..640 => create(world, who, LIKE),
        640..760 => create(world, who, POST),
        760..860 => create(world, who, REPOST),
        860..925 => create(world, who, FOLLOW),
        925..932 => create(world, who, BLOCK),
        932..936 => update_profile(world, who),
        _ => delete(world, who),
    };
    let Some(write) = write else { return };
    let mut writes = vec![write];
    // Threads and batches of follows arrive as one commit.
    if world.dice.permille(15) {
        for _ in 0..1 + world.dice.below(4) {
            writes.extend(create(world, who, FOLLOW));
        }
    }
    world.plan_commit(who, writes);
}

fn create(world: &mut World, who: usize, collection: &'static str) -> Option<Write> {
    let path = format!("{collection}/{}", world.rkey(who));
    let now = world.now();
    let record = record(&mut world.dice, collection, now);
    let recent = &mut world.people[who].recent;
    recent.push_back(path.clone());
    if recent.len() > 64 {
        recent.pop_front();
    }
    Some(Write::Create { path, record })
}

/// A record of about 305 bytes on the average over the mix.
fn record(dice: &mut Dice, collection: &'static str, now: i64) -> Vec<u8> {
    let mut fields = vec![("$type", Value::text(collection)), ("createdAt", Value::Text(datetime(now)))];
    match collection {
        FOLLOW | BLOCK => fields.push(("subject", Value::Text(format!("did:plc:{}", dice.base32(24))))),
        POST => {
            let len = 5 + dice.below(40);
            fields.push(("text", Value::Text(dice.words(WORDS, len))));
            fields.push(("langs", Value::List(vec![Value::text(dice.pick(&["en", "de", "ja", "pt"]))])));
            if dice.permille(450) {
                let reply = Value::map([("root", strong_ref(dice)), ("parent", strong_ref(dice))]);
                fields.push(("reply", reply));
            }
        }
        _ => {
            fields.push(("subject", strong_ref(dice)));
            if dice.permille(650) {
                fields.push(("via", strong_ref(dice)));
            }
        }
    }
    Value::map(fields).encode()
}

fn strong_ref(dice: &mut Dice) -> Value {
    let uri = format!("at://did:plc:{}/{POST}/3{}", dice.base32(24), dice.base32(12));
    Value::map([("uri", Value::Text(uri)), ("cid", Value::Text(cid_of(&dice.bytes()).to_string()))])
}

fn update_profile(world: &mut World, who: usize) -> Option<Write> {
    // Accounts born on the way have no profile to change.
    world.people[who].past?;
    let text = world.dice.words(WORDS, 12);
    let record = Value::map([
        ("$type", Value::text("app.bsky.actor.profile")),
        ("displayName", Value::text(world.people[who].account.handle.as_str())),
        ("description", Value::Text(text)),
    ]);
    Some(Write::Update { path: PROFILE.into(), record: record.encode() })
}

/// Takes back something recent, or else something of the past.
fn delete(world: &mut World, who: usize) -> Option<Write> {
    let person = &mut world.people[who];
    if world.dice.permille(500) || person.past.is_none() {
        let at = world.dice.below(person.recent.len());
        return person.recent.remove(at).map(|path| Write::Delete { path });
    }
    let keys = &world.pasts[person.past?].keys;
    let at = world.dice.below(keys.len());
    person.gone.insert(at as u32).then(|| Write::Delete { path: keys[at].to_string() })
}

const WORDS: &[&str] = &[
    "good",
    "morning",
    "sky",
    "the",
    "and",
    "of",
    "a",
    "coffee",
    "猫",
    "obrigado",
    "today",
    "look",
    "at",
    "this",
    "film",
    "is",
    "so",
    "lovely",
    "🦋",
    "heute",
    "wieder",
    "draußen",
    "новости",
    "again",
    "never",
    "music",
    "game",
    "goal",
];
