//! Dumps: what is written can be read, by us and by the format's own library; what is damaged is read as far as it goes.
#![cfg(feature = "runtime")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use almanac::event::{Delivery, Environment, Upstream, UpstreamKind};
use almanac::source::dump::{DumpFormat, DumpFrame, DumpProblem, DumpReader, DumpWriter};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use proptest::prelude::*;

const LARGEST: usize = 5_000_000;

fn upstream(kind: UpstreamKind, name: &str) -> Arc<Upstream> {
    Arc::new(Upstream::new(kind, name))
}

/// Bytes that zstd cannot make nothing of.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect::<Vec<u8>>().into()
}

fn delivery(upstream: &Arc<Upstream>, number: u64, length: usize) -> Delivery {
    let seen_at = DateTime::from_timestamp_nanos(1_760_000_000_000_000_000 + number as i64 * 1_000_003);
    Delivery { upstream: upstream.clone(), seen_at, live: true, frame: noise(number, length) }
}

/// A dump of two upstreams with several chunks, and what went into it.
fn record(path: &Path, count: u64) -> Vec<Delivery> {
    let upstreams = [upstream(UpstreamKind::Relay, "relay.example"), upstream(UpstreamKind::Pds, "pds.example:2583")];
    let mut writer = DumpWriter::create(path, Some(&Environment::parse("dev-test").unwrap())).unwrap();
    writer.add_upstream(&upstreams[0], "wss://relay.example").unwrap();
    let deliveries: Vec<_> =
        (0..count).map(|n| delivery(&upstreams[(n % 3 == 2) as usize], n, 1 + (n as usize * 7919) % 11_000)).collect();
    for delivery in &deliveries {
        writer.write(delivery).unwrap();
    }
    assert_eq!(writer.frames(), count);
    assert_eq!(writer.finish().unwrap(), std::fs::metadata(path).unwrap().len());
    deliveries
}

fn read(path: &Path) -> (Vec<DumpFrame>, Vec<DumpProblem>) {
    let (mut frames, mut problems) = (Vec::new(), Vec::new());
    for item in DumpReader::open(path).unwrap() {
        match item {
            Ok(frame) => frames.push(frame),
            Err(problem) => problems.push(problem),
        }
    }
    (frames, problems)
}

fn assert_same(frames: &[DumpFrame], deliveries: &[Delivery]) {
    assert_eq!(frames.len(), deliveries.len());
    for (frame, delivery) in frames.iter().zip(deliveries) {
        assert_eq!(frame.upstream, delivery.upstream);
        assert_eq!(frame.seen_at, Some(delivery.seen_at));
        assert_eq!(frame.frame, delivery.frame);
    }
}

#[test]
fn what_is_recorded_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mcap");
    let deliveries = record(&path, 700);
    let mut reader = DumpReader::open(&path).unwrap();
    assert_eq!(reader.info().format, DumpFormat::Mcap);
    assert_eq!(reader.info().environment.as_ref().unwrap().as_str(), "dev-test");
    assert_eq!(reader.info().byte_length, Some(std::fs::metadata(&path).unwrap().len()));
    assert!(reader.info().tool.as_deref().unwrap().starts_with("almanac/"));
    assert!((Utc::now() - reader.info().created_at.unwrap()).num_seconds() < 60);
    assert_eq!(*reader.info().upstreams[0], *deliveries[0].upstream);
    let frames: Vec<_> = (&mut reader).map(Result::unwrap).collect();
    assert_same(&frames, &deliveries);
    assert_eq!(reader.info().upstreams.len(), 2);
    assert_eq!(Some(reader.bytes_read()), reader.info().byte_length);
    let replayed = frames[0].clone().into_delivery(Utc::now());
    assert!(!replayed.live && replayed.seen_at == deliveries[0].seen_at);
}

