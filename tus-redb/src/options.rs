//! How a store is opened: what it promises, and how much memory and disk it may take. Outside the rooms, as every
//! room reads some of it.

use std::time::Duration;

use tus_driver::EventKinds as Events;

/// How durable a change is when its completion is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What is completed survives a power cut.
    #[default]
    Strict,
    /// What is completed survives the end of the process at once, and a power cut once it was flushed. After
    /// one, an upload may have fallen back to its state at the last flush. The bytes up to its offset are there.
    Eventual,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a completion promises.
    pub durability: Durability,
    /// How much memory the records may be cached in, in bytes. Default 4 MiB.
    pub cache_bytes: usize,
    /// How long the log may become, both halves together, before commits wait for the records to be durable, in bytes. The
    /// space is kept; opening the store again after a crash takes time in proportion to it. Default 16 MiB.
    pub log_bytes: u64,
    /// How much of the disk is set aside for commits and deletes on a full one, in bytes. Default 8 MiB;
    /// with 0 a full disk fails them too.
    pub reserve_bytes: u64,
    /// Which events are kept in the [outbox](crate::Store::outbox). Default none.
    pub events: Events,
    /// Eventual durability: how many data files may be open because they await a flush. What is written when there are
    /// so many is synced at once. Default: no limit; a process that may open few files needs one.
    pub max_unflushed_files: usize,
    /// How many pending finals may name one part: as many are written with each commit to it. Default 4.
    pub max_waiting: usize,
    /// Whether finished uploads that lie in several files are to be put into one, by
    /// [`Store::consolidate`](crate::Store::consolidate). Default true.
    pub consolidate: bool,
    /// Up to how many bytes a body lies in the records, in place of a file of its own: making a file takes ten times
    /// as long as all else about a small upload. It has no [path](crate::Store::paths) then. Default 0: each has
    /// its file.
    pub inline_bytes: usize,
    /// How long uploads stay once they are finished, parts excepted; at least 1 s. Noted with an upload when it is finished,
    /// so that another value is for those that are finished later. Default `None`: until somebody deletes them.
    pub finished_expiry: Option<Duration>,
    /// Whether a SHA-256 is computed and kept of each upload that becomes complete, by
    /// [`Store::digest`](crate::Store::digest). Default false.
    pub digests: bool,
    /// How much of the disk uploads may take. It is enforced by the driver's port. With a limit, opening that takes time in
    /// proportion to the number of records. Default: no limit.
    pub space: SpaceLimits,
    /// The permissions of data files, as bits of the owner, the group and others; whatever the umask. Default 0600.
    pub file_mode: u32,
    /// The same of directories that are made. Default 0700.
    pub dir_mode: u32,
    /// Whether each page of the file of the records is held against its checksum when the store is opened, which takes
    /// time in proportion to their number. Without it, what something else has written into that file may go
    /// unnoticed, or end in a panic. Default false.
    pub check: bool,
}

/// How much of a disk uploads may take. By default as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceLimits {
    /// No upload is created while fewer bytes of the disk are free.
    pub min_free: u64,
    /// No upload is created while all have as many bytes as this; 0 for no limit.
    pub max_bytes: u64,
    /// Whether the bytes that uploads have announced, and not sent yet, count as taken, those of the new upload too.
    pub reserve_announced: bool,
}

impl SpaceLimits {
    pub(crate) fn measures(&self) -> bool {
        self.max_bytes > 0 || self.reserve_announced
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
            cache_bytes: 4 << 20,
            log_bytes: 16 << 20,
            reserve_bytes: 8 << 20,
            events: Events::default(),
            max_unflushed_files: usize::MAX,
            max_waiting: 4,
            consolidate: true,
            inline_bytes: 0,
            finished_expiry: None,
            digests: false,
            space: SpaceLimits::default(),
            file_mode: 0o600,
            dir_mode: 0o700,
            check: false,
        }
    }
}
