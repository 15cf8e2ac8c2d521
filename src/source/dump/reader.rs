//! A dump, opened.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::frames::FramesReader;
use super::item::{DumpFrame, DumpInfo};
use super::mcap_read::McapReader;
use super::{DumpFormat, DumpOpenError, DumpProblem};
use crate::event::{Upstream, UpstreamKind};

/// Reads a dump from front to back: an iterator of frames and problems. It blocks; keep it off async threads.
pub struct DumpReader {
    info: DumpInfo,
    stem: Arc<Upstream>,
    bytes_read: Arc<AtomicU64>,
    inner: Inner,
    ended: bool,
}

enum Inner {
    Frames(FramesReader),
    Mcap(McapReader),
}

impl DumpReader {
    /// Opens a dump; `-` is standard input. Its first bytes and its name tell the format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DumpOpenError> {
        let path = path.as_ref();
        let refuse = |why: String| DumpOpenError { path: path.to_owned(), why };
        if path == Path::new("-") {
            return Self::from_reader(Box::new(std::io::stdin()), path, None).map_err(refuse);
        }
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        let meta = file.metadata().map_err(|error| refuse(error.to_string()))?;
        if meta.is_dir() {
            return Err(refuse("it is a directory; name the dumps in it".to_owned()));
        }
        // A named pipe has no length.
        let byte_length = meta.is_file().then_some(meta.len());
        Self::from_reader(Box::new(file), path, byte_length).map_err(refuse)
    }

    fn from_reader(input: Box<dyn Read + Send>, path: &Path, byte_length: Option<u64>) -> Result<Self, String> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut input = BufReader::with_capacity(256 * 1024, Counted { input, bytes_read: bytes_read.clone() });
        let mut head = Vec::new();
        (&mut input).take(8).read_to_end(&mut head).map_err(|error| error.to_string())?;
        let format = DumpFormat::detect(&head, path)?;
        let name = stem(path);
        let stem = Arc::new(Upstream::new(UpstreamKind::Dump, name.as_str()));
        let mut info = DumpInfo {
            format,
            name,
            environment: None,
            tool: None,
            created_at: None,
            upstreams: Vec::new(),
            byte_length,
        };
        let input = Cursor::new(head).chain(input);
        let inner = match format {
            DumpFormat::Mcap => {
                let mut mcap = McapReader::new(Box::new(input), stem.clone());
                mcap.look_ahead(&mut info);
                Inner::Mcap(mcap)
            }
            DumpFormat::Frames => Inner::Frames(FramesReader::new(Box::new(input))),
            DumpFormat::FramesZst => {
                let decoder = zstd::Decoder::with_buffer(input).map_err(|error| error.to_string())?;
                Inner::Frames(FramesReader::new(Box::new(decoder)))
            }
        };
        if matches!(inner, Inner::Frames(_)) {
            info.upstreams.push(stem.clone());
        }
        Ok(DumpReader { info, stem, bytes_read, inner, ended: false })
    }

    /// What the dump says of itself.
    pub fn info(&self) -> &DumpInfo {
        &self.info
    }

    /// Whether the next item is in memory: asking for it does not wait for the file. Where it cannot be known, `false`.
    pub fn is_ahead(&self) -> bool {
        match &self.inner {
            Inner::Frames(frames) => frames.is_ahead(),
            Inner::Mcap(mcap) => mcap.is_ahead(),
        }
    }

    /// Bytes of the file read so far: with [`DumpInfo::byte_length`], how far a replay is.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

impl Iterator for DumpReader {
    type Item = Result<DumpFrame, DumpProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match &mut self.inner {
            Inner::Mcap(mcap) => mcap.next(&mut self.info),
            Inner::Frames(frames) => frames
                .next()
                .map(|frame| frame.map(|frame| DumpFrame { upstream: self.stem.clone(), seen_at: None, frame })),
        };
        self.ended = match &item {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(problem)) => problem.is_end(),
        };
        item
    }
}

/// The name without folders and known endings.
fn stem(path: &Path) -> String {
    if path == Path::new("-") {
        return "stdin".to_owned();
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "dump".to_owned());
    let plain = name.strip_suffix(".zst").unwrap_or(&name);
    let plain = plain.strip_suffix(".frames").or_else(|| plain.strip_suffix(".mcap")).unwrap_or(plain);
    if plain.is_empty() { name } else { plain.to_owned() }
}

struct Counted<R> {
    input: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
