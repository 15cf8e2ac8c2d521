//! Which format a dump has: its first bytes decide, then its name.

use std::fmt;
use std::path::Path;

use super::FRAME_BYTES_MAX;

/// A format that dumps come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpFormat {
    /// The container that `almanac record` writes.
    Mcap,
    /// `{u32 little-endian length, frame}` repeated.
    Frames,
    /// The same, compressed with zstd.
    FramesZst,
}

impl fmt::Display for DumpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DumpFormat::Mcap => "MCAP",
            DumpFormat::Frames => "frames",
            DumpFormat::FramesZst => "frames.zst",
        })
    }
}

pub(super) const MCAP_MAGIC: &[u8] = b"\x89MCAP0\r\n";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

impl DumpFormat {
    /// Decides from the first bytes (up to 8) and the name. A dump cut off within its magic bytes is told by its name.
    pub(super) fn detect(head: &[u8], path: &Path) -> Result<Self, String> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        if head.starts_with(MCAP_MAGIC) || (name.ends_with(".mcap") && MCAP_MAGIC.starts_with(head)) {
            return Ok(DumpFormat::Mcap);
        }
        if head.starts_with(ZSTD_MAGIC) || (name.ends_with(".zst") && ZSTD_MAGIC.starts_with(head)) {
            return Ok(DumpFormat::FramesZst);
        }
        if head.starts_with(GZIP_MAGIC) {
            return Err("it is compressed with gzip; decompress it first".to_owned());
        }
        if name.ends_with(".frames") {
            return Ok(DumpFormat::Frames);
        }
        if head.is_empty() {
            return Err("it is empty".to_owned());
        }
        // A frame begins with a CBOR map of one to a few entries.
        if let [a, b, c, d, first, ..] = *head
            && (0xa1..=0xb7).contains(&first)
            && (1..=FRAME_BYTES_MAX).contains(&(u32::from_le_bytes([a, b, c, d]) as usize))
        {
            return Ok(DumpFormat::Frames);
        }
        Err("neither its first bytes nor its name say what it is; readable are MCAP, \
             .frames ({u32 little-endian length, frame} repeated) and .frames.zst"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::DumpFormat;

    #[test]
    fn content_decides_before_the_name() {
        let check = |head: &[u8], name: &str, expected: Option<DumpFormat>| {
            assert_eq!(DumpFormat::detect(head, Path::new(name)).ok(), expected, "{head:02x?} {name}");
        };
        check(b"\x89MCAP0\r\n", "a.frames", Some(DumpFormat::Mcap));
        check(b"\x89MC", "a.mcap", Some(DumpFormat::Mcap));
        check(b"", "a.mcap", Some(DumpFormat::Mcap));
        check(b"\x28\xb5\x2f\xfd\0\0\0\0", "a.frames", Some(DumpFormat::FramesZst));
        check(b"\x28", "a.frames.zst", Some(DumpFormat::FramesZst));
        check(b"", "a.frames", Some(DumpFormat::Frames));
        check(b"\x05\0\0\0\xa2bop", "-", Some(DumpFormat::Frames));
        check(b"\x05\0\0\0hello", "-", None);
        check(b"", "-", None);
        check(b"\x1f\x8b\x08\0\0\0\0\0", "a.frames.gz", None);
    }
}
