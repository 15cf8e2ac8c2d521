//! Every input that the fuzz targets keep, through the same checks, on the stable compiler.

use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{}: {count} inputs", folder.display());
}

#[test]
fn frames() {
    replay("frame", checks::frame);
}

#[test]
fn dag_cbor() {
    replay("cbor", checks::cbor);
}

#[test]
fn cars() {
    replay("car", checks::car);
}

#[test]
fn tree_nodes() {
    replay("node", checks::node);
}

/// The malformed frames are of the same kind as what fuzzing finds: whatever holds for any bytes holds for them.
#[test]
fn malformed_frames() {
    let mut count = 0;
    for entry in std::fs::read_dir("replay-fixtures/malformed").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "frames") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = &bytes[..];
        while let Some((len, after)) = rest.split_first_chunk() {
            let (frame, after) = after.split_at(u32::from_le_bytes(*len) as usize);
            checks::frame(frame);
            rest = after;
            count += 1;
        }
    }
    assert!(count > 300, "{count} frames");
}
