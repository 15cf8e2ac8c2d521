use proptest::prelude::*;

use super::*;

fn rev(n: u64) -> Rev {
    let digits = b"234567abcdefghijklmnopqrstuvwxyz";
    Rev::parse(&(0..13).map(|i| digits[(n >> (60 - 5 * i) & 31) as usize] as char).collect::<String>()).unwrap()
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + 60 * minutes, 0).unwrap()
}

/// The revision of that moment.
fn rev_at(minutes: i64) -> Rev {
    rev((at(minutes).timestamp_micros() as u64) << 10)
}

fn put(n: u64, cid: &str, position: Position) -> Word {
    Word { rev: rev(n), cid: Some(cid.to_owned()), position }
}

fn gone(n: u64, position: Position) -> Word {
    Word { rev: rev(n), cid: None, position }
}

fn heard(words: &[Word]) -> Heard {
    Heard { words: words.to_vec(), snapshot: None, head: 100 }
}

/// A put that the PDS took.
fn took(id: i64, cid: &str, n: Option<u64>) -> Intent {
    let acknowledged_at = Some(at(0));
    let cid = Some(cid.to_owned());
    let (action, state) = (Action::Put, IntentState::Acknowledged);
    Intent { id, action, state, maybe_written: false, cid, rev: n.map(rev), acknowledged_at, confirmed_position: None }
}

fn took_away(id: i64, n: Option<u64>) -> Intent {
    Intent { action: Action::Delete, cid: None, ..took(id, "", n) }
}

/// A put on its way.
fn sent(id: i64) -> Intent {
    Intent { state: IntentState::Attempted, cid: None, acknowledged_at: None, ..took(id, "", None) }
}

fn known(cid: &str, n: u64) -> Known {
    Known { cid: Some(cid.to_owned()), rev: Some(rev(n)), ..Known::default() }
}

#[test]
fn an_echo_confirms_and_is_no_edit() {
    let verdict = judge(&known("a", 5), &[took(1, "a", Some(5))], &heard(&[put(5, "a", 7)]));
    assert_eq!(verdict.confirmed, [(1, 7)]);
    assert_eq!(verdict.known, Known { seen: Some(7), ..known("a", 5) });
    assert_eq!(verdict.elsewhere, None);
}

#[test]
fn what_the_log_does_not_show_is_not_confirmed() {
    for words in [vec![], vec![put(4, "a", 7)], vec![put(4, "b", 7)]] {
        let verdict = judge(&known("a", 5), &[took(1, "a", Some(5))], &heard(&words));
        assert_eq!((verdict.confirmed, verdict.elsewhere), (vec![], None), "{words:?}");
    }
    // The same content at an earlier revision is an earlier write.
    let intents = [Intent { state: IntentState::Confirmed, ..took(1, "b", Some(3)) }, took(2, "a", None)];
    let verdict = judge(&known("b", 3), &intents, &heard(&[put(2, "a", 6), put(3, "b", 7)]));
    assert_eq!(verdict.confirmed, []);
    // A delete that was found done is not the delete before the put that the log does not show.
    let intents = [took(1, "a", Some(1)), took_away(2, Some(2)), took(3, "b", None), took_away(4, None)];
    let heard = heard(&[put(1, "a", 6), gone(2, 7)]);
    let verdict = judge(&Known { deleted: true, rev: Some(rev(2)), ..Known::default() }, &intents, &heard);
    assert_eq!(verdict.confirmed, [(1, 6), (2, 7)]);
}

