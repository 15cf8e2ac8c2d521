//! What people of the calendar network do, one step at a time.

use super::calendar_records as records;
use super::world::{Happening, Rsvp, World};
use super::{Write, cbor};

pub(super) const EVENT: &str = "community.lexicon.calendar.event";
pub(super) const RSVP: &str = "community.lexicon.calendar.rsvp";

/// Plans one step of the calendar mix: at least one happening.
pub(super) fn step(world: &mut World) {
    if world.people.len() < 8 || world.dice.permille(15) {
        world.plan_birth();
        return;
    }
    let planned = world.planned;
    match world.dice.below(1000) {
        0..15 => hide(world),
        15..35 => come_back(world),
        35..50 => change_handle(world),
        50..55 => repeat_identity(world),
        55..60 => sync(world),
        60..65 => commit_nothing(world),
        _ => write(world),
    }
    // What needed somebody or something that is not there.
    if world.planned == planned {
        world.plan_birth();
    }
}

/// Plans a change of calendar records by somebody active, if anybody is.
pub(super) fn write(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    match world.dice.below(100) {
        0..24 => create_event(world, who),
        24..33 => update_event(world, who),
        33..37 => delete_event(world, who),
        37..79 => create_rsvp(world, who),
        79..86 => update_rsvp(world, who),
        86..90 => delete_rsvp(world, who),
        90..94 => rsvp_again(world, who),
        94..97 => rsvps_before_event(world, who),
        _ => several_at_once(world, who),
    }
}

/// Plans a calendar commit where they are rare: an event, answers to it, then changes and an end, in turn.
pub(super) fn write_in_turn(world: &mut World) {
    let Some(anyone) = world.pick_active() else { return };
    let host = world.events.last().map(|event| event.author).filter(|&who| world.people[who].hidden.is_none());
    let guest = (0..world.people.len()).find(|&who| {
        let person = &world.people[who];
        person.hidden.is_none() && !person.rsvps.is_empty()
    });
    world.turn += 1;
    match world.turn % 6 {
        1 => create_event(world, anyone),
        2 | 3 => create_rsvp(world, anyone),
        4 => update_event(world, host.unwrap_or(anyone)),
        5 => update_rsvp(world, guest.unwrap_or(anyone)),
        _ => match world.dice.below(2) {
            0 => delete_rsvp(world, guest.unwrap_or(anyone)),
            _ => delete_event(world, host.unwrap_or(anyone)),
        },
    }
}

fn path(collection: &str, rkey: &str) -> String {
    format!("{collection}/{rkey}")
}

fn create_event(world: &mut World, who: usize) {
    let (rkey, now) = (world.rkey(who), world.now());
    let record = records::event(&mut world.dice, now);
    world.note_event(who, rkey.clone(), &record);
    world.plan_commit(who, vec![Write::Create { path: path(EVENT, &rkey), record }]);
}

/// One of the person's own standing events.
fn own_event(world: &mut World, who: usize) -> Option<usize> {
    let own: Vec<usize> = world.people[who].events.iter().copied().filter(|&event| world.events[event].alive).collect();
    own.get(world.dice.below(own.len())).copied()
}

fn update_event(world: &mut World, who: usize) {
    let Some(event) = own_event(world, who) else { return create_event(world, who) };
    let now = world.now();
    let record = records::event(&mut world.dice, now);
    world.events[event].cid = cbor::cid_of(&record);
    let path = path(EVENT, &world.events[event].rkey);
    world.plan_commit(who, vec![Write::Update { path, record }]);
}

fn delete_event(world: &mut World, who: usize) {
    let Some(event) = own_event(world, who) else { return create_event(world, who) };
    world.events[event].alive = false;
    let path = path(EVENT, &world.events[event].rkey);
    world.plan_commit(who, vec![Write::Delete { path }]);
}

/// The write of an RSVP to `event`, with the pin its author knew: now and then one that is already stale.
fn rsvp_write(world: &mut World, who: usize, event: usize) -> Write {
    let (rkey, now, uri) = (world.rkey(who), world.now(), world.event_uri(event));
    let pin = if world.dice.permille(50) { cbor::cid_of(&world.dice.bytes()) } else { world.events[event].cid };
    let record = records::rsvp(&mut world.dice, now, &uri, pin);
    world.people[who].rsvps.push(Rsvp { rkey: rkey.clone(), event });
    Write::Create { path: path(RSVP, &rkey), record }
}

fn create_rsvp(world: &mut World, who: usize) {
    let Some(event) = world.pick_event() else { return create_event(world, who) };
    let write = rsvp_write(world, who, event);
    world.plan_commit(who, vec![write]);
}

