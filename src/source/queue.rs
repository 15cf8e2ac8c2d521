//! The queue between sources and ingest: bounded in frames and in bytes.
//!
//! Bytes are bounded as well because frames differ by a factor of ten thousand: a thousand small ones are nothing, a
//! thousand of the largest are five gigabytes. A sender waits for room and meanwhile does not read its socket, so a
//! slow database slows the host down instead of filling memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::metric::QueueGauges;
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
    room_bytes: Semaphore,
    limit_bytes: u32,
    frames: AtomicUsize,
    bytes: AtomicUsize,
    gauges: QueueGauges,
}

impl Shared {
    /// How much of the byte room a frame takes: its length, but never more than there is, or it would wait for ever.
    fn weight(&self, delivery: &Delivery) -> u32 {
        u32::try_from(delivery.frame.len()).unwrap_or(u32::MAX).clamp(1, self.limit_bytes)
    }

    fn depth(&self) -> QueueDepth {
        QueueDepth { frames: self.frames.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn entered(&self, weight: u32) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(weight as usize, Ordering::Relaxed);
        self.gauges.frames.increment(1.0);
        self.gauges.bytes.increment(f64::from(weight));
    }

    fn left(&self, frames: usize, bytes: usize) {
        self.frames.fetch_sub(frames, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.gauges.frames.decrement(frames as f64);
        self.gauges.bytes.decrement(bytes as f64);
        self.room_bytes.add_permits(bytes);
    }
}

struct Item {
    delivery: Delivery,
    weight: u32,
}

/// The end that sources hold. Clones share one queue.
#[derive(Clone)]
pub struct DeliverySender {
    items: mpsc::Sender<Item>,
    shared: Arc<Shared>,
}

/// The end that ingest holds.
pub struct DeliveryReceiver {
    items: mpsc::Receiver<Item>,
    shared: Arc<Shared>,
    scratch: Vec<Item>,
    taken_frames: usize,
    taken_bytes: usize,
}

/// Makes a queue. Limits outside their ranges are brought into them.
pub fn delivery_queue(limits: QueueLimits) -> (DeliverySender, DeliveryReceiver) {
    let limit_bytes = u32::try_from(limits.bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX).max(1);
    let (sender, receiver) = mpsc::channel(limits.frames.max(1));
    let shared = Arc::new(Shared {
        room_bytes: Semaphore::new(limit_bytes as usize),
        limit_bytes,
        frames: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        gauges: QueueGauges::new(),
    });
    let receiver = DeliveryReceiver {
        items: receiver,
        shared: shared.clone(),
        scratch: Vec::new(),
        taken_frames: 0,
        taken_bytes: 0,
    };
    (DeliverySender { items: sender, shared }, receiver)
}

impl DeliverySender {
    /// Hands a delivery on, waiting for room. Cancelling the future hands nothing on and keeps no room.
    pub async fn send(&self, delivery: Delivery) -> Result<(), QueueClosed> {
        let weight = self.shared.weight(&delivery);
        let room = self.shared.room_bytes.acquire_many(weight).await.map_err(|_| QueueClosed)?;
        let slot = self.items.reserve().await.map_err(|_| QueueClosed)?;
        // No await from here on. The room is given back by the receiver when it has finished the delivery.
        room.forget();
        self.shared.entered(weight);
        slot.send(Item { delivery, weight });
        Ok(())
    }

    /// What the queue holds now.
    pub fn depth(&self) -> QueueDepth {
        self.shared.depth()
    }
}

impl DeliveryReceiver {
    /// Appends up to `max` (at least 1) waiting deliveries to `into`, in order, waiting for the first. Returns how
    /// many; 0 says that every sender is gone and nothing is left.
    ///
    /// Taking a batch says that the batch before is finished: only then is the room of its bytes free again. Cancelling
    /// the future takes nothing.
    pub async fn recv_batch(&mut self, into: &mut Vec<Delivery>, max: usize) -> usize {
        self.finish();
        let count = self.items.recv_many(&mut self.scratch, max.max(1)).await;
        into.reserve(count);
        for item in self.scratch.drain(..) {
            self.taken_bytes += item.weight as usize;
            into.push(item.delivery);
        }
        self.taken_frames = count;
        count
    }

    /// Says that the last batch is finished, so that its room is free before the next one is asked for.
    pub fn finish(&mut self) {
        if self.taken_frames > 0 {
            self.shared.left(self.taken_frames, self.taken_bytes);
            (self.taken_frames, self.taken_bytes) = (0, 0);
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
        self.shared.room_bytes.close();
        let left = self.shared.depth();
        self.shared.gauges.frames.decrement(left.frames as f64);
        self.shared.gauges.bytes.decrement(left.bytes as f64);
    }
}