#[test]
fn another_version_is_an_edit_elsewhere() {
    let intents = [took(1, "a", Some(5))];
    let verdict = judge(&known("a", 5), &intents, &heard(&[put(5, "a", 7), put(6, "x", 8)]));
    assert_eq!(verdict.elsewhere, Some(Some("x".to_owned())));
    assert_eq!(verdict.known, Known { seen: Some(8), ..known("x", 6) });
    assert_eq!(verdict.confirmed, [(1, 7)], "and what it stands on is confirmed all the same");

    let verdict = judge(&known("a", 5), &intents, &heard(&[gone(6, 8)]));
    assert_eq!(verdict.elsewhere, Some(None));
    assert!(verdict.known.deleted && verdict.known.cid.is_none());
    assert_eq!(verdict.confirmed, [(1, 8)], "passed by");

    // Back to an older version of ours, by somebody else.
    let intents = [took(1, "a", Some(5)), took(2, "b", Some(6))];
    let verdict = judge(&known("b", 6), &intents, &heard(&[put(5, "a", 7), put(6, "b", 8), put(7, "a", 9)]));
    assert_eq!(verdict.elsewhere, Some(Some("a".to_owned())));
}

#[test]
fn an_older_revision_changes_nothing_however_late_it_comes() {
    let before = Known { seen: Some(7), ..known("a", 5) };
    let verdict = judge(&before, &[took(1, "a", Some(5))], &heard(&[put(5, "a", 7), put(4, "x", 9), gone(3, 10)]));
    assert_eq!(verdict.elsewhere, None);
    assert_eq!(verdict.known, Known { seen: Some(10), ..before });
}

#[test]
fn a_version_that_our_own_attempt_may_have_made_is_held_back_until_that_is_known() {
    let before = known("a", 5);
    for open in [
        sent(2),
        Intent { state: IntentState::Wanted, maybe_written: true, ..sent(2) },
        Intent { action: Action::Delete, ..sent(2) },
    ] {
        let intents = [took(1, "a", Some(5)), open];
        for word in [put(6, "b", 8), gone(6, 8)] {
            let verdict = judge(&before, &intents, &heard(&[word]));
            assert_eq!(verdict.elsewhere, None);
            assert_eq!(verdict.known, Known { held_back: true, ..before.clone() });
        }
    }
    let waiting = Known { held_back: true, ..before.clone() };
    let words = heard(&[put(6, "b", 8)]);
    // It was ours: found by a look, without a revision.
    let verdict = judge(&Known { cid: Some("b".into()), ..waiting.clone() }, &[took(2, "b", None)], &words);
    assert_eq!((verdict.elsewhere, verdict.known.rev, verdict.known.held_back), (None, Some(rev(6)), false));
    assert_eq!(verdict.confirmed, [(2, 8)]);
    // It was not: what we wanted was refused.
    let verdict = judge(&waiting, &[Intent { state: IntentState::Confirmed, ..took(1, "a", Some(5)) }], &words);
    assert_eq!((verdict.elsewhere, verdict.known.held_back), (Some(Some("b".to_owned())), false));
}

#[test]
fn what_was_never_sent_holds_nothing_back() {
    let waits = Intent { state: IntentState::Wanted, ..sent(2) };
    let verdict = judge(&known("a", 5), &[took(1, "a", Some(5)), waits], &heard(&[put(6, "x", 8)]));
    assert_eq!(verdict.elsewhere, Some(Some("x".to_owned())));
}

#[test]
fn a_first_sight_is_no_edit() {
    for intents in [vec![], vec![Intent { state: IntentState::Wanted, ..sent(1) }]] {
        let verdict = judge(&Known::default(), &intents, &heard(&[put(6, "x", 8)]));
        assert_eq!((verdict.elsewhere, verdict.known), (None, Known { seen: Some(8), ..known("x", 6) }));
    }
}

