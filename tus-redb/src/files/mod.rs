//! Bytes of uploads on the disk: how data files are named, which writer may write to which, what is not durable yet. It knows
//! the ids of uploads, but not their records.

pub(crate) mod append_lease;
pub(crate) mod directory;
pub(crate) mod failed_syncs;
pub(crate) mod file_id;
pub(crate) mod inline;
pub(crate) mod reserve;
pub(crate) mod sink;
pub(crate) mod staging;
