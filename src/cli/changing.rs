//! What commands that change who may enter share: who does it, and whether the change counts already.

use std::time::Duration;

use nix::unistd::{User, getuid};
use sqlx::PgPool;

use crate::service::origin::{PATIENCE, in_the_log, said};

/// Who makes the change, and how long to wait for it.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Changing {
    /// Who makes the change, for the log [default: this user at this host]
    #[arg(long, value_name = "TEXT", value_parser = said)]
    who: Option<String>,
    /// Do not wait until the running process has put the change into the log
    #[arg(long)]
    no_wait: bool,
}

impl Changing {
    /// For the log.
    pub fn who(&self) -> String {
        self.who.clone().unwrap_or_else(user_at_host)
    }

    /// Waits until these changes are in the log; tells what there is to tell about that.
    pub async fn settled(&self, pool: &PgPool, numbers: &[i64]) -> anyhow::Result<bool> {
        in_the_log(pool, numbers, if self.no_wait { Duration::ZERO } else { PATIENCE }).await
    }

    /// A line about it.
    pub fn told(&self, in_log: bool) -> &'static str {
        match (in_log, self.no_wait) {
            (true, _) => "in the log: it counts now",
            (false, true) => "written; it counts when the process that appends has put it into the log",
            (false, false) => "written; nobody appends now: it counts when a process appends next",
        }
    }
}

/// Who runs this command, for tables that people read.
pub(super) fn user_at_host() -> String {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name);
    let host = nix::unistd::gethostname().ok().map(|host| host.to_string_lossy().into_owned());
    let text = format!("{user}@{}", host.as_deref().unwrap_or("unknown"));
    said(&text).unwrap_or_else(|_| format!("uid {uid}"))
}