#[test]
fn the_formats_own_library_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mcap");
    let deliveries = record(&path, 400);
    let bytes = std::fs::read(&path).unwrap();
    let messages: Vec<_> = mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap).collect();
    assert_eq!(messages.len(), deliveries.len());
    let mut sequences = std::collections::HashMap::new();
    for (message, delivery) in messages.iter().zip(&deliveries) {
        assert_eq!(message.channel.topic, *delivery.upstream.name);
        assert_eq!(message.data[..], delivery.frame[..]);
        assert_eq!(message.log_time, delivery.seen_at.timestamp_nanos_opt().unwrap() as u64);
        let next = sequences.entry(message.channel.topic.clone()).or_insert(0);
        assert_eq!(message.sequence, *next);
        *next += 1;
    }
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    assert_eq!(summary.stats.unwrap().message_count, 400);
    let relay = summary.channels.values().find(|channel| channel.topic == "relay.example").unwrap();
    assert_eq!(relay.metadata["kind"], "relay");
    assert_eq!(relay.metadata["url"], "wss://relay.example");
    assert!(summary.chunk_indexes.len() >= 3, "{}", summary.chunk_indexes.len());
    assert!(summary.chunk_indexes.iter().all(|chunk| chunk.compression == "zstd"));
}

/// Where each chunk begins and ends, and how many frames it holds, by the format's own library.
fn chunks(bytes: &[u8]) -> Vec<(u64, u64, usize)> {
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    let mut chunks: Vec<_> = summary
        .chunk_indexes
        .iter()
        .map(|index| {
            let frames = summary.stream_chunk(bytes, index).unwrap().count();
            (index.chunk_start_offset, index.chunk_start_offset + index.chunk_length, frames)
        })
        .collect();
    chunks.sort_unstable();
    chunks
}

struct Fixture {
    _dir: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    deliveries: Vec<Delivery>,
    chunks: Vec<(u64, u64, usize)>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole.mcap");
    let deliveries = record(&path, 700);
    let bytes = std::fs::read(&path).unwrap();
    let chunks = chunks(&bytes);
    assert_eq!(chunks.iter().map(|chunk| chunk.2).sum::<usize>(), 700);
    Fixture { path: dir.path().join("cut.mcap"), _dir: dir, bytes, deliveries, chunks }
}

fn check_cut(fixture: &Fixture, cut: usize) {
    std::fs::write(&fixture.path, &fixture.bytes[..cut]).unwrap();
    let (frames, problems) = read(&fixture.path);
    let whole: usize = fixture.chunks.iter().filter(|chunk| chunk.1 <= cut as u64).map(|chunk| chunk.2).sum();
    assert_same(&frames, &fixture.deliveries[..whole]);
    match &problems[..] {
        [] => assert_eq!(cut, fixture.bytes.len()),
        [problem @ DumpProblem::Truncated { at, from }] => {
            assert!(cut < fixture.bytes.len());
            assert_eq!(*at, cut as u64);
            assert!(from <= at && problem.is_end() && problem.is_truncation());
            assert!(problem.to_string().contains(&format!("truncated at byte {cut}")));
        }
        other => panic!("cut at {cut}: {other:?}"),
    }
}

