//! Making the server's files, and starting the server on them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;

use super::layout::Layout;
use super::{Binaries, EmbeddedError, ServerOptions, account::ServerUser, layout};

/// The server's superuser. Whoever can enter the socket's directory is let in without a password.
pub(super) const ROLE: &str = "almanac";
/// A log longer than this is put aside at the start, and cut while the server runs.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// How much of the log's end goes into an error message.
const TAIL_BYTES: u64 = 2_000;

/// Makes the server's files when there are none. They appear under their name only when complete, so that being killed
/// in between leaves nothing but a directory that the next start removes.
pub(super) fn initialise(
    binaries: &Binaries,
    layout: &Layout,
    user: &ServerUser,
    options: &ServerOptions,
) -> Result<(), EmbeddedError> {
    if layout.has_cluster() {
        return Ok(());
    }
    tracing::info!(path = %layout.cluster.display(), version = %binaries.version, "making a new private database");
    let half_made = layout.root.join("data.half-made");
    // Bytes compare in every index; letters are known beyond ASCII, or a search for `école` would miss `École`. Where
    // the system lacks that locale plain C remains.
    for ctype in ["C.UTF-8", "C"] {
        match fs::remove_dir_all(&half_made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::io("remove", half_made)(error));
            }
            _ => (),
        }
        layout::make_private_dir(&half_made).map_err(EmbeddedError::io("create", &half_made))?;
        user.own(&half_made)?;
        let mut command = user.command(&binaries.initdb());
        command.args(["--encoding=UTF8", "--locale=C", "--auth=trust", "--no-instructions"]);
        command.arg(format!("--lc-ctype={ctype}")).arg(format!("--username={ROLE}")).arg("-D").arg(&half_made);
        if !options.durable {
            command.arg("--no-sync");
        }
        command.current_dir(&layout.root);
        die_with_parent(&mut command, Signal::SIGKILL);
        let output = command.output().map_err(EmbeddedError::io("run", binaries.initdb()))?;
        if output.status.success() {
            fs::rename(&half_made, &layout.cluster).map_err(EmbeddedError::io("rename", half_made))?;
            return File::open(&layout.root)
                .and_then(|dir| dir.sync_all())
                .map_err(EmbeddedError::io("write", &layout.root));
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if ctype == "C" || !words.contains("locale") {
            return Err(EmbeddedError::Initdb { path: layout.cluster.clone(), output: words });
        }
    }
    unreachable!("the last locale returns either way")
}

/// Starts the server. It is a child that the kernel stops when the calling *thread* ends, however that happens.
pub(super) fn spawn(
    binaries: &Binaries,
    layout: &Layout,
    user: &ServerUser,
    options: &ServerOptions,
) -> Result<Child, EmbeddedError> {
    layout.prepare_socket_dir(user)?;
    let log = open_log(&layout.log).map_err(EmbeddedError::io("write", &layout.log))?;
    let also = log.try_clone().map_err(EmbeddedError::io("write", &layout.log))?;
    let mut command = user.command(&binaries.postgres());
    command.arg("-D").arg(&layout.cluster).arg("-k").arg(&layout.socket_dir);
    for (name, value) in settings(options) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    // A group of its own: Ctrl-C at the terminal is for Almanac, which still needs its database to end well.
    command.current_dir(&layout.root).stdout(log).stderr(Stdio::from(also)).process_group(0);
    die_with_parent(&mut command, Signal::SIGINT);
    command.spawn().map_err(EmbeddedError::io("run", binaries.postgres()))
}

fn settings(options: &ServerOptions) -> Vec<(&'static str, String)> {
    let on_or_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    let text = |value: &str| value.to_owned();
    vec![
        ("listen_addresses", String::new()),
        ("port", text("5432")),
        ("unix_socket_permissions", text("0700")),
        ("max_connections", options.connections_max.to_string()),
        ("shared_buffers", format!("{}MB", options.shared_buffers_mib)),
        ("fsync", on_or_off(options.durable)),
        // Even where the disk is not waited for: being killed must lose nothing that was committed.
        ("synchronous_commit", text("on")),
        ("full_page_writes", on_or_off(options.durable)),
        ("wal_compression", text("on")),
        // A replay writes as fast as it can: fewer, larger checkpoints.
        ("max_wal_size", text("2GB")),
        ("checkpoint_timeout", text("15min")),
        // One writer and short queries: compiling them costs more than running them.
        ("jit", text("off")),
        ("random_page_cost", text("1.1")),
        ("timezone", text("UTC")),
        ("log_timezone", text("UTC")),
        ("logging_collector", text("off")),
        ("log_destination", text("stderr")),
        // Statements carry what strangers wrote: they stay out of the log, as does what is told at every checkpoint.
        ("log_min_messages", text("error")),
        ("log_min_error_statement", text("panic")),
        ("log_checkpoints", text("off")),
        ("log_line_prefix", text("%m [%p] ")),
    ]
}

/// Makes the kernel signal the child when the calling thread ends.
fn die_with_parent(command: &mut Command, signal: Signal) {
    #[cfg(target_os = "linux")]
    {
        let parent = nix::unistd::getpid();
        let hook = move || {
            // After the change of user, which clears this.
            nix::sys::prctl::set_pdeathsig(signal)?;
            if nix::unistd::getppid() != parent {
                // The parent ended before the line above.
                return Err(io::Error::from(nix::errno::Errno::EOWNERDEAD));
            }
            Ok(())
        };
        // SAFETY: between fork and exec only the two system calls above run; they neither allocate nor lock.
        unsafe { command.pre_exec(hook) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Empties the log of a running server when it has grown too long. The server appends, so it goes on at the start.
pub(super) fn bound_log(path: &Path) {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        let emptied = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0));
        if let Err(error) = emptied {
            tracing::warn!(path = %path.display(), %error, "cannot empty the server's log");
        }
    }
}

pub(super) fn log_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// What the log says from byte `from` on; only the end of it when that is much.
pub(super) fn log_tail(path: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.min(length).max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    if text.is_empty() { "it said nothing".to_owned() } else { text }
}
