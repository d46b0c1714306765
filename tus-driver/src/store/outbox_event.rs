//! Events that a store keeps until its hooks have taken note of them.

use tus_proto::{Record, UploadId, WallTime};

/// What has happened to an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// It was created; parts of a concatenation, too.
    Created,
    /// It is complete. Parts of a concatenation never are; their final is.
    Completed,
    /// It was deleted for its client, or stopped by a hook; or it was a pending final, and a part of it was.
    Terminated,
}

/// A set of [`EventKind`]s. An event that is kept and never acknowledged stays for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds {
    /// [`EventKind::Created`].
    pub created: bool,
    /// [`EventKind::Completed`].
    pub completed: bool,
    /// [`EventKind::Terminated`].
    pub terminated: bool,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its number: above those of all events before it, and never given twice.
    pub number: u64,
    /// What has happened.
    pub kind: EventKind,
    /// The upload as it was then; a deleted one as it was until then.
    pub record: Record,
    /// How often it was put off.
    pub attempts: u32,
}

/// Which events are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// The time: what was put off until later is not due.
    pub now: WallTime,
    /// How many at the most.
    pub limit: usize,
    /// Of this upload alone.
    pub upload: Option<UploadId>,
}

/// What is due in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueEvents {
    /// The first due event of each of some uploads.
    pub events: Vec<OutboxEvent>,
    /// When the next is due, if these are all that are due now and more are put off.
    pub next: Option<WallTime>,
}