#[test]
fn a_delete_is_confirmed_by_a_delete_or_by_silence() {
    let deleted = |n| Known { deleted: true, rev: Some(rev(n)), ..Known::default() };
    let intents = [took_away(1, Some(6))];
    assert_eq!(judge(&deleted(6), &intents, &heard(&[put(5, "a", 7)])).confirmed, [], "not shown yet");
    let shown = judge(&deleted(6), &intents, &heard(&[put(5, "a", 7), gone(6, 8)]));
    assert_eq!((shown.confirmed, shown.elsewhere), (vec![(1, 8)], None));
    // Made and deleted while nobody listened.
    let snapshot = Heard { snapshot: Some((rev(6), 9)), ..heard(&[]) };
    assert_eq!(judge(&deleted(6), &intents, &snapshot).confirmed, [(1, 9)]);
    // There was nothing to delete.
    let intents = [took_away(1, None)];
    assert_eq!(judge(&deleted(6), &intents, &heard(&[])).confirmed, [(1, 100)]);
    assert_eq!(judge(&deleted(6), &intents, &heard(&[put(5, "a", 7), gone(6, 8)])).confirmed, [(1, 8)]);
    let waits = judge(&deleted(5), &intents, &heard(&[put(6, "a", 7)]));
    assert_eq!((waits.confirmed, waits.elsewhere), (vec![], None), "whose word is the later cannot be said");
    let earlier = [took(1, "a", Some(6)), took_away(2, None)];
    assert_eq!(judge(&deleted(6), &earlier, &heard(&[])).confirmed, [], "what was written before is not shown yet");
}

#[test]
fn what_a_snapshot_passed_by_is_confirmed() {
    let intents = [took(1, "a", Some(5)), took(2, "b", Some(6))];
    let later = Heard { snapshot: Some((rev(9), 20)), ..heard(&[put(9, "x", 21)]) };
    let verdict = judge(&known("b", 6), &intents, &later);
    assert_eq!(verdict.confirmed, [(1, 21), (2, 21)]);
    assert_eq!(verdict.elsewhere, Some(Some("x".to_owned())));
    let silent = Heard { snapshot: Some((rev(9), 20)), ..heard(&[put(5, "a", 7)]) };
    let verdict = judge(&known("b", 6), &intents, &silent);
    assert_eq!((verdict.confirmed, verdict.elsewhere), (vec![(1, 7), (2, 20)], Some(None)));
    assert!(verdict.known.deleted && verdict.known.rev == Some(rev(9)));
    // One that was taken before says nothing.
    let early = Heard { snapshot: Some((rev(4), 20)), ..heard(&[]) };
    let verdict = judge(&known("b", 6), &intents, &early);
    assert_eq!((verdict.confirmed, verdict.elsewhere, verdict.known), (vec![], None, known("b", 6)));
    // A snapshot's row that repeats what we wrote is no edit.
    let same = Heard { snapshot: Some((rev(9), 20)), ..heard(&[put(6, "b", 8), put(9, "b", 21)]) };
    let verdict = judge(&known("b", 6), &intents, &same);
    assert_eq!((verdict.elsewhere, verdict.known.rev), (None, Some(rev(9))));
}

#[test]
fn what_was_written_long_after_an_answer_came_after_it() {
    let intents = [took(1, "a", None)];
    let word = |minutes| Word { rev: rev_at(minutes), cid: Some("x".to_owned()), position: 9 };
    let soon = judge(&Known::default(), &intents, &heard(&[word(4)]));
    assert_eq!((soon.confirmed, soon.elsewhere), (vec![], None), "its clock may run ahead");
    let later = judge(&Known::default(), &intents, &heard(&[word(6)]));
    assert_eq!((later.confirmed, later.elsewhere), (vec![(1, 9)], Some(Some("x".to_owned()))));
    // Neither its word nor that of its end was heard.
    let before = Known { cid: Some("a".to_owned()), ..Known::default() };
    let silent = |minutes| Heard { snapshot: Some((rev_at(minutes), 9)), ..heard(&[]) };
    assert_eq!(judge(&before, &intents, &silent(4)), Verdict { known: before.clone(), ..Verdict::default() });
    let later = judge(&before, &intents, &silent(6));
    assert_eq!((later.confirmed, later.elsewhere, later.known.deleted), (vec![(1, 9)], Some(None), true));
}

fn told(environment: &str, origin: Option<crate::event::Origin>, verification: Option<Verification>) -> Told {
    Told {
        position: 1,
        environment: environment.to_owned(),
        kind: "put".to_owned(),
        did: crate::event::Did::parse("did:plc:a").unwrap(),
        collection: None,
        rkey: None,
        rev: None,
        cid: None,
        origin,
        rule: None,
        verification,
        live: false,
        upstream: String::new(),
        seen_at: at(0),
    }
}

