//! What all who write and read share: which uploads are written to, and which data files somebody uses, so that they
//! are not taken away under them; and what is to be told of the disk.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tus_proto::{Failure, Fence, UploadId};

use crate::{
    error::Error,
    error_log::ErrorLog,
    files::{append_lease::AppendLease, directory::Files, file_id::FileId, reserve::Reserve},
    mutex::lock,
    options::{Durability, Options},
};

/// What grants and their store share.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(crate) files: Files,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) durability: Durability,
    /// Eventual durability: files that the next flush must sync, in that order.
    pub(crate) dirty: Mutex<BTreeMap<FileId, Arc<AppendLease>>>,
    /// How many more are open because a flush is syncing them.
    syncing: AtomicUsize,
    max_unflushed: usize,
    /// Whether there may be data files to remove.
    pub(crate) reclaimable: AtomicBool,
    open: Mutex<Open>,
    /// Uploads that were found without a data file of theirs.
    gone: Mutex<HashSet<UploadId>>,
    /// Whether there may be such: each look at a record asks.
    has_gone: AtomicBool,
    troubles: Mutex<ErrorLog>,
    /// A call of the disk has failed since the last probe.
    suspect: AtomicBool,
}

#[derive(Debug, Default)]
struct Open {
    uploads: HashMap<UploadId, (Fence, usize)>,
    files: HashMap<FileId, Held>,
    /// Files that would have been removed if they were not among those.
    awaited: HashSet<FileId>,
    /// Files that this opening has made for bodies which lay in the records, and no commit has been to since.
    uncommitted: HashSet<FileId>,
}

/// A data file that somebody reads or writes.
#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// How many of its syncs failed meanwhile. What anybody had staged in it by then is lost.
    losses: Arc<AtomicU64>,
}

impl Staging {
    pub(crate) fn new(files: Files, reserve: Arc<Reserve>, options: &Options) -> Self {
        Self {
            files,
            reserve,
            durability: options.durability,
            dirty: Mutex::default(),
            syncing: AtomicUsize::new(0),
            max_unflushed: options.max_unflushed_files,
            // What the last opening left behind.
            reclaimable: AtomicBool::new(true),
            open: Mutex::default(),
            gone: Mutex::default(),
            has_gone: AtomicBool::new(false),
            troubles: Mutex::default(),
            suspect: AtomicBool::new(false),
        }
    }

    /// Somebody begins to write to an upload.
    pub(crate) fn begin_writing(&self, id: &UploadId, fence: Fence) {
        let mut open = lock(&self.open);
        let upload = open.uploads.entry(id.clone()).or_default();
        *upload = (upload.0.max(fence), upload.1 + 1);
    }

