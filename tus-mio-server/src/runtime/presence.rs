//! Whether a request's peer is still there to send the rest of its body. Looked at when the request is about to acquire
//! a lock: a connection that its client has left must not displace the writer that the client has come back with.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};

use tus_driver::Store;

use super::{connection::Connection, event_loop::EventLoop, socket::Socket};

/// What every chunked body ends with.
const CHUNKED_END: &[u8] = b"\r\n\r\n";

impl<S: Store> EventLoop<S> {
    /// Whether the peer has closed its side of the connection, and what has arrived is not the whole body.
    ///
    /// Costs one system call, and none if the body is here already.
    pub(super) fn has_left(&mut self, connection: &mut Connection<S>) -> bool {
        let missing = connection.http.body_rest();
        let here = connection.unread.as_slice().len() as u64;
        if missing.is_some_and(|missing| missing <= here) || !has_closed(connection) {
            return false;
        }
        let waiting = rustix::io::ioctl_fionread(&*connection.socket).unwrap_or(0);
        match (missing, &mut connection.tls) {
            (Some(missing), None) => here + waiting < missing,
            // Ciphertext is longer than what it holds.
            (Some(missing), Some(tls)) => here + tls.readable() + waiting < missing,
            (None, None) => !self.ends_chunked(connection, waiting),
            (None, Some(_)) => true,
        }
    }

    /// Whether what waits in the socket, after what was read, may be the end of a chunked body.
    fn ends_chunked(&mut self, connection: &Connection<S>, waiting: u64) -> bool {
        let mut tail = connection.unread.as_slice().to_vec();
        if usize::try_from(waiting).is_ok_and(|waiting| waiting <= self.scratch.len()) {
            let peeked = recv(&*connection.socket, &mut *self.scratch, RecvFlags::PEEK);
            tail.extend_from_slice(peeked.map_or(&[][..], |(_, count)| &self.scratch[..count]));
        }
        tail.ends_with(CHUNKED_END)
    }
}

/// Whether the peer sends nothing more.
fn has_closed<S: Store>(connection: &Connection<S>) -> bool {
    connection.ended || connection.broken || hung_up(&connection.socket)
}

fn hung_up(socket: &Socket) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}
