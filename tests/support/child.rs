//! A child process of a test: its output is kept, waited for line by line, and shown when the test fails; the child
//! ends with the test.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Has the kernel kill the child when the *thread* that starts it ends: for children that do not watch their stdin, so
/// that a test process which is killed leaves none behind.
pub fn end_with_this_thread(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::{prctl, signal::Signal};
        use std::os::unix::process::CommandExt;
        // SAFETY: prctl is a system call without side effects on memory, allowed between fork and exec.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// A running child. Dropped: killed and reaped, and the end of its log printed if the test is failing.
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    // Children that watch their stdin end when this does, even if the test process is killed.
    _stdin: Option<ChildStdin>,
}

impl Running {
    /// Starts `command` with both its outputs appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("piped above"));
        let (sender, lines) = channel();
        let mut copy = open();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(copy, "{line}");
                let _ = sender.send(line);
            }
        });
        Running { name: name.to_owned(), child, lines, log: log.to_owned(), _stdin: stdin }
    }

    /// The first line on stdout, from now on, that is a JSON object with `key`. Panics when the child ends first or
    /// `limit` passes.
    pub fn json_line_with(&mut self, key: &str, limit: Duration) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match serde_json::from_str::<Value>(&line) {
                    Ok(value) if value.get(key).is_some() => return value,
                    _ => {}
                },
                Err(RecvTimeoutError::Timeout) => panic!("{} printed no `{key}` line within {limit:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended ({:?}) before it printed a `{key}` line", self.name, self.child.wait())
                }
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote so far, both outputs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits for its end. Panics when it has not come after `limit`.
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end within {limit:?}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL and waits until it is gone. Whether it was still running.
    pub fn kill(&mut self) -> bool {
        let running = self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        self.child.wait().unwrap();
        running
    }

    fn print_end_of_log(&self) {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("--- the last lines of {} ---", self.name);
        for line in &lines[lines.len().saturating_sub(60)..] {
            eprintln!("{}", line.chars().take(600).collect::<String>());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.print_end_of_log();
        }
    }
}
