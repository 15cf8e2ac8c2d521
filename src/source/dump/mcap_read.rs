//! MCAP, read from front to back: works on a pipe and on a file whose end was never written.
//!
//! The crate's own readers stop at the first wrong checksum or missing end. Records are therefore framed here; their
//! fields are read by the crate.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use chrono::DateTime;
use mcap::records::{ChunkHeader, Record, op};

use super::format::MCAP_MAGIC;
use super::item::{DumpFrame, DumpInfo};
use super::{DumpProblem, FRAME_BYTES_MAX, METADATA, METADATA_UPSTREAM};
use crate::event::{Environment, Upstream, UpstreamKind};

/// The largest chunk that is decompressed. Ours hold about 1 MB and at most one frame more.
const CHUNK_BYTES_MAX: u64 = 64_000_000;
/// Opcode and length.
const RECORD_HEAD: usize = 9;
/// Channel, sequence, log time and publish time before a message's data.
const MESSAGE_HEAD: usize = 22;

/// Reads the records of one file.
pub(super) struct McapReader {
    input: Box<dyn Read + Send>,
    /// Where the next byte of `input` is.
    at: u64,
    channels: HashMap<u16, Arc<Upstream>>,
    /// What is left of the chunk in work, with the offset of that chunk.
    chunk: Bytes,
    chunk_at: u64,
    /// Found while looking ahead for the file's description.
    ahead: VecDeque<Result<DumpFrame, DumpProblem>>,
    footer_seen: bool,
    ended: bool,
    stem: Arc<Upstream>,
}

/// A step through the file.
enum Step {
    Frame(DumpFrame),
    /// Nothing to hand out, but something was read.
    Quiet,
    End,
}

impl McapReader {
    /// `stem` stands for messages of a channel that the file does not describe.
    pub fn new(input: Box<dyn Read + Send>, stem: Arc<Upstream>) -> Self {
        McapReader {
            input,
            at: 0,
            channels: HashMap::new(),
            chunk: Bytes::new(),
            chunk_at: 0,
            ahead: VecDeque::new(),
            footer_seen: false,
            ended: false,
            stem,
        }
    }

    /// Reads up to the first frame, so that what the file says of itself is known before.
    pub fn look_ahead(&mut self, info: &mut DumpInfo) {
        if let Some(first) = self.next(info) {
            self.ahead.push_back(first);
        }
    }

    /// The next frame or problem.
    pub fn next(&mut self, info: &mut DumpInfo) -> Option<Result<DumpFrame, DumpProblem>> {
        if let Some(item) = self.ahead.pop_front() {
            return Some(item);
        }
        while !self.ended {
            match self.step(info) {
                Ok(Step::Frame(frame)) => return Some(Ok(frame)),
                Ok(Step::Quiet) => {}
                Ok(Step::End) => self.ended = true,
                Err(problem) => {
                    self.ended = problem.is_end();
                    return Some(Err(problem));
                }
            }
        }
        None
    }

    /// Whether the next call of `next` answers without reading, if it has anything to answer.
    pub fn is_ahead(&self) -> bool {
        !self.ahead.is_empty() || !self.chunk.is_empty()
    }

    fn step(&mut self, info: &mut DumpInfo) -> Result<Step, DumpProblem> {
        if !self.chunk.is_empty() {
            return self.record_in_chunk(info).inspect_err(|_| self.chunk.clear());
        }
        let from = self.at;
        if from == 0 {
            let magic = self.take(MCAP_MAGIC.len() as u64, 0)?;
            return if magic == MCAP_MAGIC { Ok(Step::Quiet) } else { Err(broken(0, "no MCAP magic bytes")) };
        }
        if self.footer_seen {
            let magic = self.take(MCAP_MAGIC.len() as u64, from)?;
            return if magic == MCAP_MAGIC {
                Ok(Step::End)
            } else {
                Err(broken(from, "no MCAP magic bytes at the end"))
            };
        }
        let head = self.take(RECORD_HEAD as u64, from)?;
        let (opcode, length) = record_head(&head);
        match opcode {
            op::CHUNK if length > CHUNK_BYTES_MAX => {
                self.skip(length, from)?;
                Err(DumpProblem::ChunkSkipped { at: from, why: format!("{length} bytes are more than is taken") })
            }
            op::CHUNK => {
                let body = self.take(length, from)?;
                self.chunk = open_chunk(&body).map_err(|why| DumpProblem::ChunkSkipped { at: from, why })?;
                self.chunk_at = from;
                Ok(Step::Quiet)
            }
            op::HEADER | op::CHANNEL | op::MESSAGE | op::METADATA
                if length > (FRAME_BYTES_MAX + MESSAGE_HEAD) as u64 =>
            {
                Err(DumpProblem::FrameLength { at: from, length })
            }
            op::HEADER | op::CHANNEL | op::MESSAGE | op::METADATA => {
                let body = self.take(length, from)?;
                self.record(opcode, body, info).map_err(|why| broken(from, why))
            }
            op::FOOTER => {
                self.skip(length, from)?;
                self.footer_seen = true;
                Ok(Step::Quiet)
            }
            // The index, attachments and what other programs add.
            0x03..=0x0f | 0x80.. => self.skip(length, from).map(|()| Step::Quiet),
            other => Err(broken(from, format!("no MCAP record has opcode {other:#04x}"))),
        }
    }

