use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::lenient::without_nul;
use super::*;
use crate::event::{
    AccountStatus, AtUri, Body, Cid, Codec, Decision, Did, Event, Handle, Logged, Nsid, Origin, OriginRule, Refusal,
    Rev, Rkey, Standing,
};

fn problems(problems: &[Problem]) -> Vec<(&str, &str)> {
    problems.iter().map(|p| (p.field.as_str(), p.problem.as_str())).collect()
}

#[test]
fn a_sound_event_is_read_whole() {
    let view = EventView::read(&json!({
        "$type": EVENT, "name": "Café", "description": "d", "createdAt": "2026-11-22T06:30:00.690Z",
        "startsAt": "2026-12-01T18:00:00+02:00", "endsAt": "2026-12-01T20:00:00+02:00",
        "mode": "community.lexicon.calendar.event#virtual", "status": "x#unknown", "rsvpExpected": true,
        "uris": [{"uri": "https://example.test", "name": "n"}, {"uri": "https://b.test"}],
        "locations": [
            {"$type": "community.lexicon.location.geo", "latitude": "0", "longitude": "-85.5"},
            {"$type": "community.lexicon.location.address", "country": "US", "locality": "Louisville"},
            {"$type": "community.lexicon.location.hthree", "value": "8928308280fffff"},
            {"$type": "community.lexicon.location.fsq", "fsq_place_id": "p"},
            {"$type": "community.lexicon.calendar.event#uri", "uri": "https://meet.test"},
            {"$type": "org.example.moon", "crater": 7},
        ],
    }));
    assert_eq!(problems(&view.problems), []);
    assert_eq!(view.starts_at.unwrap().to_rfc3339(), "2026-12-01T16:00:00+00:00");
    assert_eq!((view.locations[0].latitude, view.locations[0].longitude), (Some(0.0), Some(-85.5)));
    let kinds: Vec<_> = view.locations.iter().map(|l| l.kind.as_str()).collect();
    assert_eq!(kinds, ["geo", "address", "hthree", "fsq", "uri", "org.example.moon"]);
    assert_eq!(view.uris.len(), 2);
    assert_eq!(view.status.as_deref(), Some("x#unknown"));
}

#[test]
fn an_odd_event_is_read_as_far_as_it_goes() {
    let view = EventView::read(&json!({
        "name": 7, "startsAt": "2026-12-01T18:00", "endsAt": "2026-12-01", "createdAt": "yesterday", "mode": null,
        "rsvpExpected": "yes", "uris": ["x", {"name": "no uri"}],
        "locations": [
            "Hall",
            {"$type": "community.lexicon.location.geo", "latitude": "91", "longitude": "NaN"},
            {"$type": "community.lexicon.location.geo", "latitude": 12, "longitude": "-180"},
            {"name": "untyped"},
        ],
    }));
    assert_eq!(view.starts_at.unwrap().to_rfc3339(), "2026-12-01T18:00:00+00:00");
    assert_eq!(view.locations.len(), 4);
    assert_eq!(view.locations[2].latitude, Some(12.0));
    assert_eq!(
        problems(&view.problems),
        [
            ("name", "a number instead of text"),
            ("createdAt", "not a point in time"),
            ("startsAt", "no time zone; taken as UTC"),
            ("endsAt", "a date without a time; taken as midnight UTC"),
            ("endsAt", "before startsAt"),
            ("rsvpExpected", "text instead of true or false"),
            ("uris[0]", "not an object"),
            ("uris[1].uri", "missing"),
            ("locations[0]", "text instead of an object"),
            ("locations[1].latitude", "not a number of degrees between -90 and 90"),
            ("locations[1].longitude", "not a number of degrees between -180 and 180"),
            ("locations[2].latitude", "a number instead of text"),
            ("locations[3].$type", "missing"),
        ]
    );
}

