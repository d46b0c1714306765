//! What goes into an [`Exchange`](crate::Exchange) and what comes out of it: the whole contract with a
//! runtime. Control goes through the exchange; body bytes go beside it.

use alloc::string::String;
use core::fmt::{self, Write as _};

use crate::{Command, Completion, HookCall, HookReply, Instant, LockCall, LockReply, Response};

/// Names one call of an exchange, so that its completion can be told from a late or foreign one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct OpId(pub(crate) u32);

/// What an exchange wants done, first in, first out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the lock service.
    Lock(OpId, LockCall),
    /// Ask the store.
    Store(OpId, Command),
    /// Ask a hook.
    Hook(OpId, HookCall),
    /// Nothing but the body can still fail: send `100 Continue` if the client waits for it.
    Continue,
    /// Send this before the response, at once. Clients do without it: a runtime that can't send it leaves it out.
    Interim(Interim),
    /// Send this. At most once.
    Respond(Response),
    /// For metrics only.
    Notify(Event),
    /// The exchange is over: it holds nothing and wants nothing. Last, and exactly once.
    Done,
}

/// An answer before the final one: `104 Upload Resumption Supported`. Never to an HTTP/1.0 client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interim {
    pub(crate) headers: String,
}

impl Interim {
    /// The status code: 104.
    pub const fn status(&self) -> u16 {
        104
    }

    /// The header section as it goes over the wire: `Name: value` lines, each ended by CR LF, without the empty line
    /// after them.
    pub fn header_section(&self) -> &str {
        &self.headers
    }

    /// Names and values, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.split_terminator("\r\n").filter_map(|line| line.split_once(": "))
    }

    /// The first value of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a header. `value` is a number, or text that was checked when it came in.
    pub(crate) fn push(&mut self, name: &'static str, value: impl fmt::Display) {
        // Writing to a string can't fail.
        let _ = write!(self.headers, "{name}: {value}\r\n");
    }
}

/// Which protocol a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// tus 1.0.0.
    Tus,
    /// The IETF's resumable uploads.
    Ietf,
}

/// What an exchange is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A lock call completed.
    Lock(OpId, LockReply),
    /// A store command completed.
    Store(OpId, Completion),
    /// A hook has decided.
    Hook(OpId, HookReply),
    /// The open Append has staged this many bytes in all.
    Staged(OpId, u64),
    /// A HEAD asks for the true offset. The runtime first stages what has already arrived on the connection.
    Checkpoint,
    /// A newcomer wants the lock: it would write at this offset, or not at all (DELETE).
    Yield(Option<u64>),
    /// The request must end. An open Append completes first, after [`Command::StopAppend`].
    Cancel(Cancel),
    /// The deadline that [`Exchange::deadline`](crate::Exchange::deadline) told has passed.
    Timeout,
}

/// Why a request must end, whatever its body does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The lock service gave the lock to another request.
    LockLost,
    /// The server is ending.
    Shutdown,
}

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An upload was created.
    Created,
    /// An upload became complete.
    Finished,
    /// An upload was terminated: by its client, or because a hook stopped it.
    Terminated,
    /// Bytes were committed.
    Received(u64),
    /// A writer gave way to a newcomer.
    Yielded,
    /// An input came that nothing waited for.
    Stale,
}

/// What an exchange waits for by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// To renew its lock.
    Renew,
    /// To commit what has been staged so far.
    Checkpoint,
    /// To move on when the upload that is being written expires.
    Expiry,
    /// To stop waiting for a writer's checkpoint (HEAD).
    CheckpointWait,
}

/// A point in time and what it is for.
pub type Deadline = (Instant, Reason);
