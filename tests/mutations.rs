//! The list of one-line faults fits the code: each line stands where it is said to, and each test that shall notice is
//! there. `tests/mutations/run` applies them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct List {
    fault: Vec<Fault>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    name: String,
    file: PathBuf,
    old: String,
    new: String,
    test: Vec<String>,
    why: String,
}

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where the test of this path would be written: `--lib a::b::tests::name` or `--test target module::name`.
fn sources(test: &[String]) -> (Vec<PathBuf>, &str) {
    let (name, modules) = match test.last().unwrap().rsplit_once("::") {
        Some((modules, name)) => (name, modules.split("::").collect()),
        None => (test.last().unwrap().as_str(), Vec::new()),
    };
    let places = match test {
        [lib, _] if lib == "--lib" => {
            let folder = Path::new("src").join(modules.join("/"));
            // `a::b::tests` is a file of its own or a module in `b`.
            let room = folder.parent().unwrap().to_owned();
            vec![folder.with_extension("rs"), room.with_extension("rs"), room.join("mod.rs")]
        }
        [flag, target, _] if flag == "--test" => match &modules[..] {
            [] => vec![PathBuf::from(format!("tests/{target}.rs")), format!("tests/{target}/main.rs").into()],
            modules => vec![format!("tests/{target}/{}.rs", modules.join("/")).into()],
        },
        other => panic!("{other:?} is neither --lib NAME nor --test TARGET NAME"),
    };
    (places, name)
}

#[test]
fn the_list_fits_the_code() {
    let list: List = toml::from_str(&read("tests/mutations/list.toml")).unwrap();
    let names: BTreeSet<&str> = list.fault.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names.len(), list.fault.len(), "two faults have one name");
    assert!(names.len() >= 14, "{} faults are left", names.len());
    for Fault { name, file, old, new, test, why } in &list.fault {
        assert!(!why.is_empty() && old.trim() != new.trim(), "{name}: it says nothing, or changes nothing");
        let count = read(file).lines().filter(|line| line.trim() == old.trim()).count();
        assert_eq!(count, 1, "{name}: lines of {} that are: {old}", file.display());
        let (places, test_name) = sources(test);
        let written = [format!("fn {test_name}("), format!("fn {test_name} (")];
        let there = places.iter().filter(|place| Path::new(env!("CARGO_MANIFEST_DIR")).join(place).is_file());
        let found = there.map(read).any(|text| written.iter().any(|start| text.contains(start.as_str())));
        assert!(found, "{name}: no test {test_name} in any of {places:?}");
    }
}

/// What the last run found is kept beside the list: it speaks of every fault, and none survived.
#[test]
fn the_last_run_speaks_of_every_fault() {
    let list: List = toml::from_str(&read("tests/mutations/list.toml")).unwrap();
    let table = read("tests/mutations/README.md");
    for fault in &list.fault {
        assert!(table.contains(&fault.name), "{}: run tests/mutations/run and keep its table", fault.name);
    }
    assert!(!table.contains("**survived**"), "a fault survived the last run");
}
