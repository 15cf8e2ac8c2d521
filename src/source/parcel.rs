//! Deliveries that travel together from a source to ingest.
//!
//! In: frames in the order seen. Out: the same, one after the other, as [`Delivery`] values. Always true: the order is
//! that of putting in. Never: a copy of a frame's bytes.
//!
//! A frame that is dropped costs about as much as one hop through a queue, so many share one. For the same reason the
//! upstream is named once for a run of frames: counting the holders of a value that two cores share is a cache miss.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::event::{Delivery, Upstream};

/// Some deliveries, in order.
#[derive(Debug, Default)]
pub struct Parcel {
    upstreams: Vec<Arc<Upstream>>,
    frames: VecDeque<Packed>,
    bytes: usize,
}

#[derive(Debug)]
struct Packed {
    /// Index into the parcel's upstreams.
    upstream: u32,
    live: bool,
    seen_at: DateTime<Utc>,
    frame: Bytes,
}

impl Parcel {
    /// An empty one with room for `frames` frames.
    pub fn with_capacity(frames: usize) -> Self {
        Parcel { upstreams: Vec::new(), frames: VecDeque::with_capacity(frames), bytes: 0 }
    }

    /// Adds a frame at the end.
    pub fn push(&mut self, upstream: &Arc<Upstream>, seen_at: DateTime<Utc>, live: bool, frame: Bytes) {
        // The last first: most parcels are of one upstream.
        let at = match self.upstreams.iter().rposition(|known| Arc::ptr_eq(known, upstream)) {
            Some(at) => at,
            None => {
                self.upstreams.push(upstream.clone());
                self.upstreams.len() - 1
            }
        };
        let upstream = u32::try_from(at).expect("there are no more upstreams than frames in a parcel");
        self.bytes += frame.len();
        self.frames.push_back(Packed { upstream, live, seen_at, frame });
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The length of its frames in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames, and when each was seen.
    pub fn frames(&self) -> impl Iterator<Item = (&Bytes, DateTime<Utc>)> {
        self.frames.iter().map(|packed| (&packed.frame, packed.seen_at))
    }

    /// Takes out the first one.
    pub fn pop(&mut self) -> Option<Delivery> {
        let Packed { upstream, live, seen_at, frame } = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(Delivery { upstream: self.upstreams[upstream as usize].clone(), seen_at, live, frame })
    }

    /// Shows every delivery to `work`, in order, and each frame to `soon` when `ahead` more will be worked on before it.
    pub fn for_each(self, ahead: usize, mut soon: impl FnMut(&[u8]), mut work: impl FnMut(&Delivery)) {
        let Parcel { upstreams, mut frames, .. } = self;
        frames.iter().take(ahead).for_each(|packed| soon(&packed.frame));
        let Some(Packed { upstream: mut current, live, seen_at, frame }) = frames.pop_front() else { return };
        let mut delivery = Delivery { upstream: upstreams[current as usize].clone(), seen_at, live, frame };
        loop {
            if let Some(later) = ahead.checked_sub(1).and_then(|place| frames.get(place)) {
                soon(&later.frame);
            }
            work(&delivery);
            let Some(Packed { upstream, live, seen_at, frame }) = frames.pop_front() else { return };
            if upstream != current {
                current = upstream;
                delivery.upstream = upstreams[current as usize].clone();
            }
            (delivery.live, delivery.seen_at, delivery.frame) = (live, seen_at, frame);
        }
    }
}

impl From<Delivery> for Parcel {
    fn from(Delivery { upstream, seen_at, live, frame }: Delivery) -> Self {
        let mut parcel = Parcel::with_capacity(1);
        parcel.push(&upstream, seen_at, live, frame);
        parcel
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UpstreamKind;

    fn parcel() -> Parcel {
        let upstreams = ["a", "b"].map(|name| Arc::new(Upstream::new(UpstreamKind::Relay, name)));
        let mut parcel = Parcel::default();
        for (n, of) in [0usize, 1, 1, 0, 0, 1].into_iter().enumerate() {
            let seen_at = DateTime::from_timestamp_nanos(n as i64);
            parcel.push(&upstreams[of], seen_at, n % 2 == 0, Bytes::from(vec![n as u8; n]));
        }
        parcel
    }

    fn told(delivery: &Delivery) -> (String, i64, bool, usize) {
        let at = delivery.seen_at.timestamp_nanos_opt().unwrap();
        (delivery.upstream.name.to_string(), at, delivery.live, delivery.frame.len())
    }

    #[test]
    fn what_is_put_in_comes_out_in_order_whichever_way_it_is_taken() {
        let want: Vec<_> = [("a", 0), ("b", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]
            .map(|(name, n)| (name.to_owned(), n, n % 2 == 0, n as usize))
            .into();
        let mut shown = Vec::new();
        assert_eq!((parcel().len(), parcel().bytes()), (6, 15));
        let soon = std::cell::RefCell::new(Vec::new());
        parcel().for_each(
            2,
            |frame| soon.borrow_mut().push(frame.len()),
            |delivery| {
                shown.push(told(delivery));
                assert_eq!(soon.borrow().len(), (shown.len() + 2).min(want.len()));
            },
        );
        assert_eq!(shown, want);
        assert_eq!(soon.into_inner(), want.iter().map(|told| told.3).collect::<Vec<_>>());
        let mut whole = parcel();
        let taken: Vec<_> = std::iter::from_fn(|| whole.pop()).map(|delivery| told(&delivery)).collect();
        assert_eq!(taken, want);
        assert_eq!((whole.len(), whole.bytes()), (0, 0));
    }
}
