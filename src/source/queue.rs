//! The queue between sources and ingest: bounded in frames and in bytes.
//!
//! Bytes are bounded as well because frames differ by a factor of ten thousand: a thousand small ones are nothing, a
//! thousand of the largest are five gigabytes. A sender waits for room and meanwhile does not read its socket, so a
//! slow database slows the host down instead of filling memory.
//!
//! What moves is a [`Parcel`]: a source that has many frames at hand sends them at once, and both ends, the room and the
//! gauges are touched once for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;
use tokio::sync::{Semaphore, mpsc};

use super::metric::QueueGauges;
use super::parcel::Parcel;
use crate::event::Delivery;

/// How much a queue holds.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Frames that wait to be taken, at least 1.
    pub frames: usize,
    /// Bytes of frames that wait or were taken and are not finished; 1 to 4,294,967,295. A frame larger than this
    /// passes alone.
    pub bytes: usize,
}

impl Default for QueueLimits {
    /// 8,192 frames and 64 MB: twelve of the largest frames, or seventeen seconds of the whole network.
    fn default() -> Self {
        QueueLimits { frames: 8192, bytes: 64_000_000 }
    }
}

/// How large a parcel grows. More would not make a frame cheaper: by then the hop is shared by enough of them, and what is
/// judged should still be in the cache that it was read into.
const PARCEL_FRAMES: usize = 256;
/// The same in bytes; the frame that reaches it is the last.
const PARCEL_BYTES: usize = 1024 * 1024;
/// A queue holds at least this many full parcels, so that one end can work while the other does.
const PARCELS: usize = 8;

/// What a queue holds now: handed on by a source and not yet finished by the receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Frames.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The receiver is gone: nobody wants deliveries any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of deliveries is gone")]
pub struct QueueClosed;

struct Shared {
    room_frames: Semaphore,
    limit_frames: usize,
    room_bytes: Semaphore,
    limit_bytes: usize,
    frames: AtomicUsize,
    bytes: AtomicUsize,
    gauges: QueueGauges,
}

impl Shared {
    /// How much room a parcel takes: what it holds, but never more than there is, or it would wait for ever.
    fn room(&self, parcel: &Parcel) -> Room {
        Room { frames: parcel.len().min(self.limit_frames), bytes: parcel.bytes().clamp(1, self.limit_bytes) }
    }

    fn depth(&self) -> QueueDepth {
        QueueDepth { frames: self.frames.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn entered(&self, room: Room) {
        self.frames.fetch_add(room.frames, Ordering::Relaxed);
        self.bytes.fetch_add(room.bytes, Ordering::Relaxed);
        self.gauges.frames.increment(room.frames as f64);
        self.gauges.bytes.increment(room.bytes as f64);
    }

    fn left(&self, room: Room) {
        self.uncount(room);
        self.room_bytes.add_permits(room.bytes);
    }

    /// A receiver that goes takes all that is counted with it, so what it took is not taken off again.
    fn uncount(&self, room: Room) {
        let less = |counted: &AtomicUsize, gauge: &Gauge, amount: usize| {
            let took = counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_sub(amount));
            if took.is_ok() {
                gauge.decrement(amount as f64);
            }
        };
        less(&self.frames, &self.gauges.frames, room.frames);
        less(&self.bytes, &self.gauges.bytes, room.bytes);
    }
}

/// Frames and bytes of the queue's room.
#[derive(Clone, Copy, Default)]
struct Room {
    frames: usize,
    bytes: usize,
}

impl Room {
    /// The part that the next delivery of a parcel takes with it; the last one takes what is left.
    fn part(&mut self, bytes: usize, is_last: bool) -> Room {
        let part = if is_last { *self } else { Room { frames: self.frames.min(1), bytes: self.bytes.min(bytes) } };
        self.frames -= part.frames;
        self.bytes -= part.bytes;
        part
    }
}

struct Item {
    parcel: Parcel,
    room: Room,
}

/// The end that sources hold. Clones share one queue.
#[derive(Clone)]
pub struct DeliverySender {
    items: mpsc::UnboundedSender<Item>,
    shared: Arc<Shared>,
}

/// The end that ingest holds.
pub struct DeliveryReceiver {
    items: mpsc::UnboundedReceiver<Item>,
    shared: Arc<Shared>,
    /// What is left of a parcel of which some deliveries were taken.
    open: Option<Item>,
    taken: Room,
}

/// Makes a queue. Limits outside their ranges are brought into them.
pub fn delivery_queue(limits: QueueLimits) -> (DeliverySender, DeliveryReceiver) {
    let range = |limit: usize| limit.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (limit_frames, limit_bytes) = (range(limits.frames), range(limits.bytes));
    // Bounded by the room: a parcel holds at least one frame.
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        room_frames: Semaphore::new(limit_frames),
        limit_frames,
        room_bytes: Semaphore::new(limit_bytes),
        limit_bytes,
        frames: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        gauges: QueueGauges::new(),
    });
    let receiver = DeliveryReceiver { items: receiver, shared: shared.clone(), open: None, taken: Room::default() };
    (DeliverySender { items: sender, shared }, receiver)
}

