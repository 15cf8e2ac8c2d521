//! A TCP connection that can be left alone for a while.
//!
//! In: a connection. Out: its bytes, the next of them either when the runtime tells that some have come, or at once, for
//! whoever looks by himself. Always true: whoever waits for bytes is woken by the first that comes, once he said that he waits;
//! an end of the connection wakes him even before.
//!
//! The runtime reads only what the kernel has told it of, and for it to be told every arrival must wake a thread. A look after
//! a rest needs no telling: it asks.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The kernel wakes whoever left a connection alone when so many bytes wait, or the connection ends.
#[cfg(target_os = "linux")]
const MANY_BYTES: i32 = 128 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// The kernel was told not to wake anybody for few bytes.
    left_alone: bool,
    /// The next read asks the kernel, told of bytes or not.
    looks: bool,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Wire { stream, left_alone: false, looks: false }
    }

    /// From now on the kernel keeps what arrives and wakes nobody for it, until somebody waits again. Where the kernel
    /// cannot be told, every arrival wakes the runtime.
    pub fn leave_alone(&mut self) {
        if !self.left_alone {
            set_low_water(&self.stream, true);
            self.left_alone = true;
        }
    }

    /// The next read brings what has arrived.
    pub fn look(&mut self) {
        self.looks = true;
    }

    /// Somebody waits: the first byte wakes him, and if bytes wait already, they do so now.
    pub fn wait(&mut self) {
        if self.left_alone {
            set_low_water(&self.stream, false);
            self.left_alone = false;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while wire.looks {
            let room = buf.initialize_unfilled();
            match (&*SockRef::from(&wire.stream)).read(room) {
                Ok(count) => {
                    // Less than there was room for is all there is.
                    wire.looks = count == room.len();
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => wire.looks = false,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut wire.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
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
        tracing::debug!(error = %io::Error::last_os_error(), "the kernel takes no low-water mark");
    }
}

#[cfg(not(target_os = "linux"))]
fn set_low_water(_: &TcpStream, _: bool) {}