    /// And ends.
    pub(crate) fn end_writing(&self, id: &UploadId) {
        let mut open = lock(&self.open);
        if let Some((_, count)) = open.uploads.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                open.uploads.remove(id);
            }
        }
    }

    /// The highest fencing number among the open grants for an upload.
    pub(crate) fn highest_fence(&self, id: &UploadId) -> Fence {
        lock(&self.open).uploads.get(id).map_or(Fence(0), |(fence, _)| *fence)
    }

    /// Whether somebody holds a grant for this upload.
    pub(crate) fn is_written(&self, id: &UploadId) -> bool {
        lock(&self.open).uploads.contains_key(id)
    }

    /// Keeps files from being reclaimed until they are [let go](Self::let_go): once for each time.
    pub(crate) fn hold(&self, files: &[FileId]) {
        let mut open = lock(&self.open);
        for file in files {
            open.files.entry(*file).or_default().count += 1;
        }
    }

    /// Ends a [`Self::hold`] of the same files.
    pub(crate) fn let_go(&self, files: &[FileId]) {
        let mut open = lock(&self.open);
        for file in files {
            let Some(held) = open.files.get_mut(file) else { continue };
            held.count -= 1;
            if held.count == 0 {
                open.files.remove(file);
                if open.awaited.remove(file) {
                    self.reclaimable.store(true, Ordering::Release);
                }
            }
        }
    }

    /// Whether there may be a file of which nothing is committed, though bytes in its place are: it was begun, by this
    /// opening or the one before, and what it was begun for never came to its end.
    pub(crate) fn may_be_uncommitted(&self, file: FileId) -> bool {
        file < self.files.first() || lock(&self.open).uncommitted.contains(&file)
    }

    /// A file is made for bytes that lay in the records.
    pub(crate) fn note_uncommitted(&self, file: FileId) {
        lock(&self.open).uncommitted.insert(file);
    }

    /// A file is gone, or in use.
    pub(crate) fn clear_uncommitted(&self, files: impl IntoIterator<Item = FileId>) {
        let mut open = lock(&self.open);
        for file in files {
            open.uncommitted.remove(&file);
        }
    }

    /// The number of failed syncs of a file that is held.
    pub(crate) fn losses(&self, file: FileId) -> Arc<AtomicU64> {
        lock(&self.open).files.entry(file).or_default().losses.clone()
    }

    /// Whether nobody may still read, write to or make this file. If somebody may, the end of that is noticed.
    pub(crate) fn is_removable(&self, file: FileId) -> bool {
        let mut open = lock(&self.open);
        let removable = !open.files.contains_key(&file);
        if !removable {
            open.awaited.insert(file);
        }
        removable
    }

    /// An upload's data file is not there, though bytes in it are committed: somebody has moved it away.
    pub(crate) fn note_gone(&self, id: &UploadId, file: FileId) {
        lock(&self.gone).insert(id.clone());
        self.has_gone.store(true, Ordering::Release);
        self.note(Error::damaged(&format!("{file:?}, a data file of upload {id}, is not there")));
    }

    /// Whether an upload was found without a data file of its own.
    pub(crate) fn was_gone(&self, id: &UploadId) -> bool {
        self.has_gone.load(Ordering::Acquire) && lock(&self.gone).contains(id)
    }

    /// All its data files are there again, or the upload is not.
    pub(crate) fn forget_gone(&self, id: &UploadId) {
        lock(&self.gone).remove(id);
    }

    /// Keeps the text for the operator, and hands back what callers are told.
    pub(crate) fn note(&self, trouble: impl Into<Error>) -> Failure {
        let Error { failure, text, .. } = trouble.into();
        lock(&self.troubles).note(text);
        if failure == Failure::Io {
            self.suspect.store(true, Ordering::Release);
        }
        failure
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// The disk is about to be tried.
    pub(crate) fn forget_suspicion(&self) {
        self.suspect.store(false, Ordering::Release);
    }

    pub(crate) fn take_last_error(&self) -> Option<String> {
        lock(&self.troubles).take(Instant::now())
    }

    /// Leaves a file to the next flush, open until then; false where as many are as may be.
    pub(crate) fn defer_sync(&self, file: FileId, lease: &Arc<AppendLease>) -> bool {
        let mut dirty = lock(&self.dirty);
        let open = dirty.len() + self.syncing.load(Ordering::Acquire);
        let room = open < self.max_unflushed || dirty.contains_key(&file);
        if room {
            dirty.insert(file, lease.clone());
        }
        room
    }

    /// The files that await a flush, for who syncs them now, and says [when they are closed](Self::closed_dirty).
    pub(crate) fn take_dirty(&self) -> BTreeMap<FileId, Arc<AppendLease>> {
        let mut dirty = lock(&self.dirty);
        self.syncing.store(dirty.len(), Ordering::Release);
        std::mem::take(&mut dirty)
    }

    pub(crate) fn closed_dirty(&self) {
        self.syncing.store(0, Ordering::Release);
    }

    /// Whether a part of the most files that may await a flush do, `1 / part` of `limit` or fewer.
    pub(crate) fn has_dirty(&self, limit: usize, part: usize) -> bool {
        lock(&self.dirty).len() > limit.min(self.max_unflushed.saturating_sub(1)) / part
    }
}