impl DeliverySender {
    /// Hands a delivery on, waiting for room. Cancelling the future hands nothing on and keeps no room.
    pub async fn send(&self, delivery: Delivery) -> Result<(), QueueClosed> {
        self.send_parcel(Parcel::from(delivery)).await
    }

    /// Hands on all of a parcel, waiting for room for all of it. Cancelling the future hands nothing on and keeps no
    /// room. An empty parcel is nothing.
    pub async fn send_parcel(&self, parcel: Parcel) -> Result<(), QueueClosed> {
        if parcel.is_empty() {
            return Ok(());
        }
        let room = self.shared.room(&parcel);
        let permits = |amount: usize| u32::try_from(amount).expect("limits are within 32 bits");
        let bytes = self.shared.room_bytes.acquire_many(permits(room.bytes)).await.map_err(|_| QueueClosed)?;
        let frames = self.shared.room_frames.acquire_many(permits(room.frames)).await.map_err(|_| QueueClosed)?;
        // No await from here on. The room is given back by the receiver: of frames when it takes them, of bytes when it
        // has finished them.
        self.shared.entered(room);
        match self.items.send(Item { parcel, room }) {
            Ok(()) => {
                bytes.forget();
                frames.forget();
                Ok(())
            }
            Err(_) => {
                self.shared.uncount(room);
                Err(QueueClosed)
            }
        }
    }

    /// Whether a parcel is as large as it should grow before it is handed on.
    pub fn is_full(&self, parcel: &Parcel) -> bool {
        let Shared { limit_frames, limit_bytes, .. } = *self.shared;
        parcel.len() >= PARCEL_FRAMES.min(limit_frames / PARCELS).max(1)
            || parcel.bytes() >= PARCEL_BYTES.min(limit_bytes / PARCELS)
    }

    /// What the queue holds now.
    pub fn depth(&self) -> QueueDepth {
        self.shared.depth()
    }
}

impl DeliveryReceiver {
    /// Appends waiting parcels to `into`, in order, until they hold at least `min` (at least 1) deliveries or no more
    /// wait; waits for the first. Returns how many deliveries; 0 says that every sender is gone and nothing is left.
    ///
    /// Taking parcels says that those before are finished: only then is the room of their bytes free again. Cancelling
    /// the future takes nothing.
    pub async fn recv_parcels(&mut self, into: &mut Vec<Parcel>, min: usize) -> usize {
        self.finish();
        let first = match self.open.take() {
            Some(open) => Some(open),
            None => self.items.recv().await,
        };
        let (mut next, mut count) = (first, 0);
        while let Some(Item { parcel, room }) = next {
            self.take(room);
            count += parcel.len();
            into.push(parcel);
            next = if count < min { self.items.try_recv().ok() } else { None };
        }
        count
    }

    /// The same one by one: appends up to `max` (at least 1) waiting deliveries to `into`.
    pub async fn recv_batch(&mut self, into: &mut Vec<Delivery>, max: usize) -> usize {
        self.finish();
        if self.open.is_none() {
            self.open = self.items.recv().await;
        }
        let mut count = 0;
        while let Some(Item { mut parcel, mut room }) = self.open.take() {
            while count < max.max(1)
                && let Some(delivery) = parcel.pop()
            {
                self.take(room.part(delivery.frame.len(), parcel.is_empty()));
                into.push(delivery);
                count += 1;
            }
            if !parcel.is_empty() {
                self.open = Some(Item { parcel, room });
                break;
            }
            if count < max {
                self.open = self.items.try_recv().ok();
            }
        }
        count
    }

    fn take(&mut self, room: Room) {
        self.shared.room_frames.add_permits(room.frames);
        self.taken.frames += room.frames;
        self.taken.bytes += room.bytes;
    }

    /// Says that the last batch is finished, so that its room is free before the next one is asked for.
    pub fn finish(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken.frames > 0 {
            self.shared.left(taken);
        }
    }

    /// What the queue holds now, the batch in work included.
    pub fn depth(&self) -> QueueDepth {
        self.shared.depth()
    }
}

