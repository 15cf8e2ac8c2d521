//! What one server sends to its subscribers, numbered, as far back as its window reaches.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;

/// How a connection ends after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Cut,
    TooSlow,
}

struct Entry {
    seq: i64,
    did: Option<Box<str>>,
    /// Empty when the frame was taken back.
    bytes: Bytes,
    /// For the first subscriber that comes here.
    ending: Option<Ending>,
}

/// Where a cursor leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    At(u64),
    /// What it asks for is no longer kept.
    Outdated(u64),
    /// It is beyond the last number. Beside it where the live edge is.
    Future(u64),
}

/// The frames of a server.
pub(super) struct Stream {
    entries: VecDeque<Entry>,
    /// How many entries went before the first.
    base: u64,
    /// The highest number that is no longer kept.
    lost: i64,
    last: i64,
    window: usize,
    /// Counts entries and cuts: wakes subscribers.
    pub changes: watch::Sender<u64>,
    /// Counts up when all connections shall end.
    pub cuts: watch::Sender<u64>,
}

impl Stream {
    pub fn new(last: i64, window: usize) -> Self {
        let (changes, cuts) = (watch::Sender::new(0), watch::Sender::new(0));
        Stream { entries: VecDeque::new(), base: 0, lost: last, last, window: window.max(1), changes, cuts }
    }

    /// The last number given.
    pub fn last_seq(&self) -> i64 {
        self.last
    }

    /// Gives out the next number.
    pub fn next_seq(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Puts a frame at the end.
    pub fn push(&mut self, seq: i64, did: Option<&str>, bytes: Vec<u8>) {
        self.entries.push_back(Entry { seq, did: did.map(Into::into), bytes: bytes.into(), ending: None });
        while self.entries.len() > self.window {
            if let Some(old) = self.entries.pop_front() {
                self.lost = self.lost.max(old.seq);
                self.base += 1;
            }
        }
        self.changes.send_modify(|n| *n += 1);
    }

    /// Ends the connection of the first subscriber that has read as far as this.
    pub fn end_here(&mut self, ending: Ending) {
        if let Some(last) = self.entries.back_mut() {
            last.ending = Some(ending);
        }
        self.changes.send_modify(|n| *n += 1);
    }

    /// Takes back what was sent of this account.
    pub fn forget(&mut self, did: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.did.as_deref() == Some(did)) {
            entry.bytes = Bytes::new();
        }
    }

    /// Keeps the last `keep` frames alone.
    pub fn shrink(&mut self, keep: usize) {
        while self.entries.len() > keep {
            if let Some(old) = self.entries.pop_front() {
                self.lost = self.lost.max(old.seq);
                self.base += 1;
            }
        }
    }

    /// Forgets everything and numbers from 1.
    pub fn reset(&mut self) {
        self.base += self.entries.len() as u64;
        self.entries.clear();
        (self.last, self.lost) = (0, 0);
        self.cut();
    }

    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// The frames that are still kept.
    pub fn kept(&self) -> Vec<Bytes> {
        self.entries.iter().map(|entry| entry.bytes.clone()).filter(|bytes| !bytes.is_empty()).collect()
    }

    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Where a subscriber begins.
    pub fn start(&self, cursor: Option<i64>) -> Start {
        let Some(cursor) = cursor else { return Start::At(self.end()) };
        if cursor > self.last {
            return Start::Future(self.end());
        }
        if cursor < self.lost {
            return Start::Outdated(self.base);
        }
        // Numbers may stand out of order: what follows the cursor's own frame, else the first higher one.
        let own = self.entries.iter().rposition(|entry| entry.seq == cursor).map(|at| at + 1);
        let at = own.or_else(|| self.entries.iter().position(|entry| entry.seq > cursor));
        Start::At(self.base + at.unwrap_or(self.entries.len()) as u64)
    }

    /// Up to `max` frames from `from` on, and how the connection ends after them. `None` when they are no longer kept.
    pub fn read(&mut self, from: &mut u64, max: usize) -> Option<(Vec<Bytes>, Option<Ending>)> {
        let mut at = from.checked_sub(self.base)? as usize;
        let mut out = vec![];
        while out.len() < max
            && let Some(entry) = self.entries.get_mut(at)
        {
            at += 1;
            *from += 1;
            if !entry.bytes.is_empty() {
                out.push(entry.bytes.clone());
            }
            if let Some(ending) = entry.ending.take() {
                return Some((out, Some(ending)));
            }
        }
        Some((out, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_and_a_cursor_is_told() {
        let mut stream = Stream::new(0, 3);
        assert_eq!(stream.start(Some(1)), Start::Future(0));
        for _ in 0..5 {
            let seq = stream.next_seq();
            stream.push(seq, None, vec![seq as u8]);
        }
        assert_eq!(stream.start(Some(5)), Start::At(5));
        assert_eq!(stream.start(Some(3)), Start::At(3));
        assert_eq!(stream.start(Some(1)), Start::Outdated(2));
        assert_eq!(stream.start(None), Start::At(5));
        let mut at = 2;
        assert_eq!(stream.read(&mut at, 2).unwrap().0, [Bytes::from(vec![3]), Bytes::from(vec![4])]);
        assert_eq!(at, 4);
        assert_eq!(stream.read(&mut 1, 2), None, "fell behind the window");
    }

    #[test]
    fn an_ending_is_for_one_subscriber() {
        let mut stream = Stream::new(0, 10);
        let seq = stream.next_seq();
        stream.push(seq, None, vec![1]);
        stream.end_here(Ending::Cut);
        assert_eq!(stream.read(&mut 0, 5).unwrap().1, Some(Ending::Cut));
        assert_eq!(stream.read(&mut 0, 5).unwrap().1, None);
    }
}
