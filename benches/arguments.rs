//! The command line: how much is done, where the figures go, and which paths run.

use std::path::PathBuf;

use crate::fixture::Scale;

/// What was asked for.
pub struct Arguments {
    /// How much is done.
    pub scale: Scale,
    /// The file that the figures are written to, for machines.
    pub json: Option<PathBuf>,
    /// Parts of the names of the paths to run; none are all.
    pub words: Vec<String>,
}

impl Arguments {
    /// Reads them; leaves the process with a reason when they cannot be understood.
    pub fn read(mut words: Vec<String>) -> Self {
        let mut flag = |name: &str| {
            let before = words.len();
            words.retain(|word| word != name);
            words.len() < before
        };
        // Cargo passes `--bench` to every benchmark.
        flag("--bench");
        let scale = match (flag("--test"), flag("--full") || std::env::var_os("ALMANAC_BENCH_FULL").is_some()) {
            (true, _) => Scale::Test,
            (false, true) => Scale::Full,
            (false, false) => Scale::Small,
        };
        let json = words.iter().position(|word| word == "--json").map(|at| {
            words.remove(at);
            if at == words.len() {
                eprintln!("--json wants the file to write");
                std::process::exit(2);
            }
            PathBuf::from(words.remove(at))
        });
        if let Some(unknown) = words.iter().find(|word| word.starts_with('-')) {
            eprintln!("{unknown} is none of --test, --full and --json FILE, nor a word of a path's name");
            std::process::exit(2);
        }
        Arguments { scale, json, words }
    }

    /// Whether a path of this name is to run.
    pub fn chosen(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}
