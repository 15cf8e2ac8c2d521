//! Where the private server's files are.
//!
//! `DATA_DIR/postgres/` holds `data` (the server's files), `run` (its socket), `server.log` and `owner.lock`. A socket's
//! path may not exceed 107 bytes; under a long data directory the socket lives in a directory of /tmp whose name is
//! derived from the data directory, so that every process finds the same one.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{EmbeddedError, account::ServerUser};

/// `sockaddr_un` has 108 bytes, one of which ends the text.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_NAME: &str = ".s.PGSQL.5432";

#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Almanac's data directory, absolute.
    pub data_dir: PathBuf,
    /// `DATA_DIR/postgres`.
    pub root: PathBuf,
    /// The server's files.
    pub cluster: PathBuf,
    pub socket_dir: PathBuf,
    pub log: PathBuf,
    pub lock: PathBuf,
}

impl Layout {
    /// Makes what must exist before anything can be locked: the data directory and `postgres` in it.
    pub fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        make_dir_all(data_dir)?;
        let data_dir = data_dir.canonicalize().map_err(EmbeddedError::io("resolve", data_dir))?;
        let root = data_dir.join("postgres");
        make_dir_all(&root)?;
        let mut socket_dir = root.join("run");
        if socket_dir.as_os_str().len() + 1 + SOCKET_NAME.len() > SOCKET_PATH_BYTES_MAX {
            let hash = Sha256::digest(data_dir.as_os_str().as_bytes());
            let hash = data_encoding::HEXLOWER.encode(&hash[..8]);
            socket_dir = PathBuf::from(format!("/tmp/almanac-{hash}"));
        }
        let (cluster, log, lock) = (root.join("data"), root.join("server.log"), root.join("owner.lock"));
        Ok(Self { data_dir, root, cluster, socket_dir, log, lock })
    }

    /// Makes the socket's directory, for the server's user alone. /tmp is open to all: what stands there under our name
    /// is used only when it is a directory of that user that nobody else can enter.
    pub fn prepare_socket_dir(&self, user: &ServerUser) -> Result<(), EmbeddedError> {
        let dir = &self.socket_dir;
        match make_private_dir(dir) {
            Ok(()) => user.own(dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(EmbeddedError::io("create", dir)(error)),
        }
        self.check_socket_dir(user)
    }

    fn check_socket_dir(&self, user: &ServerUser) -> Result<(), EmbeddedError> {
        let dir = &self.socket_dir;
        let meta = fs::symlink_metadata(dir).map_err(EmbeddedError::io("look at", dir))?;
        if !meta.is_dir() || meta.uid() != user.uid {
            let owner = super::account::user_name(meta.uid());
            return Err(EmbeddedError::NotOurs { path: dir.clone(), owner });
        }
        set_mode(dir, 0o700)
    }

    /// Whether a database was made here.
    pub fn has_cluster(&self) -> bool {
        self.cluster.join("PG_VERSION").is_file()
    }

    /// The major version that made the files; `None` when there are none, or the file is unreadable.
    pub fn cluster_version(&self) -> Option<u32> {
        fs::read_to_string(self.cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// As root the way must stay open to the server's user, who is somebody else; otherwise nobody else has business here.
fn make_dir_all(dir: &Path) -> Result<(), EmbeddedError> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 };
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir).map_err(EmbeddedError::io("create directory", dir))?;
    // The umask may have taken away what the server's user needs.
    set_mode(dir, mode)
}

pub(super) fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

pub(in crate::db) fn set_mode(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(EmbeddedError::io("set permissions of", path))
}

/// Where Almanac keeps its files when nothing is said: `$XDG_DATA_HOME/almanac` or `~/.local/share/almanac`. For root it
/// is `/var/lib/almanac`, since the server's unprivileged user can seldom enter root's home.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/almanac");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"))
        .join("almanac")
}