#[test]
fn a_dump_cut_off_at_any_byte_gives_every_frame_of_its_whole_chunks() {
    let fixture = fixture();
    let length = fixture.bytes.len();
    let edges = fixture.chunks.iter().flat_map(|chunk| [chunk.0, chunk.1]).map(|edge| edge as usize);
    let near = edges.flat_map(|edge| edge.saturating_sub(12)..edge + 12);
    for cut in (0..40).chain(near).chain(length - 60..=length) {
        check_cut(&fixture, cut);
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 64,
        ..Default::default()
    });
    runner
        .run(&(0..=length), |cut| {
            check_cut(&fixture, cut);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_damaged_chunk_is_skipped_and_reported_and_the_rest_is_read() {
    let fixture = fixture();
    for (index, &(start, end, lost)) in fixture.chunks.iter().enumerate().filter(|(_, chunk)| chunk.2 > 0) {
        let mut bytes = fixture.bytes.clone();
        bytes[(start + (end - start) / 2) as usize] ^= 0x40;
        std::fs::write(&fixture.path, bytes).unwrap();
        let (frames, problems) = read(&fixture.path);
        let before: usize = fixture.chunks[..index].iter().map(|chunk| chunk.2).sum();
        let left = [&fixture.deliveries[..before], &fixture.deliveries[before + lost..]].concat();
        assert_same(&frames, &left);
        match &problems[..] {
            [problem @ DumpProblem::ChunkSkipped { at, .. }] => assert!(*at == start && !problem.is_end(), "{problem}"),
            other => panic!("chunk {index}: {other:?}"),
        }
    }
}

#[test]
fn hostile_bytes_end_in_a_problem_and_never_in_a_panic() {
    let fixture = fixture();
    let length = fixture.bytes.len();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 96,
        ..Default::default()
    });
    // Changes near the borders of records, where lengths and opcodes stand, and anywhere.
    let borders: Vec<usize> = fixture.chunks.iter().flat_map(|chunk| [chunk.0 as usize, chunk.1 as usize]).collect();
    let place = prop_oneof![
        0..length,
        (0..borders.len(), 0..60usize).prop_map(move |(n, off)| (borders[n] + off).min(length - 1))
    ];
    runner
        .run(&(place, any::<u8>()), |(at, byte)| {
            let mut bytes = fixture.bytes.clone();
            bytes[at] = byte;
            std::fs::write(&fixture.path, bytes).unwrap();
            let (frames, _) = read(&fixture.path);
            prop_assert!(frames.len() <= 700);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_a_living_recorder_has_flushed_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mcap");
    let host = upstream(UpstreamKind::Relay, "relay.example");
    let mut writer = DumpWriter::create(&path, None).unwrap();
    let deliveries: Vec<_> = (0..5).map(|n| delivery(&host, n, 500)).collect();
    for delivery in &deliveries {
        writer.write(delivery).unwrap();
    }
    let before = writer.file_bytes();
    let started = std::time::Instant::now();
    while writer.file_bytes() == before {
        assert!(started.elapsed().as_secs() < 20, "the chunk is never flushed");
        writer.flush_if_due().unwrap();
        std::thread::yield_now();
    }
    // As after a kill: nothing of the writer runs any more.
    std::mem::forget(writer);
    let (frames, problems) = read(&path);
    assert_same(&frames, &deliveries);
    assert!(matches!(problems[..], [DumpProblem::Truncated { .. }]), "{problems:?}");
}

#[test]
fn files_of_other_programs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("flat.mcap", mcap::WriteOptions::new().use_chunks(false)),
        ("plain.mcap", mcap::WriteOptions::new().compression(None).calculate_chunk_crcs(false)),
        ("seeking.mcap", mcap::WriteOptions::new().compression(Some(mcap::Compression::Zstd)).library("other")),
    ] {
        let path = dir.path().join(name);
        let mut writer = options.create(std::fs::File::create(&path).unwrap()).unwrap();
        let channel = writer.add_channel(0, "topic", "", &Default::default()).unwrap();
        for n in 0..20u32 {
            let header =
                mcap::records::MessageHeader { channel_id: channel, sequence: n, log_time: 5, publish_time: 5 };
            writer.write_to_known_channel(&header, &noise(n.into(), 300)).unwrap();
        }
        writer.finish().unwrap();
        let (frames, problems) = read(&path);
        assert_eq!((frames.len(), &problems[..]), (20, &[][..]), "{name}");
        assert_eq!(*frames[0].upstream, Upstream::new(UpstreamKind::Dump, "topic"));
        assert_eq!(frames[19].frame, noise(19, 300));
    }
}

fn plain(frames: &[Bytes]) -> Vec<u8> {
    frames.iter().flat_map(|frame| [&(frame.len() as u32).to_le_bytes()[..], frame].concat()).collect()
}