/// A second RSVP of one account to one event, under another key.
fn rsvp_again(world: &mut World, who: usize) {
    let rsvps = &world.people[who].rsvps;
    let at = world.dice.below(rsvps.len());
    let Some(event) = rsvps.get(at).map(|rsvp| rsvp.event) else { return create_rsvp(world, who) };
    let write = rsvp_write(world, who, event);
    world.plan_commit(who, vec![write]);
}

fn update_rsvp(world: &mut World, who: usize) {
    let rsvps = &world.people[who].rsvps;
    let at = world.dice.below(rsvps.len());
    let Some(Rsvp { rkey, event }) = rsvps.get(at) else { return create_rsvp(world, who) };
    let (path, uri, pin) = (path(RSVP, rkey), world.event_uri(*event), world.events[*event].cid);
    let now = world.now();
    let record = records::rsvp(&mut world.dice, now, &uri, pin);
    world.plan_commit(who, vec![Write::Update { path, record }]);
}

fn delete_rsvp(world: &mut World, who: usize) {
    if world.people[who].rsvps.is_empty() {
        return create_rsvp(world, who);
    }
    let at = world.dice.below(world.people[who].rsvps.len());
    let rsvp = world.people[who].rsvps.swap_remove(at);
    world.plan_commit(who, vec![Write::Delete { path: path(RSVP, &rsvp.rkey) }]);
}

/// Others answer an event whose own commit arrives after theirs.
fn rsvps_before_event(world: &mut World, who: usize) {
    let (rkey, now) = (world.rkey(who), world.now());
    let record = records::event(&mut world.dice, now);
    let event = world.note_event(who, rkey.clone(), &record);
    for _ in 0..1 + world.dice.below(3) {
        if let Some(guest) = world.pick_active() {
            let write = rsvp_write(world, guest, event);
            world.plan_commit(guest, vec![write]);
        }
    }
    world.plan_commit(who, vec![Write::Create { path: path(EVENT, &rkey), record }]);
}

/// One commit with several operations: some events, an answer to the last, and the end of something older.
fn several_at_once(world: &mut World, who: usize) {
    let mut writes = vec![];
    let old = own_event(world, who);
    let mut event = 0;
    for _ in 0..2 + world.dice.below(6) {
        let (rkey, now) = (world.rkey(who), world.now());
        let record = records::event(&mut world.dice, now);
        event = world.note_event(who, rkey.clone(), &record);
        writes.push(Write::Create { path: path(EVENT, &rkey), record });
    }
    writes.push(rsvp_write(world, who, event));
    if let Some(old) = old {
        world.events[old].alive = false;
        writes.push(Write::Delete { path: path(EVENT, &world.events[old].rkey) });
    }
    world.plan_commit(who, writes);
}

/// Somebody leaves, or is made to.
pub(super) fn hide(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    let status = world.dice.pick(&["deactivated", "deactivated", "deactivated", "takendown", "suspended", "deleted"]);
    let status = match status {
        // Deleted accounts do not come back, so they stay the few.
        "deleted" if world.dice.permille(500) => "deactivated",
        other => other,
    };
    world.plan_account(who, Some(status));
    if status == "deleted" {
        let person = &mut world.people[who];
        person.rsvps.clear();
        for event in std::mem::take(&mut person.events) {
            world.events[event].alive = false;
        }
    }
}

/// Somebody hidden returns, as the reference PDS tells it: account, identity, sync.
pub(super) fn come_back(world: &mut World) {
    let Some(who) = world.pick_hidden() else { return };
    let by_moderator = world.people[who].hidden == Some("takendown");
    world.plan_account(who, None);
    if !by_moderator {
        world.plan_identity(who);
        world.plan(who, |_, _| Happening::Sync);
    }
}

fn change_handle(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    let domains = world.domains;
    let handle = format!("{}.{}", world.dice.base32(8), domains[world.dice.below(2)]);
    // A label of a domain name may start with a digit, so the text needs no care.
    world.people[who].account.handle = handle;
    world.plan_identity(who);
}

/// An identity frame without news, one in two without a handle either.
pub(super) fn repeat_identity(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    if world.dice.permille(500) {
        world.plan_identity(who);
    } else {
        world.plan(who, |_, _| Happening::Identity { handle: None });
    }
}

pub(super) fn sync(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    world.plan(who, |_, _| Happening::Sync);
}

fn commit_nothing(world: &mut World) {
    let Some(who) = world.pick_active() else { return };
    world.plan_commit(who, vec![]);
}