    fn record_in_chunk(&mut self, info: &mut DumpInfo) -> Result<Step, DumpProblem> {
        let skipped = |at, why: &str| DumpProblem::ChunkSkipped { at, why: why.to_owned() };
        if self.chunk.len() < RECORD_HEAD {
            return Err(skipped(self.chunk_at, "it ends in the middle of a record"));
        }
        let (opcode, length) = record_head(&self.chunk.split_to(RECORD_HEAD));
        if length > self.chunk.len() as u64 {
            return Err(skipped(self.chunk_at, "a record in it runs past its end"));
        }
        let body = self.chunk.split_to(length as usize);
        match opcode {
            op::MESSAGE | op::CHANNEL => self.record(opcode, body, info).map_err(|why| skipped(self.chunk_at, &why)),
            _ => Ok(Step::Quiet),
        }
    }

    /// A record whose body is whole.
    fn record(&mut self, opcode: u8, body: Bytes, info: &mut DumpInfo) -> Result<Step, String> {
        if opcode == op::MESSAGE && body.len() < MESSAGE_HEAD {
            return Err("a message shorter than its head".to_owned());
        }
        match mcap::parse_record(opcode, &body).map_err(|error| error.to_string())? {
            Record::Message { header, .. } => {
                let upstream = self.channels.get(&header.channel_id).unwrap_or(&self.stem).clone();
                let seen_at = i64::try_from(header.log_time).ok().map(DateTime::from_timestamp_nanos);
                return Ok(Step::Frame(DumpFrame { upstream, seen_at, frame: body.slice(MESSAGE_HEAD..) }));
            }
            Record::Channel(channel) => {
                let kind = channel.metadata.get("kind").map_or("", String::as_str);
                self.channel(channel.id, &channel.topic, kind, info);
            }
            Record::Metadata(metadata) if metadata.name == METADATA => {
                let value = |key: &str| metadata.metadata.get(key);
                info.environment = value("environment").and_then(|text| Environment::parse(text).ok());
                info.tool = value("tool").cloned();
                info.created_at = value("created_at").and_then(|text| text.parse().ok());
            }
            // Repeats the channel outside any chunk, so that a damaged first chunk does not cost the names.
            Record::Metadata(metadata) if metadata.name == METADATA_UPSTREAM => {
                let value = |key: &str| metadata.metadata.get(key).map_or("", String::as_str);
                if let Ok(id) = value("channel").parse() {
                    self.channel(id, value("name"), value("kind"), info);
                }
            }
            _ => {}
        }
        Ok(Step::Quiet)
    }

    fn channel(&mut self, id: u16, name: &str, kind: &str, info: &mut DumpInfo) {
        let kind = UpstreamKind::from_word(kind).unwrap_or(UpstreamKind::Dump);
        let upstream = Upstream::new(kind, name);
        // Two channels of one upstream, as in merged dumps, are one upstream.
        let known = info.upstreams.iter().find(|known| ***known == upstream).cloned();
        let upstream = known.unwrap_or_else(|| {
            let upstream = Arc::new(upstream);
            info.upstreams.push(upstream.clone());
            upstream
        });
        self.channels.insert(id, upstream);
    }

    /// The next `length` bytes; the file's end among them is a truncation of what began at `from`.
    fn take(&mut self, length: u64, from: u64) -> Result<Bytes, DumpProblem> {
        let mut bytes = Vec::new();
        // Grows by what is really there, not by what a length claims.
        let read = (&mut self.input).take(length).read_to_end(&mut bytes);
        self.at += bytes.len() as u64;
        self.judge(read, length, from)?;
        Ok(bytes.into())
    }

    fn skip(&mut self, length: u64, from: u64) -> Result<(), DumpProblem> {
        let read = std::io::copy(&mut (&mut self.input).take(length), &mut std::io::sink());
        self.at += *read.as_ref().unwrap_or(&0);
        self.judge(read.map(|read| read as usize), length, from)
    }

    fn judge(&self, read: std::io::Result<usize>, length: u64, from: u64) -> Result<(), DumpProblem> {
        match read {
            Ok(read) if read as u64 == length => Ok(()),
            Ok(_) => Err(DumpProblem::Truncated { at: self.at, from }),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(DumpProblem::Truncated { at: self.at, from }),
            Err(error) => Err(DumpProblem::Io { at: self.at, why: error.to_string() }),
        }
    }
}

fn broken(at: u64, why: impl Into<String>) -> DumpProblem {
    DumpProblem::Broken { at, why: why.into() }
}

fn record_head(mut head: &[u8]) -> (u8, u64) {
    (head.get_u8(), head.get_u64_le())
}

/// A chunk's records, decompressed and checked.
fn open_chunk(body: &Bytes) -> Result<Bytes, String> {
    let (header, data): (ChunkHeader, _) = match mcap::parse_record(op::CHUNK, body) {
        Ok(Record::Chunk { header, data }) => (header, data),
        Ok(_) => return Err("it is no chunk".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let size = header.uncompressed_size;
    if size > CHUNK_BYTES_MAX {
        return Err(format!("it claims {size} bytes, more than is taken"));
    }
    let records = match header.compression.as_str() {
        "" => Bytes::copy_from_slice(&data),
        "zstd" => zstd::bulk::decompress(&data, size as usize).map_err(|error| format!("zstd: {error}"))?.into(),
        other => return Err(format!("compression {other:?} is not known; only zstd or none is")),
    };
    if records.len() as u64 != size {
        return Err(format!("it holds {} bytes and claims {size}", records.len()));
    }
    // 0 says that the writer made no checksum.
    if header.uncompressed_crc != 0 && crc32fast::hash(&records) != header.uncompressed_crc {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(records)
}
