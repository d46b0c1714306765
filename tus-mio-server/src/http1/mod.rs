//! The server side of one HTTP/1.1 connection (RFC 9112), without a socket and without a clock: bytes and the
//! time go in, events and bytes come out, deadlines and read credit are there to be asked for.
//!
//! [`Conn`] is the whole of it. Whoever drives one keeps to this loop:
//!
//! 1. Read while [`Conn::wants_read`]; give what came to [`Conn::next`] until it has no event any more. What it
//!    leaves in the input (a pipelined request, say) stays with the driver and is offered again later.
//! 2. At [`Event::Head`] look at it with [`Conn::with_head`], read the body or don't, then [`Conn::respond`].
//!    While [`Conn::raw_credit`] is above 0, body bytes may bypass `next`, and are told by [`Conn::moved`].
//! 3. Write [`Conn::output`] while [`Conn::wants_write`], and tell [`Conn::sent`]. While [`Conn::send_credit`] is
//!    above 0, write that much of the upload that the answer carries, and tell [`Conn::sent_beside`]. Offer `next`
//!    what was left after that: the following request may be in it.
//! 4. Where [`Conn::wants_shutdown_write`], shut down the write side and tell [`Conn::write_shut`]. Drop the socket
//!    when [`Conn::is_closed`].
//! 5. At [`Conn::deadline`], call [`Conn::expired`].
//!
//! Parsing is strict: where two readers could understand a message differently, it is rejected, because that
//! difference is what request smuggling lives on (RFC 9112 section 11.2). Each rule has one place: octets and
//! lines in `section`, request line and target in `head`, field values in `fields`, message length in
//! `framing`, chunks in `body`.

use std::time::Duration;

mod body;
mod conn;
mod deadline;
mod fields;
mod framing;
mod head;
mod lifecycle;
mod response;
mod section;

#[cfg(test)]
mod tests;

pub use conn::{Conn, Eof, Event};
pub use deadline::Reason;
pub(crate) use framing::content_length;

/// What a connection may cost, in bytes and in time. Shared by all connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest head, in bytes, its empty line included: 96 KiB, because a concatenation names all its parts
    /// in one field, a thousand of them by URLs of 90 bytes. Beyond it 431, or 414 where the request line alone fills it.
    pub head_bytes: usize,
    /// The most field lines of a head, and of a trailer section: 100. Beyond it 431.
    pub fields: usize,
    /// The longest line that begins a chunk, in bytes, its extensions and its end included: 256. Nobody uses
    /// extensions; longer ones are an attack.
    pub chunk_line_bytes: usize,
    /// The largest trailer section, in bytes: 8 KiB. A checksum needs a hundred.
    pub trailer_bytes: usize,
    /// How long a head may take from its first byte, however busily it drips: 30 s. Then 408; and so where no byte
    /// of it comes for `body_timeout`.
    pub head_timeout: Duration,
    /// How long a connection may stay silent between requests and before its first one: 75 s. Then it is
    /// closed without a word. Longer than the 60 s of nginx and of load balancers, so that it is they who close: else a
    /// request of theirs now and then meets a connection that is just being closed.
    pub idle_timeout: Duration,
    /// How long no byte of a head or of a body may come while we are reading: 30 s. Zero for no limit.
    pub body_timeout: Duration,
    /// How many bytes of a body buy one more second, up to `body_timeout` from now: 500, so that one byte now and
    /// then does not hold a connection for ever. A phone at the edge of its network sends a multiple of that, and
    /// stalls are what `body_timeout` is for; Apache's mod_reqtimeout has asked for as much from all the world for
    /// years. Zero: any byte buys all of it.
    pub body_rate: u64,
    /// How long an answer may take to be sent, the reading of an unwanted rest of the body included: 30 s,
    /// for our answers are small. Where one carries an upload, how long the peer may take no byte of that.
    pub response_timeout: Duration,
    /// How many bytes of a download buy its peer one more second, up to `response_timeout` from now: 4096. Zero:
    /// any byte buys all of it.
    pub download_min_rate: u64,
    /// How much is still read, and forgotten, once the write side is shut: 16 MiB. Less than the peer has under
    /// way when it reads our answer, and the answer is lost to a reset.
    pub linger_bytes: u64,
    /// How long it is read, absolutely: 10 s.
    pub linger_timeout: Duration,
    /// How much of an unwanted body is read to keep the connection alive: 256 KiB. A new connection is
    /// cheaper than more of it.
    pub drain_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_bytes: 96 << 10,
            fields: 100,
            chunk_line_bytes: 256,
            trailer_bytes: 8 << 10,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_rate: 500,
            response_timeout: Duration::from_secs(30),
            download_min_rate: 4096,
            linger_bytes: 16 << 20,
            linger_timeout: Duration::from_secs(10),
            drain_bytes: 256 << 10,
        }
    }
}