#[test]
fn an_rsvp_is_decided_by_its_content() {
    let rkey = Rkey::parse("3n2uyhpluwr2l").unwrap();
    let subject = json!({"uri": "at://did:plc:abc/community.lexicon.calendar.event/x", "cid": "bafy"});
    let dated =
        RsvpView::read(&json!({"status": "going", "subject": subject, "createdAt": "2026-01-01T00:00:00Z"}), &rkey);
    assert_eq!(dated.decided_at.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert_eq!(dated.subject_uri, Some(AtUri::parse("at://did:plc:abc/community.lexicon.calendar.event/x").unwrap()));
    assert_eq!(problems(&dated.problems), []);
    let by_key = RsvpView::read(&json!({"status": "going", "subject": subject}), &rkey);
    assert_eq!(by_key.decided_at.unwrap().date_naive().to_string(), "2026-11-22");
    let neither = RsvpView::read(&json!({"subject": {"uri": "at://anna.test/x/y"}}), &Rkey::parse("self").unwrap());
    assert_eq!(neither.decided_at, None);
    assert_eq!(
        problems(&neither.problems),
        [("status", "missing"), ("subject.cid", "missing"), ("subject.uri", "not the AT-URI of a record by DID")]
    );
    assert_eq!(Answer::of(Some("community.lexicon.calendar.rsvp#notgoing")), Answer::NotGoing);
    assert_eq!(Answer::of(Some("org.example#going")), Answer::Other);
}

#[test]
fn characters_that_postgres_cannot_hold_are_replaced() {
    let mut value = json!({"a": ["x\0y"], "b\0": 1});
    assert!(without_nul(&mut value));
    assert_eq!(value, json!({"a": ["x\u{fffd}y"], "b\u{fffd}": 1}));
    assert!(!without_nul(&mut value));
}

fn rev(n: u64) -> Rev {
    let digits = b"234567abcdefghijklmnopqrstuvwxyz";
    let text: String = (0..13).map(|i| digits[(n >> (60 - 5 * i) & 31) as usize] as char).collect();
    Rev::parse(&text).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

const DECISIONS: [Decision; 4] = [
    Decision { standing: Standing::Kept(Origin::Network), rule: OriginRule::NetworkMode },
    Decision { standing: Standing::Kept(Origin::Own), rule: OriginRule::OwnAccount },
    Decision { standing: Standing::Refused(Refusal::Denied), rule: OriginRule::DenyList },
    Decision { standing: Standing::Refused(Refusal::Foreign), rule: OriginRule::ForeignPlace },
];

/// What a stranger may do to two accounts with three records, and what may be decided of them.
fn body() -> impl Strategy<Value = Body> {
    let key = || (0..3usize).prop_map(|i| Rkey::parse(["a", "b", "c"][i]).unwrap());
    let collection = || Nsid::parse(EVENT).unwrap();
    prop_oneof![
        (key(), 0..40u64, 0..3u8).prop_map(move |(rkey, n, c)| Body::Put {
            collection: collection(),
            rkey,
            rev: rev(n),
            cid: Cid::new(Codec::DagCbor, [c; 32]),
            record: Bytes::new(),
        }),
        (key(), 0..40u64).prop_map(move |(rkey, n)| Body::Delete { collection: collection(), rkey, rev: rev(n) }),
        (0..40u64).prop_map(|n| Body::Snapshot { rev: rev(n) }),
        (any::<bool>(), 0..10i64).prop_map(|(active, t)| Body::Account {
            active,
            status: if active { AccountStatus::Active } else { AccountStatus::Deactivated },
            time: at(t),
        }),
        (0..4usize, 0..10i64).prop_map(|(i, t)| Body::Identity {
            handle: [None, Some("a.test"), Some("b.test"), Some("handle.invalid")][i]
                .map(|h| Handle::parse(h).unwrap()),
            time: at(t),
        }),
        (0..4usize, 0..10i64).prop_map(|(i, t)| Body::Origin { decision: DECISIONS[i], time: at(t) }),
    ]
}

type Seen = (Vec<(RecordKey, Cid)>, Vec<(Did, AccountState)>);

/// What apps see: live records with their CIDs, and account states. Not revs, not positions.
fn seen(events: &[(Event, i64)]) -> Seen {
    let mut state = State::default();
    for (i, (event, seq)) in events.iter().enumerate() {
        let position = i as i64 + 1;
        state.fold(&Logged { position, event: event.clone(), seq: Some(*seq), seen_at: at(3600) });
    }
    let live = |(key, word): &(RecordKey, Word)| state.accounts[&key.did].has_live(word);
    let mut records: Vec<_> = state.words.clone().into_iter().filter(live).collect();
    records.sort_by(|a, b| a.0.cmp(&b.0));
    let mut accounts: Vec<_> = state.accounts.clone().into_iter().collect();
    accounts.sort_by(|a, b| a.0.cmp(&b.0));
    (records.into_iter().map(|(key, word)| (key, word.cid.unwrap())).collect(), accounts)
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_in_one_state(
        events in prop::collection::vec((0..2usize, body(), 0..3i64), 1..40),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let dids = [Did::parse("did:plc:a").unwrap(), Did::parse("did:plc:b").unwrap()];
        let events: Vec<_> =
            events.into_iter().map(|(d, body, seq)| (Event { did: dids[d].clone(), body }, seq)).collect();
        // Doubled, then shuffled by a small generator of its own.
        let mut shuffled = [events.clone(), events.clone()].concat();
        let mut x = seed | 1;
        for i in (1..shuffled.len()).rev() {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (x >> 33) as usize % (i + 1));
        }
        shuffled.rotate_left(order.index(events.len()));
        prop_assert_eq!(seen(&events), seen(&shuffled));
    }
}

#[test]
fn a_clock_that_runs_ahead_is_cut_to_its_arrival() {
    let did = Did::parse("did:plc:a").unwrap();
    let word = |active, time, seen_at, seq| Logged {
        position: seq,
        seq: Some(seq),
        seen_at,
        event: Event {
            did: did.clone(),
            body: Body::Account {
                active,
                status: if active { AccountStatus::Active } else { AccountStatus::Takendown },
                time,
            },
        },
    };
    let mut state = State::default();
    state.fold(&word(false, at(1_000_000), at(0), 1));
    assert!(state.accounts[&did].hidden());
    state.fold(&word(true, at(400), at(400), 2));
    assert!(!state.accounts[&did].hidden());
    assert!(state.accounts[&did].status_spoken.unwrap().0 <= at(400) + TimeDelta::minutes(5));
}

#[test]
fn a_handle_that_leads_nowhere_is_not_shown_until_another_is_told() {
    let did = Did::parse("did:plc:a").unwrap();
    let told = |handle: Option<&str>, time: i64| Logged {
        position: time,
        seq: Some(time),
        seen_at: at(time),
        event: Event {
            did: did.clone(),
            body: Body::Identity { handle: handle.map(|h| Handle::parse(h).unwrap()), time: at(time) },
        },
    };
    let mut state = State::default();
    let mut shown = |handle, time| {
        state.fold(&told(handle, time));
        state.accounts[&did].handle.as_ref().map(|h| h.as_str().to_owned())
    };
    assert_eq!(shown(Some("handle.invalid"), 1), None);
    assert_eq!(shown(Some("anna.test"), 2).as_deref(), Some("anna.test"));
    assert_eq!(shown(None, 3).as_deref(), Some("anna.test"), "look again is no answer");
    assert_eq!(shown(Some("handle.invalid"), 4), None);
    assert_eq!(shown(Some("anna.test"), 2), None, "an older word came again");
    assert_eq!(shown(Some("berta.test"), 5).as_deref(), Some("berta.test"));
}

#[test]
fn of_the_same_word_twice_the_later_in_the_log_counts() {
    let did = Did::parse("did:plc:a").unwrap();
    let put = |position, n| Logged {
        position,
        seq: None,
        seen_at: at(0),
        event: Event {
            did: did.clone(),
            body: Body::Put {
                collection: Nsid::parse(EVENT).unwrap(),
                rkey: Rkey::parse("a").unwrap(),
                rev: rev(n),
                cid: Cid::new(Codec::DagCbor, [1; 32]),
                record: Bytes::new(),
            },
        },
    };
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut state = State::default();
        for position in order {
            // The first is of a lower rev and never counts, wherever it stands.
            state.fold(&put(position + 10 * i64::from(position == 1), if position == 1 { 4 } else { 5 }));
        }
        let words: Vec<_> = state.words.values().map(|word| (word.rev, word.position)).collect();
        assert_eq!(words, [(rev(5), 3)], "{order:?}");
    }
}

