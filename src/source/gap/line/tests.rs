use super::*;
use CursorStep::{Follow, Stay};
use UpstreamKind::{Pds, Relay};

/// Noon; all times are seconds from here.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_348_800 + seconds, 0).unwrap()
}

const HOUR: i64 = 3_600;

/// What happens on a line.
enum Step {
    /// Dialled at, to go on after (number, its time).
    Dial(i64, Option<(Seq, i64)>),
    /// (number, time that it carries) seen at: what the cursor does.
    Frame(Seq, i64, i64, CursorStep),
    /// The same, and a gap is found.
    Gap(Seq, i64, i64, CursorStep, GapKind),
    /// Many frames that do the same, one a second: from and to which number, the first's time. Each is seen when it is
    /// spoken, or when the connection stands.
    Run(Seq, Seq, i64, CursorStep),
    /// A word at, and the gap that it tells of.
    Word(&'static str, i64, Option<GapKind>),
}
use Step::{Dial, Frame, Gap, Run, Word};

/// Cursors are judged when their frame is spoken.
#[track_caller]
fn check(what: &str, kind: UpstreamKind, steps: &[Step]) {
    let mut line = Line::new(kind);
    let mut dialled = i64::MIN;
    for (i, step) in steps.iter().enumerate() {
        let mut frame = |seq: Seq, time: i64, seen: i64| {
            let (cursor, found) = line.frame(seq, at(seen), || Some(at(time)));
            (cursor, found.map(|found| found.kind))
        };
        match *step {
            Dial(when, cursor) => {
                let resume = |(seq, time)| Resume { seq, event_time: Some(at(time)), judged_at: at(time) };
                line.connecting(at(when), cursor.map(resume));
                dialled = when;
            }
            Frame(seq, time, seen, want) => assert_eq!(frame(seq, time, seen), (want, None), "{what}: step {i}"),
            Gap(seq, time, seen, want, gap) => {
                assert_eq!(frame(seq, time, seen), (want, Some(gap)), "{what}: step {i}");
            }
            Run(from, to, time, want) => {
                for (n, seq) in (from..=to).enumerate() {
                    let time = time + n as i64;
                    assert_eq!(frame(seq, time, time.max(dialled)), (want, None), "{what}: step {i}, number {seq}");
                }
            }
            Word(name, seen, want) => {
                let found = line.word(name, at(seen), "so it is").map(|found| found.kind);
                assert_eq!(found, want, "{what}: step {i}");
            }
        }
    }
}

#[test]
fn silence_and_numbers_left_out_are_no_gaps() {
    let cases: &[(&str, UpstreamKind, &[Step])] = &[
        ("resumed where it was", Relay, &[Dial(60, Some((10, 0))), Frame(11, 1, 61, Follow), Frame(12, 2, 61, Follow)]),
        ("a PDS idle for 20 h", Pds, &[Dial(20 * HOUR, Some((10, 0))), Frame(11, 20 * HOUR, 20 * HOUR, Follow)]),
        (
            "a PDS idle for three days, longer than it keeps frames: the next number says that nothing was missed",
            Pds,
            &[Dial(72 * HOUR, Some((10, 0))), Frame(11, 72 * HOUR, 72 * HOUR, Follow)],
        ),
        (
            "a PDS idle for 20 h that dropped an account of some frames",
            Pds,
            &[Dial(20 * HOUR, Some((10, 0))), Frame(100, 20 * HOUR, 20 * HOUR, Follow)],
        ),
        (
            "a relay that leaves thousands out within seconds",
            Relay,
            &[Dial(5, Some((10_000_000, 0))), Frame(10_050_000, 4, 6, Follow)],
        ),
        (
            "a relay after an hour: the first frame's author is an hour behind, or ahead",
            Relay,
            &[Dial(HOUR, Some((10, 0))), Frame(12, -HOUR, HOUR, Follow), Frame(13, 2 * HOUR, HOUR, Follow)],
        ),
        (
            "numbers left out while connected, after hours of silence",
            Pds,
            &[Dial(0, Some((10, -1))), Frame(11, 1, 1, Follow), Frame(90_000_000, 9 * HOUR, 9 * HOUR, Follow)],
        ),
        (
            "a PDS that numbers by its clock, idle for 20 h",
            Pds,
            &[
                Dial(20 * HOUR, Some((at(0).timestamp_micros(), 0))),
                Frame(at(20 * HOUR).timestamp_micros(), 20 * HOUR, 20 * HOUR, Follow),
            ],
        ),
        (
            "attempts that fail, then one that does not",
            Relay,
            &[Dial(1, Some((10, 0))), Dial(2, Some((10, 0))), Dial(3, Some((10, 0))), Frame(11, 1, 4, Follow)],
        ),
    ];
    cases.iter().for_each(|(what, kind, steps)| check(what, *kind, steps));
}

#[test]
fn frames_that_come_again_leave_the_cursor_where_it_is() {
    let cases: &[(&str, UpstreamKind, &[Step])] = &[
        (
            "what was still in the queue while it was dialled comes again",
            Relay,
            &[
                Dial(0, Some((10, -1))),
                Run(11, 15, 1, Follow),
                // Judged up to 15 when it broke; the frames that follow were received before.
                Dial(10, Some((15, 5))),
                Frame(16, 6, 6, Follow),
                Frame(17, 7, 7, Follow),
                Frame(16, 6, 11, Stay),
                Frame(17, 7, 11, Stay),
                Frame(18, 8, 11, Follow),
            ],
        ),
        (
            "a host that sends the cursor's frame and some before it again, then goes on",
            Pds,
            &[Dial(60, Some((100, 0))), Run(20, 99, -99, Stay), Frame(100, 0, 61, Stay), Frame(101, 1, 61, Follow)],
        ),
        (
            "an author's clock runs an hour ahead: one frame of a relay below the cursor proves nothing",
            Relay,
            &[
                Dial(60, Some((100, 0))),
                Frame(98, HOUR, 61, Stay),
                Frame(99, -1, 61, Stay),
                Frame(98, HOUR, 61, Stay),
                Frame(99, 2, 61, Stay),
                Frame(101, 1, 61, Follow),
            ],
        ),
        (
            "reordered and doubled while connected",
            Relay,
            &[
                Dial(0, Some((10, -1))),
                Frame(11, 1, 1, Follow),
                Frame(14, 2, 2, Follow),
                Frame(12, 2, 2, Stay),
                Frame(13, 2, 2, Stay),
                Frame(14, 2, 2, Stay),
                Frame(15, 3, 3, Follow),
            ],
        ),
    ];
    cases.iter().for_each(|(what, kind, steps)| check(what, *kind, steps));
}

#[test]
fn each_gap_is_found_once_and_named() {
    use GapKind::*;
    let cases: &[(&str, UpstreamKind, &[Step])] = &[
        (
            "the host says that the cursor is outdated; the jump that follows is the same gap",
            Relay,
            &[
                Dial(80 * HOUR, Some((10, 0))),
                Word("OutdatedCursor", 80 * HOUR, Some(OutdatedCursor)),
                Word("OutdatedCursor", 80 * HOUR, None),
                Frame(900_000, 8 * HOUR, 80 * HOUR, Follow),
                Frame(900_001, 8 * HOUR, 80 * HOUR, Follow),
            ],
        ),
        (
            "a first start, and a second before a cursor was stored: heard from the first frame on",
            Relay,
            &[
                Dial(0, None),
                Gap(5_000, 1, 1, Follow, NoCursor),
                Run(5_001, 5_100, 2, Follow),
                Dial(200, None),
                Gap(5_300, 201, 201, Follow, NoCursor),
                Frame(5_301, 201, 201, Follow),
            ],
        ),
        ("other words tell of no gap", Relay, &[Word("ConsumerTooSlow", 0, None), Word("x", 0, None)]),
        (
            "a cursor older than a relay keeps, and the host says nothing",
            Relay,
            &[
                Dial(73 * HOUR, Some((10, 0))),
                Gap(12, HOUR, 73 * HOUR, Follow, Window),
                Frame(13, HOUR, 73 * HOUR, Follow),
            ],
        ),
        ("the same for a PDS", Pds, &[Dial(25 * HOUR, Some((10, 0))), Gap(12, HOUR, 25 * HOUR, Follow, Window)]),
        ("not yet for a PDS", Pds, &[Dial(23 * HOUR, Some((10, 0))), Frame(12, HOUR, 23 * HOUR, Follow)]),
        (
            "far later in time and number",
            Relay,
            &[Dial(HOUR, Some((10, 0))), Gap(500, HOUR, HOUR, Follow, Jump), Frame(501, HOUR, HOUR, Follow)],
        ),
        (
            "the same behind frames of the connection before, and behind the cursor's own frame",
            Relay,
            &[
                Dial(0, Some((10, -1))),
                Frame(11, 1, 1, Follow),
                Dial(HOUR, Some((11, 1))),
                Frame(12, 2, 2, Follow),
                Frame(11, 1, HOUR, Stay),
                Gap(500, HOUR, HOUR, Follow, Jump),
            ],
        ),
        (
            "each connection may bring one",
            Relay,
            &[
                Dial(HOUR, Some((10, 0))),
                Gap(500, HOUR, HOUR, Follow, Jump),
                Dial(2 * HOUR, Some((500, HOUR))),
                Gap(900, 2 * HOUR, 2 * HOUR, Follow, Jump),
            ],
        ),
        (
            "another relay under the same name, a minute later",
            Relay,
            &[Dial(60, Some((10_000_000, 0))), Gap(7_000_000_000, 50, 60, Follow, Jump)],
        ),
        (
            "a restored PDS whose numbers were pushed up by a million",
            Pds,
            &[Dial(HOUR, Some((1_000, 0))), Gap(1_001_000, HOUR, HOUR, Follow, Jump)],
        ),
        (
            "a PDS restored from backup: first it calls our cursor a future one",
            Pds,
            &[Dial(HOUR, Some((1_000, 0))), Word("FutureCursor", HOUR, Some(FutureCursor))],
        ),
        (
            "a PDS restored from backup that says nothing: lower numbers, newer times",
            Pds,
            &[
                Dial(HOUR, Some((1_000, 0))),
                Gap(901, HOUR, HOUR, Follow, SequenceReset),
                Frame(902, HOUR + 1, HOUR + 1, Follow),
                // Where its new numbers begin to be larger than the old ones nothing happens.
                Frame(1_001, HOUR + 2, HOUR + 2, Follow),
            ],
        ),
        (
            "the same within seconds: some frames show it together",
            Pds,
            &[
                Dial(10, Some((1_000, 0))),
                Frame(901, 10, 10, Stay),
                Frame(902, 11, 11, Stay),
                Gap(903, 12, 12, Follow, SequenceReset),
                Frame(904, 13, 13, Follow),
            ],
        ),
        (
            "a relay whose numbers were reset to small ones, first replayed from its start and then live",
            Relay,
            &[
                Dial(HOUR, Some((7_000_000_000, 0))),
                Frame(1, -9, HOUR, Stay),
                Frame(2, HOUR, HOUR, Stay),
                Frame(3, HOUR, HOUR, Stay),
                Gap(4, HOUR, HOUR, Follow, SequenceReset),
                Run(5, 300, HOUR, Follow),
                // The next connection continues in the new numbers.
                Dial(2 * HOUR, Some((300, HOUR + 295))),
                Frame(301, 2 * HOUR, 2 * HOUR, Follow),
            ],
        ),
        (
            "reset while connected: our own clock shows it after some minutes",
            Relay,
            &[
                Dial(0, Some((10, -1))),
                Run(11, 1_000, 1, Follow),
                Run(500, 502, 992, Stay),
                Frame(700, 2_000, 2_000, Stay),
                Frame(701, 2_001, 2_001, Stay),
                Gap(702, 2_002, 2_002, Follow, SequenceReset),
            ],
        ),
        (
            "a host that ignores the cursor and starts from the beginning of what it keeps",
            Relay,
            &[
                Dial(HOUR, Some((1_000, 0))),
                Run(1, 100, -1_000, Stay),
                Gap(101, -900, HOUR, Stay, SeqBackwards),
                Run(102, 1_000, -899, Stay),
                Frame(1_001, 1, HOUR, Follow),
            ],
        ),
    ];
    cases.iter().for_each(|(what, kind, steps)| check(what, *kind, steps));
}

#[test]
fn a_cursor_of_the_future_is_as_old_as_its_arrival() {
    // The cursor's frame said that it was spoken in a year. Were that believed, nothing would ever be newer.
    let mut line = Line::new(Pds);
    let resume = Resume { seq: 1_000, event_time: Some(at(9_000 * HOUR)), judged_at: at(0) };
    line.connecting(at(HOUR), Some(resume));
    let (cursor, found) = line.frame(5, at(HOUR), || Some(at(HOUR)));
    assert_eq!((cursor, found.map(|f| f.kind)), (Follow, Some(GapKind::SequenceReset)));
    let mut line = Line::new(Relay);
    line.connecting(at(80 * HOUR), Some(resume));
    let (_, found) = line.frame(2_000, at(80 * HOUR), || Some(at(80 * HOUR)));
    assert_eq!(found.map(|f| f.kind), Some(GapKind::Window));
}

#[test]
fn frames_without_a_readable_time_move_on_and_prove_nothing() {
    let mut line = Line::new(Relay);
    line.connecting(at(HOUR), Some(Resume { seq: 10, event_time: None, judged_at: at(0) }));
    assert_eq!(line.frame(400, at(HOUR), || None), (Follow, None));
    line.connecting(at(2 * HOUR), Some(Resume { seq: 400, event_time: None, judged_at: at(HOUR) }));
    for seq in 1..50 {
        assert_eq!(line.frame(seq, at(2 * HOUR), || None), (Stay, None));
    }
}

#[test]
fn the_time_is_not_read_while_numbers_rise() {
    let mut line = Line::new(Relay);
    line.connecting(at(0), Some(Resume { seq: 10, event_time: Some(at(0)), judged_at: at(0) }));
    let _first = line.frame(11, at(1), || Some(at(1)));
    for seq in 12..1_000 {
        assert_eq!(line.frame(seq, at(1), || panic!("not needed")), (Follow, None));
    }
}

#[test]
fn attempts_without_frames_take_no_room() {
    let mut line = Line::new(Relay);
    for second in 0..10_000 {
        line.connecting(at(second), Some(Resume { seq: 10, event_time: None, judged_at: at(0) }));
    }
    assert_eq!(line.pending.len(), PENDING_MAX);
    assert_eq!(line.frame(11, at(10_000), || None), (Follow, None));
}
