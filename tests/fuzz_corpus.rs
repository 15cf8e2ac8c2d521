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