/// Folds words about one account's records `a` and `b`, and says which of the two are live.
fn live_after(bodies: &[Body]) -> Vec<&'static str> {
    let did = Did::parse("did:plc:a").unwrap();
    let events: Vec<_> = bodies.iter().map(|body| (Event { did: did.clone(), body: body.clone() }, 0)).collect();
    let (records, _) = seen(&events);
    ["a", "b"].into_iter().filter(|rkey| records.iter().any(|(key, _)| key.rkey.as_str() == *rkey)).collect()
}

fn put_at(rkey: &str, n: u64) -> Body {
    Body::Put {
        collection: Nsid::parse(EVENT).unwrap(),
        rkey: Rkey::parse(rkey).unwrap(),
        rev: rev(n),
        cid: Cid::new(Codec::DagCbor, [n as u8; 32]),
        record: Bytes::new(),
    }
}

#[test]
fn a_delete_stands_against_what_was_before_it() {
    let delete =
        |n| Body::Delete { collection: Nsid::parse(EVENT).unwrap(), rkey: Rkey::parse("a").unwrap(), rev: rev(n) };
    assert_eq!(live_after(&[put_at("a", 5), delete(6)]), [""; 0]);
    assert_eq!(live_after(&[delete(6), put_at("a", 5)]), [""; 0], "what was deleted came late");
    assert_eq!(live_after(&[put_at("a", 5), delete(6), put_at("a", 5)]), [""; 0], "or once more");
    assert_eq!(live_after(&[put_at("a", 5), delete(6), put_at("a", 7)]), ["a"], "written anew");
    assert_eq!(live_after(&[put_at("a", 7), delete(6)]), ["a"], "and the delete came late");
}