#[test]
fn only_proven_words_of_this_environment_count() {
    use crate::event::Origin;
    let here = Environment::parse("prod").unwrap();
    for origin in Origin::ALL {
        for level in [Verification::Full, Verification::Signature, Verification::Snapshot] {
            assert_eq!(counts(&told("prod", Some(origin), Some(level)), &here), Ok(()));
        }
        for level in [Some(Verification::None), Some(Verification::Listed), None] {
            assert_eq!(counts(&told("prod", Some(origin), level), &here), Err(Ignored::Unproven));
        }
        let full = Some(Verification::Full);
        assert_eq!(counts(&told("dev", Some(origin), full), &here), Err(Ignored::Environment));
        assert_eq!(counts(&told("prod", None, full), &here), Err(Ignored::Origin));
    }
}

/// What happens to one record.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// We write; whether the answer is lost, and whether it is a delete.
    Ours { lost: bool, delete: bool },
    /// The answer to the last that was lost is looked for on the PDS.
    Settle,
    /// Somebody else writes.
    Theirs { delete: bool },
    /// The log gets one of the words that it has not, the n-th.
    Hear(usize),
    /// The log gets a snapshot of now.
    Snapshot,
    /// The log loses a word before it had it.
    Lose(usize),
}

/// A PDS with one record, a log, and us.
#[derive(Default)]
struct World {
    rev: u64,
    now: Option<String>,
    waiting: Vec<Word>,
    heard: Heard,
    known: Known,
    intents: Vec<Intent>,
    reported: Vec<Option<String>>,
}

impl World {
    /// The PDS's record changes; its revision.
    fn write(&mut self, content: Option<String>) -> u64 {
        self.rev += 1;
        self.now = content.clone();
        self.waiting.push(Word { rev: rev(self.rev), cid: content, position: 0 });
        self.rev
    }

    fn fresh(&self) -> String {
        format!("c{}", self.rev)
    }

    fn lost(&self) -> Option<usize> {
        self.intents.iter().position(|intent| intent.state == IntentState::Attempted)
    }

    /// As an attempt does when it has its answer.
    fn acknowledge(&mut self, n: usize, cid: Option<String>, at_rev: Option<u64>) {
        let intent = &mut self.intents[n];
        (intent.state, intent.cid, intent.rev) = (IntentState::Acknowledged, cid.clone(), at_rev.map(rev));
        intent.acknowledged_at = Some(at(0));
        if at_rev.map(rev) >= self.known.rev || at_rev.is_none() {
            (self.known.deleted, self.known.cid) = (cid.is_none(), cid);
            self.known.rev = at_rev.map(rev).or(self.known.rev);
        }
    }

    fn ours(&mut self, lost: bool, delete: bool) {
        if self.lost().is_some() {
            self.settle();
        }
        let action = if delete { Action::Delete } else { Action::Put };
        let id = self.intents.len() as i64 + 1;
        self.intents.push(Intent { action, ..sent(id) });
        let n = self.intents.len() - 1;
        // The log may be faster than the answer.
        self.look();
        let content = (!delete).then(|| self.fresh());
        let written = (content != self.now).then(|| self.write(content.clone()));
        self.intents[n].maybe_written = true;
        if lost {
            self.intents[n].cid = None;
        } else {
            self.look();
            self.acknowledge(n, content, written);
        }
    }

    /// As a repetition does after a lost answer: what is wanted is there, or it is written once more.
    fn settle(&mut self) {
        let Some(n) = self.lost() else { return };
        let wanted_gone = self.intents[n].action == Action::Delete;
        if wanted_gone == self.now.is_none() {
            self.acknowledge(n, self.now.clone(), None);
        } else {
            let content = (!wanted_gone).then(|| self.fresh());
            let written = self.write(content.clone());
            self.acknowledge(n, content, Some(written));
        }
    }

