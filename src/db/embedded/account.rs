//! As whom the server runs. Postgres refuses root, so root runs it as somebody else, who must be able to get there.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::unistd::{Uid, User, getegid, geteuid};

use super::{EmbeddedError, layout::Layout};

#[derive(Clone, Debug)]
pub(super) struct ServerUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// We are root and change to this user.
    switch: bool,
}

impl ServerUser {
    /// Ourselves, unless we are root: then the owner of the files that are there, or `postgres`, or `nobody`.
    pub fn choose(layout: &Layout) -> Result<Self, EmbeddedError> {
        let owner = fs::metadata(&layout.cluster).ok().map(|meta| meta.uid());
        let me = geteuid();
        if !me.is_root() {
            if let Some(owner) = owner.filter(|&owner| owner != me.as_raw()) {
                let path = layout.cluster.clone();
                return Err(EmbeddedError::NotOurs { path, owner: user_name(owner) });
            }
            return Ok(Self { name: user_name(me.as_raw()), uid: me.as_raw(), gid: getegid().as_raw(), switch: false });
        }
        // A data directory that a user made and root opens stays that user's.
        let owner =
            owner.or_else(|| fs::metadata(&layout.data_dir).ok().map(|meta| meta.uid())).filter(|&uid| uid != 0);
        let user = match owner {
            Some(uid) => User::from_uid(Uid::from_raw(uid)).ok().flatten(),
            None => ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten()),
        };
        match (user, owner) {
            (Some(user), _) => {
                Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
            }
            (None, Some(uid)) => Ok(Self { name: uid.to_string(), uid, gid: uid, switch: true }),
            (None, None) => Err(EmbeddedError::Io {
                what: "run PostgreSQL as root, and there is neither a user postgres nor nobody to run it as, for",
                path: layout.cluster.clone(),
                source: ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Gives a file or directory to the server.
    pub fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switch {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(EmbeddedError::io("give away", path))
    }

    /// A command that runs as this user with nothing of our environment that Postgres would obey (`PGDATA`, `PGPORT`…).
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.switch {
            // Also drops root's supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a program as this user in a directory. What bars the way is named.
    pub fn run_in(&self, program: &Path, args: &[&str], dir: &Path) -> Result<Output, EmbeddedError> {
        self.command(program).args(args).current_dir(dir).output().map_err(|error| self.barred(error, program, dir))
    }

    fn barred(&self, error: io::Error, program: &Path, dir: &Path) -> EmbeddedError {
        if self.switch && error.kind() == ErrorKind::PermissionDenied {
            for (path, instead) in [(dir, "--data-dir"), (program, "ALMANAC_PG_BIN")] {
                if let Some(culprit) = self.shut_out(path) {
                    return EmbeddedError::Unreachable { user: self.name.clone(), path: path.into(), culprit, instead };
                }
            }
        }
        EmbeddedError::io("run", program)(error)
    }

    /// The first directory on the way to `path` that this user may not pass, judged by its mode bits.
    pub fn shut_out(&self, path: &Path) -> Option<PathBuf> {
        let mut ways: Vec<&Path> = path.ancestors().skip(1).collect();
        ways.reverse();
        ways.into_iter().find(|way| fs::metadata(way).is_ok_and(|meta| !self.may_pass(&meta))).map(Path::to_path_buf)
    }

    fn may_pass(&self, meta: &fs::Metadata) -> bool {
        let bit = match () {
            () if meta.uid() == self.uid => 0o100,
            () if meta.gid() == self.gid => 0o010,
            () => 0o001,
        };
        meta.mode() & bit != 0
    }
}

pub(super) fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
