//! The manual's table of leak paths fits the tests: those that it names are there, those that are here it names, and it
//! speaks of every rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use almanac::event::OriginRule;

/// The files of `tests/origin` that try leak paths.
const HERE: [&str; 4] = ["both", "leaks", "moves", "outage"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of the tests in a source.
fn tests_in(source: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let marked = lines.windows(2).filter(|pair| pair[0] == "#[test]" || pair[0].starts_with("#[tokio::test"));
    let name = |pair: &[&str]| {
        let rest = pair[1].trim_start_matches("async ").strip_prefix("fn ").expect("a test is a function");
        rest.split('(').next().expect("split gives at least one").to_owned()
    };
    marked.map(name).collect()
}

/// The tests that the table names, each as module and name.
fn named(manual: &str) -> BTreeSet<(String, String)> {
    let words = manual.split('`').skip(1).step_by(2);
    let pair = |word: &str| word.rsplit_once("::").map(|(module, name)| (module.to_owned(), name.to_owned()));
    words.filter_map(pair).filter(|(_, name)| !name.ends_with('…')).collect()
}

#[test]
fn every_test_that_the_manual_names_is_there() {
    let named = named(&read("deploy/ISOLATION.md"));
    assert!(named.len() > 25, "{named:?}");
    for (module, name) in &named {
        let file = match &**module {
            here if HERE.contains(&here) => format!("tests/origin/{here}.rs"),
            "filter::tests" | "identity::vault::tests" => format!("src/{}.rs", module.replace("::", "/")),
            "publish_real" => "tests/publish_real.rs".to_owned(),
            // A module of tests at the end of its file.
            inside => format!("src/{}.rs", inside.trim_end_matches("::tests").replace("::", "/")),
        };
        assert!(tests_in(&read(&file)).contains(name), "no test {name} in {file}");
    }
}

#[test]
fn every_leak_that_is_tried_is_in_the_manual() {
    let named = named(&read("deploy/ISOLATION.md"));
    for module in HERE {
        for name in tests_in(&read(&format!("tests/origin/{module}.rs"))) {
            assert!(
                named.contains(&(module.to_owned(), name.clone())),
                "{module}::{name} is not in deploy/ISOLATION.md"
            );
        }
    }
}

/// "rule 4", "rules 4 and 6", "rules 4 to 12".
#[test]
fn the_manual_speaks_of_every_rule() {
    let manual = read("deploy/ISOLATION.md");
    let words: Vec<&str> = manual.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut rules = BTreeSet::new();
    for at in (0..words.len()).filter(|&at| matches!(words[at], "rule" | "rules" | "Rule" | "Rules")) {
        let (mut up_to, mut before) = (false, 0);
        for word in &words[at + 1..] {
            match (*word, word.parse::<u8>()) {
                ("and", _) => {}
                ("to", _) => up_to = true,
                (_, Ok(number)) => {
                    rules.extend(if up_to { before } else { number }..=number);
                    (up_to, before) = (false, number);
                }
                _ => break,
            }
        }
    }
    let missing: Vec<u8> = OriginRule::ALL.map(OriginRule::number).into_iter().filter(|n| !rules.contains(n)).collect();
    assert_eq!(missing, Vec::<u8>::new(), "rules without a word");
}