#[test]
fn plain_frames_are_read_whole_and_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let frames: Vec<_> =
        [5, 0, 70_000, 1, 300_000, 12].iter().enumerate().map(|(n, length)| noise(n as u64, *length)).collect();
    let bytes = plain(&frames);
    let path = dir.path().join("kept.frames");
    let ends: Vec<usize> = frames
        .iter()
        .scan(0, |at, frame| {
            *at += 4 + frame.len();
            Some(*at)
        })
        .collect();
    for cut in (0..20).chain(ends.iter().flat_map(|end| end - 3..(end + 6).min(bytes.len() + 1))) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (read, problems) = read(&path);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read.iter().map(|frame| frame.frame.clone()).collect::<Vec<_>>(), frames[..whole], "cut at {cut}");
        let at_border = cut == 0 || ends.contains(&cut);
        match &problems[..] {
            [] => assert!(at_border, "cut at {cut}"),
            [DumpProblem::Truncated { at, .. }] => assert!(!at_border && *at == cut as u64, "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    let reader = DumpReader::open(&path).unwrap();
    assert_eq!(*reader.info().upstreams[0], Upstream::new(UpstreamKind::Dump, "kept"));

    let packed = zstd::encode_all(&bytes[..], 1).unwrap();
    let path = dir.path().join("kept.frames.zst");
    std::fs::write(&path, &packed).unwrap();
    let (whole, problems) = read(&path);
    assert_eq!(whole.iter().map(|frame| frame.frame.clone()).collect::<Vec<_>>(), frames);
    assert_eq!(problems, []);
    assert_eq!(whole[0].seen_at, None);
    assert_eq!(&*whole[0].upstream.name, "kept");
    for cut in [1, 3, 6, packed.len() / 3, packed.len() / 2, packed.len() - 1] {
        std::fs::write(&path, &packed[..cut]).unwrap();
        let (part, problems) = read(&path);
        assert!(part.iter().zip(&frames).all(|(read, frame)| read.frame == *frame), "cut at {cut}");
        assert!(matches!(problems[..], [DumpProblem::Truncated { .. }]), "cut at {cut}: {problems:?}");
    }
}

#[test]
fn lengths_are_believed_up_to_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frames");
    let large = Bytes::from(vec![7; LARGEST + 1]);
    let mut bytes = plain(&[noise(1, 10), large.clone(), noise(2, 10)]);
    let at = bytes.len() as u64;
    bytes.extend(16_000_001u32.to_le_bytes());
    bytes.extend([0; 100]);
    std::fs::write(&path, &bytes).unwrap();
    let (frames, problems) = read(&path);
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[1].frame, large);
    assert_eq!(problems, [DumpProblem::FrameLength { at, length: 16_000_001 }]);
    assert!(problems[0].to_string().contains(&format!("byte {at}")));
    std::fs::write(&path, 15_999_999u32.to_le_bytes()).unwrap();
    assert_eq!(read(&path).1, [DumpProblem::Truncated { at: 4, from: 0 }]);
}

#[test]
fn a_frame_above_the_protocols_limit_survives_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mcap");
    let host = upstream(UpstreamKind::Relay, "relay.example");
    let mut writer = DumpWriter::create(&path, None).unwrap();
    let delivery = Delivery { frame: vec![7; LARGEST + 1].into(), ..delivery(&host, 0, 0) };
    writer.write(&delivery).unwrap();
    writer.finish().unwrap();
    assert_same(&read(&path).0, &[delivery]);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: Option<&[u8]>, said: &str| {
        let path = dir.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let error = DumpReader::open(&path).err().expect(name).to_string();
        assert!(error.contains(said) && error.contains(name), "{error}");
    };
    check("absent.mcap", None, "No such file");
    check("text.txt", Some(b"hello, world"), "readable are");
    check("packed.gz", Some(b"\x1f\x8b\x08\0\0\0\0\0\0"), "gzip");
    check("empty", Some(b""), "empty");
    assert!(DumpReader::open(dir.path()).err().unwrap().to_string().contains("directory"));
}

#[test]
fn a_recording_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mcap");
    std::fs::write(&path, "precious").unwrap();
    assert!(DumpWriter::create(&path, None).err().unwrap().to_string().contains("exists"));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let error = DumpWriter::create(&dir.path().join("b.frames.zst"), None).err().unwrap();
    assert!(error.to_string().contains(".mcap"));
}

#[test]
fn captures_of_real_software_are_read_whole() {
    for (name, count) in [
        ("pds-05-fifty-accounts/live.frames.zst", 3_788),
        ("edge/future-cursor.frames", 1),
        ("edge/consumer-too-slow.frames", 1),
        ("edge/outdated-cursor.frames", 1),
    ] {
        let (frames, problems) = read(&Path::new("replay-fixtures/captures").join(name));
        assert_eq!((frames.len(), &problems[..]), (count, &[][..]), "{name}");
    }
}