    fn hear(&mut self, n: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let n = n % self.waiting.len();
        let mut word = self.waiting.remove(n);
        self.heard.head += 1;
        word.position = self.heard.head;
        self.heard.words.push(word);
    }

    fn snapshot_at(&mut self, rev: Rev) {
        self.heard.head += 1;
        self.heard.snapshot = Some((rev, self.heard.head));
        if let Some(cid) = self.now.clone() {
            self.heard.head += 1;
            self.heard.words.push(Word { rev, cid: Some(cid), position: self.heard.head });
        }
    }

    /// As a step does.
    fn look(&mut self) {
        let verdict = judge(&self.known, &self.intents, &self.heard);
        for (id, position) in &verdict.confirmed {
            let intent = &mut self.intents[*id as usize - 1];
            assert_eq!(intent.state, IntentState::Acknowledged);
            intent.state = IntentState::Confirmed;
            intent.confirmed_position = Some(*position);
        }
        self.reported.extend(verdict.elsewhere);
        self.known = verdict.known;
    }

    fn does(&mut self, deed: Deed) {
        match deed {
            Deed::Ours { lost, delete } => self.ours(lost, delete),
            Deed::Settle => self.settle(),
            Deed::Theirs { delete: true } if self.now.is_none() => {}
            Deed::Theirs { delete } => {
                let content = (!delete).then(|| format!("x{}", self.rev));
                self.write(content);
            }
            Deed::Hear(n) => self.hear(n),
            Deed::Snapshot => self.snapshot_at(rev(self.rev)),
            Deed::Lose(n) => {
                if !self.waiting.is_empty() {
                    self.waiting.remove(n % self.waiting.len());
                }
            }
        }
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(lost, delete)| Deed::Ours { lost, delete }),
        2 => Just(Deed::Settle),
        2 => any::<bool>().prop_map(|delete| Deed::Theirs { delete }),
        5 => (0..4usize).prop_map(Deed::Hear),
        1 => Just(Deed::Snapshot),
        1 => (0..4usize).prop_map(Deed::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn in_the_end_everything_is_confirmed_and_known(deeds in prop::collection::vec((deed(), any::<bool>()), 1..25)) {
        let mut world = World::default();
        let (mut theirs, mut lost, mut shuffled) = (false, false, false);
        for (deed, looks) in deeds {
            theirs |= matches!(deed, Deed::Theirs { .. });
            lost |= matches!(deed, Deed::Lose(_));
            shuffled |= matches!(deed, Deed::Hear(1..));
            world.does(deed);
            if looks {
                world.look();
            }
        }
        world.settle();
        while !world.waiting.is_empty() {
            world.hear(0);
        }
        // What has no place of its own is confirmed once what was before it is.
        world.look();
        world.look();
        // Answers without a revision are placed by what the log shows before them: as a stream tells it, or later on.
        if !theirs && !lost && !shuffled {
            let waits = world.intents.iter().any(|intent| intent.state != IntentState::Confirmed);
            prop_assert!(!waits, "{:?} {:?}", &world.intents, &world.heard);
        }
        // Whatever was lost on the way is made up for by a snapshot, later on.
        world.snapshot_at(rev_at(60));
        world.look();
        world.look();
        for intent in &world.intents {
            prop_assert_eq!(intent.state, IntentState::Confirmed, "{:?} {:?}", intent, &world.heard);
        }
        prop_assert_eq!(&world.known.cid, &world.now);
        prop_assert!(!world.known.held_back);
        if world.now.is_none() {
            prop_assert!(world.known.deleted || world.intents.is_empty());
        }
        if !theirs {
            prop_assert_eq!(&world.reported, &Vec::<Option<String>>::new(), "nobody else wrote anything");
        }
        let before = (world.known.clone(), world.intents.clone(), world.reported.clone());
        world.look();
        prop_assert_eq!(before, (world.known, world.intents, world.reported), "looking again");
    }
}