impl Drop for DeliveryReceiver {
    fn drop(&mut self) {
        self.items.close();
        // Senders that wait for room must learn that none will come.
        self.shared.room_frames.close();
        self.shared.room_bytes.close();
        let Shared { frames, bytes, gauges, .. } = &*self.shared;
        gauges.frames.decrement(frames.swap(0, Ordering::Relaxed) as f64);
        gauges.bytes.decrement(bytes.swap(0, Ordering::Relaxed) as f64);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::Utc;

    use super::*;
    use crate::event::{Upstream, UpstreamKind};

    fn parcel(numbers: std::ops::Range<u8>) -> Parcel {
        let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test"));
        let mut parcel = Parcel::default();
        numbers.for_each(|n| parcel.push(&upstream, Utc::now(), true, Bytes::from(vec![n; 10])));
        parcel
    }

    #[tokio::test]
    async fn a_parcel_may_be_taken_in_parts_and_gives_its_room_back_in_parts() {
        let (sender, mut receiver) = delivery_queue(QueueLimits { frames: 5, bytes: 1_000 });
        sender.send_parcel(Parcel::default()).await.unwrap();
        sender.send_parcel(parcel(0..5)).await.unwrap();
        assert_eq!(sender.depth(), QueueDepth { frames: 5, bytes: 50 });
        let mut taken = Vec::new();
        for (max, depth) in [(2, 5), (2, 3), (9, 1)] {
            receiver.recv_batch(&mut taken, max).await;
            assert_eq!(receiver.depth(), QueueDepth { frames: depth, bytes: depth * 10 });
        }
        assert_eq!(taken.iter().map(|delivery| delivery.frame[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        // All of its room is free again.
        sender.send_parcel(parcel(5..10)).await.unwrap();
        let mut parcels = Vec::new();
        assert_eq!(receiver.recv_parcels(&mut parcels, 1).await, 5);
        receiver.finish();
        assert_eq!(sender.depth(), QueueDepth::default());
    }

    #[tokio::test]
    async fn parcels_are_taken_until_they_hold_enough_and_what_was_opened_comes_first() {
        let (sender, mut receiver) = delivery_queue(QueueLimits::default());
        for numbers in [0..3, 3..6, 6..9, 9..12] {
            sender.send_parcel(parcel(numbers)).await.unwrap();
        }
        let mut taken = Vec::new();
        assert_eq!(receiver.recv_batch(&mut taken, 1).await, 1);
        let mut parcels = Vec::new();
        assert_eq!(receiver.recv_parcels(&mut parcels, 4).await, 5);
        assert_eq!(receiver.recv_parcels(&mut parcels, 100).await, 6);
        drop(sender);
        assert_eq!(receiver.recv_parcels(&mut parcels, 1).await, 0);
        for parcel in parcels {
            parcel.for_each(0, |_| {}, |delivery| taken.push(delivery.clone()));
        }
        assert_eq!(taken.iter().map(|delivery| delivery.frame[0]).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_parcel_larger_than_the_queue_passes_alone() {
        let (sender, mut receiver) = delivery_queue(QueueLimits { frames: 2, bytes: 15 });
        assert!(sender.is_full(&parcel(0..1)), "a small queue takes them one by one");
        sender.send_parcel(parcel(0..4)).await.unwrap();
        assert_eq!(sender.depth(), QueueDepth { frames: 2, bytes: 15 });
        let mut second = std::pin::pin!(sender.send_parcel(parcel(4..5)));
        let mut taken = Vec::new();
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is no room"),
            count = receiver.recv_batch(&mut taken, 10) => assert_eq!(count, 4),
        }
        receiver.finish();
        second.await.unwrap();
        assert_eq!(receiver.depth(), QueueDepth { frames: 1, bytes: 10 });
        drop(receiver);
        assert_eq!(sender.send_parcel(parcel(0..1)).await, Err(QueueClosed));
        assert_eq!(sender.depth(), QueueDepth::default());
    }

    #[test]
    fn parcels_grow_to_a_size_and_no_further() {
        let (sender, _receiver) = delivery_queue(QueueLimits::default());
        let upstream = Arc::new(Upstream::new(UpstreamKind::Relay, "relay.test"));
        for (frame, frames) in [(Bytes::from_static(b"small"), PARCEL_FRAMES), (Bytes::from(vec![0; PARCEL_BYTES]), 1)]
        {
            let mut parcel = Parcel::default();
            while !sender.is_full(&parcel) {
                parcel.push(&upstream, Utc::now(), true, frame.clone());
            }
            assert_eq!(parcel.len(), frames);
        }
    }
}
