//! The recorder: frames into an MCAP file that is readable whenever its writer dies.
//!
//! A chunk is written whole, and one is closed at the latest a second after its first frame, so a kill loses about a
//! second. The file is forced to the disk when recording ends, not before: a recorder must keep up with the network,
//! and what a machine without power loses is in the relay's window still.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{Compression, WriteOptions, Writer};

use super::{METADATA, METADATA_UPSTREAM};
use crate::event::{Delivery, Environment, Upstream};

/// About this many bytes of frames make a chunk.
const CHUNK_BYTES: u64 = 1_000_000;
/// A chunk is closed when its first frame is this old.
const CHUNK_AGE: Duration = Duration::from_millis(900);

/// A recording that cannot go on: the file, and what the system says.
#[derive(Debug, thiserror::Error)]
#[error("recording to {}: {why}", path.display())]
pub struct RecordError {
    path: PathBuf,
    why: String,
}

struct Channel {
    id: u16,
    sequence: u32,
}

/// Writes deliveries to a new file. It blocks; keep it off async threads.
pub struct DumpWriter {
    path: PathBuf,
    file: File,
    mcap: Writer<NoSeek<BufWriter<File>>>,
    channels: HashMap<Arc<Upstream>, Channel>,
    chunk_since: Option<Instant>,
    frames: u64,
    frame_bytes: u64,
}

impl DumpWriter {
    /// Creates the file, which must not exist, and says in it what it is.
    pub fn create(path: &Path, environment: Option<&Environment>) -> Result<Self, RecordError> {
        let refuse = |why: String| RecordError { path: path.to_owned(), why };
        let name = path.to_string_lossy();
        if name.ends_with(".frames") || name.ends_with(".zst") {
            return Err(refuse("dumps are written as MCAP; let the name end in .mcap".to_owned()));
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
            refuse(match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    "it exists; recordings are never overwritten, name another".to_owned()
                }
                _ => error.to_string(),
            })
        })?;
        let kept = file.try_clone().map_err(|error| refuse(error.to_string()))?;
        let tool = concat!("almanac/", env!("CARGO_PKG_VERSION"));
        let mut mcap = WriteOptions::new()
            .profile("almanac")
            .library(tool)
            .compression(Some(Compression::Zstd))
            .chunk_size(Some(CHUNK_BYTES))
            // Chunks are made up in memory and written whole, never patched afterwards.
            .disable_seeking(true)
            .create(NoSeek::new(BufWriter::with_capacity(256 * 1024, file)))
            .map_err(|error| refuse(error.to_string()))?;
        let mut about =
            BTreeMap::from([("tool".to_owned(), tool.to_owned()), ("created_at".to_owned(), Utc::now().to_rfc3339())]);
        if let Some(environment) = environment {
            about.insert("environment".to_owned(), environment.to_string());
        }
        mcap.write_metadata(&Metadata { name: METADATA.to_owned(), metadata: about })
            .and_then(|()| mcap.flush())
            .map_err(|error| refuse(error.to_string()))?;
        Ok(DumpWriter {
            path: path.to_owned(),
            file: kept,
            mcap,
            channels: HashMap::new(),
            chunk_since: None,
            frames: 0,
            frame_bytes: 0,
        })
    }

    /// Names an upstream before its first frame. `url` is for people. One that is not named so is named by its first frame.
    pub fn add_upstream(&mut self, upstream: &Arc<Upstream>, url: &str) -> Result<(), RecordError> {
        if self.channels.contains_key(upstream) {
            return Ok(());
        }
        let about = BTreeMap::from([
            ("kind".to_owned(), upstream.kind.as_str().to_owned()),
            ("url".to_owned(), url.to_owned()),
        ]);
        let added = self.mcap.add_channel(0, &upstream.name, "application/vnd.atproto.frame", &about).and_then(|id| {
            let mut again = about.clone();
            again.insert("channel".to_owned(), id.to_string());
            again.insert("name".to_owned(), upstream.name.to_string());
            self.mcap.write_metadata(&Metadata { name: METADATA_UPSTREAM.to_owned(), metadata: again })?;
            self.mcap.flush()?;
            Ok(id)
        });
        let id = added.map_err(|error| self.refuse(error))?;
        self.chunk_since = None;
        self.channels.insert(upstream.clone(), Channel { id, sequence: 0 });
        Ok(())
    }

    /// Writes one frame, and closes the chunk when it is due.
    pub fn write(&mut self, delivery: &Delivery) -> Result<(), RecordError> {
        if !self.channels.contains_key(&delivery.upstream) {
            self.add_upstream(&delivery.upstream, "")?;
        }
        let channel = self.channels.get_mut(&delivery.upstream).expect("the channel was added above");
        // 1970 to 2554; a clock outside that is brought to its edge.
        let seen_at = delivery.seen_at.timestamp_nanos_opt().and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        let header = MessageHeader {
            channel_id: channel.id,
            sequence: channel.sequence,
            log_time: seen_at,
            publish_time: seen_at,
        };
        channel.sequence = channel.sequence.wrapping_add(1);
        self.mcap.write_to_known_channel(&header, &delivery.frame).map_err(|error| self.refuse(error))?;
        self.frames += 1;
        self.frame_bytes += delivery.frame.len() as u64;
        self.chunk_since.get_or_insert_with(Instant::now);
        self.flush_if_due()
    }

    /// Closes the chunk when its first frame is old enough. Call it about every 100 ms while no frames come.
    pub fn flush_if_due(&mut self) -> Result<(), RecordError> {
        if self.chunk_since.is_some_and(|since| since.elapsed() >= CHUNK_AGE) {
            self.chunk_since = None;
            self.mcap.flush().map_err(|error| self.refuse(error))?;
        }
        Ok(())
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes of the frames written, before compression.
    pub fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// Bytes in the file so far, what is still buffered not counted.
    pub fn file_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    /// Writes the index and forces the file to the disk. Returns the file's length in bytes.
    pub fn finish(mut self) -> Result<u64, RecordError> {
        self.mcap.finish().map_err(|error| self.refuse(error))?;
        let DumpWriter { path, file, mcap, .. } = self;
        let flushed = mcap.into_inner().into_inner().into_inner().map_err(|error| error.into_error());
        flushed
            .and_then(|flushed| flushed.sync_all())
            .and_then(|()| file.metadata())
            .map(|meta| meta.len())
            .map_err(|error| RecordError { path, why: error.to_string() })
    }

    fn refuse(&self, error: impl std::fmt::Display) -> RecordError {
        RecordError { path: self.path.clone(), why: error.to_string() }
    }
}
