//! Pauses between looks at a socket on which little arrives at a time.
//!
//! In: how many frames the last look brought. Out: a short wait in which what arrives is kept by the kernel and wakes nobody.
//! Always true: after silence the first frame is read as it comes, and what comes in crowds is read without a pause.
//!
//! A thread that is woken for one frame spends twenty times what the frame costs. Five hundred frames a second read one by one
//! take 4 % of a core, and read some at a time a good 1 %.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::MaybeTlsStream;

use super::dial::Socket;

/// A look that brings as many needs no pause: the wake-up is shared by enough of them.
const CROWD: usize = 32;
/// The kernel wakes whoever sleeps on the socket when so many bytes wait, or the connection ends.
#[cfg(target_os = "linux")]
const MANY_BYTES: i32 = 128 * 1024;

/// Whether to look now or later.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// Begins a pause after a look that brought `frames`, if one pays.
    pub fn begin(&mut self, socket: &Socket, frames: usize, pause: Duration) {
        if (1..CROWD).contains(&frames) && !pause.is_zero() {
            wake_at_many(socket, true);
            self.until = Some(Instant::now() + pause);
        }
    }

    /// Waits for its end. Cancelling the future ends nothing early.
    pub async fn end(&mut self, socket: &Socket) {
        if let Some(until) = self.until {
            sleep_until(until).await;
            // If bytes wait, this tells of them.
            wake_at_many(socket, false);
            self.until = None;
        }
    }
}

/// Where the kernel cannot be told, every arrival wakes the runtime; the pause is the same.
fn wake_at_many(socket: &Socket, many: bool) {
    let stream = match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => stream,
        MaybeTlsStream::Rustls(tls) => tls.get_ref().0,
        _ => return,
    };
    set_low_water(stream, many);
}

/// Sets how many bytes must wait before the socket counts as readable.
#[cfg(target_os = "linux")]
fn set_low_water(stream: &TcpStream, many: bool) {
    use std::os::fd::AsRawFd;

    use nix::libc;

    let bytes: libc::c_int = if many { MANY_BYTES } else { 1 };
    // SAFETY: the socket is open for as long as `stream` is borrowed, and the option is read from an int of this frame.
    let answer = unsafe {
        let length = size_of_val(&bytes) as libc::socklen_t;
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const bytes).cast(), length)
    };
    if answer != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the kernel takes no low-water mark");
    }
}

#[cfg(not(target_os = "linux"))]
fn set_low_water(_: &TcpStream, _: bool) {}