#[test]
fn a_snapshot_removes_what_it_does_not_tell_and_nothing_newer() {
    let snapshot = |n| Body::Snapshot { rev: rev(n) };
    assert_eq!(live_after(&[put_at("a", 3), put_at("b", 3), put_at("a", 5), snapshot(5)]), ["a"]);
    assert_eq!(live_after(&[snapshot(5), put_at("b", 3)]), [""; 0], "what was gone before it came late");
    assert_eq!(live_after(&[put_at("a", 3), put_at("b", 7), snapshot(5)]), ["b"], "the live stream was faster");
    assert_eq!(live_after(&[put_at("a", 5), snapshot(5), snapshot(4)]), ["a"], "an older one came late");
}

#[test]
fn what_a_host_says_of_an_account_decides_whether_it_is_shown() {
    use AccountStatus::*;
    for (status, hides) in [
        (Active, true),
        (Deactivated, true),
        (Deleted, true),
        (Suspended, true),
        (Takendown, true),
        (Other, true),
        (Throttled, false),
        (Desynchronized, false),
    ] {
        let account = |active| AccountState { active, status, ..AccountState::default() };
        assert_eq!(account(false).hidden(), hides, "not active, {}", status.as_str());
        assert!(!account(true).hidden(), "active, {}", status.as_str());
    }
}

#[test]
fn who_is_refused_here_is_hidden_until_the_verdict_changes() {
    let hidden_after = |verdicts: &[(usize, i64)]| {
        let mut state = State::default();
        for (i, (decision, time)) in verdicts.iter().enumerate() {
            let body = Body::Origin { decision: DECISIONS[*decision], time: at(*time) };
            let event = Event { did: Did::parse("did:plc:a").unwrap(), body };
            state.fold(&Logged { position: i as i64 + 1, event, seq: None, seen_at: at(0) });
        }
        state.accounts.into_values().any(|account| account.hidden())
    };
    assert!(!hidden_after(&[(0, 1), (1, 2)]));
    assert!(hidden_after(&[(0, 1), (3, 2)]));
    assert!(!hidden_after(&[(3, 2), (1, 3)]));
    assert!(hidden_after(&[(3, 2), (1, 1)]), "an older verdict that comes late");
}
