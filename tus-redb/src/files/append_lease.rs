//! The right to write to an upload, which a sink holds: where the bytes are until they are committed, in a file or in
//! memory, and how far they are durable.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tus_proto::{Failure, Fence, UploadId};

use crate::{
    disk::{DiskFile, write_all},
    error::Error,
    files::{
        file_id::{Extent, FileId},
        inline::Inline,
        staging::Staging,
    },
    mutex::lock,
    options::Durability,
};

/// The right of one writer to write after the committed bytes of an upload. Offsets are those of the
/// upload, `start` is where its last extent begins.
pub(crate) struct AppendLease {
    staging: Arc<Staging>,
    pub(crate) id: UploadId,
    fence: Fence,
    /// The last extent as it was committed when the grant was made; none in an upload without a body.
    pub(crate) extent: Option<Extent>,
    pub(crate) start: u64,
    /// Files of the extents before it whose bytes lie in the records.
    earlier: Vec<FileId>,
    /// The extent's bytes, as long as they are to lie in the records, and until they are durable in the file.
    inline: Mutex<Option<Inline>>,
    /// The data file. Once it is here, those bytes are in it as well, and what follows them is there alone.
    handle: OnceLock<Arc<dyn DiskFile>>,
    opening: Mutex<()>,
    pub(crate) staged: AtomicU64,
    synced: AtomicU64,
    /// How many syncs of the file failed, and how many had when the grant was made. One more, whoever asked for
    /// it, and what was staged is lost, whatever a later sync says.
    losses: Arc<AtomicU64>,
    losses_before: u64,
}

impl AppendLease {
    pub(crate) fn new(
        staging: &Arc<Staging>,
        id: &UploadId,
        fence: Fence,
        at: u64,
        extent: Option<Extent>,
        inline: Option<Inline>,
        earlier: Vec<FileId>,
    ) -> Self {
        staging.begin_writing(id, fence);
        staging.hold(extent.map(|extent| extent.file).as_slice());
        let losses = extent.map(|extent| staging.losses(extent.file)).unwrap_or_default();
        Self {
            staging: staging.clone(),
            id: id.clone(),
            fence,
            extent,
            start: at - extent.map_or(0, |extent| extent.len),
            earlier,
            inline: Mutex::new(inline),
            handle: OnceLock::new(),
            opening: Mutex::default(),
            staged: AtomicU64::new(at),
            synced: AtomicU64::new(at),
            losses_before: losses.load(Ordering::Acquire),
            losses,
        }
    }

    /// Whether so many bytes more would be [kept](Self::keep).
    pub(crate) fn would_keep(&self, len: usize) -> bool {
        self.may_keep() && lock(&self.inline).as_ref().is_some_and(|inline| inline.has_room(len))
    }

    /// Stages bytes in memory, from where they go into the records. False where they must go into the file.
    pub(crate) fn keep(&self, bytes: &[u8]) -> bool {
        self.may_keep() && lock(&self.inline).as_mut().is_some_and(|inline| inline.keep(bytes))
    }

    fn may_keep(&self) -> bool {
        !self.is_dead() && !self.staging.reserve.is_spent() && self.handle.get().is_none()
    }

    /// All bytes of the extent up to offset `to`, where they may go into the records.
    pub(crate) fn inline_up_to(&self, to: u64) -> Option<Vec<u8>> {
        let len = usize::try_from(to.checked_sub(self.start)?).ok()?;
        lock(&self.inline).as_ref()?.bytes().get(..len).map(<[u8]>::to_vec)
    }

    /// The files that may be there, though the bytes in their place lie in the records: they would be nobody's if the
    /// upload became complete now.
    fn uncommitted(&self) -> impl Iterator<Item = FileId> {
        let last = self.extent.filter(|_| self.is_inline()).map(|extent| extent.file);
        self.earlier.iter().copied().chain(last).filter(|file| self.staging.may_be_uncommitted(*file))
    }

    fn remove_uncommitted(&self) -> Result<(), Failure> {
        for file in self.uncommitted() {
            if self.is_fenced() {
                // It may be in use by now.
                return Err(Failure::Fenced);
            }
            self.staging.files.remove(file).map_err(|error| self.note(error))?;
            self.staging.clear_uncommitted([file]);
        }
        Ok(())
    }

    /// Whether [`Self::sync`] has anything to do on the disk.
    pub(crate) fn needs_disk(&self) -> bool {
        !self.is_inline() || self.uncommitted().next().is_some()
    }

    /// Whether all staged bytes are in memory alone.
    fn is_inline(&self) -> bool {
        self.handle.get().is_none() && lock(&self.inline).is_some()
    }

    /// Whether its lock is another's by now.
    fn is_fenced(&self) -> bool {
        self.fence < self.staging.highest_fence(&self.id)
    }

    /// The data file, made now if it is not there.
    pub(crate) fn file(&self) -> Result<&Arc<dyn DiskFile>, Failure> {
        if self.is_dead() {
            return Err(Failure::Io);
        }
        if self.staging.reserve.is_spent() {
            return Err(Failure::NoSpace);
        }
        self.open_file()
    }

    /// The same for who only reads: a full disk is no hindrance.
    pub(crate) fn open_file(&self) -> Result<&Arc<dyn DiskFile>, Failure> {
        let _opening = lock(&self.opening);
        if let Some(file) = self.handle.get() {
            return Ok(file);
        }
        let Some(Extent { file: id, len }) = self.extent else { return Err(Failure::Io) };
        let note = |error| self.staging.note(error);
        // Others may look at them while the file is made. Only the writer adds to them.
        let inline = lock(&self.inline).as_ref().map(|inline| inline.bytes().to_vec());
        if inline.is_some() && self.is_fenced() {
            // The upload may be finished by now: the file would be nobody's.
            return Err(Failure::Fenced);
        }
        let files = &self.staging.files;
        let opened = if len > 0 && inline.is_none() { files.open(id) } else { files.create(id) };
        let file = opened.map_err(note)?;
        if let Some(first) = inline {
            self.staging.note_uncommitted(id);
            let first = mutation!("outgrown-without-its-beginning", first.as_slice(), &[]);
            write_all(&*file, first, 0).map_err(|(_, error)| note(error))?;
        } else if file.len().map_err(note)? < len {
            return Err(self.staging.note(Error::damaged(&format!("{id:?} is shorter than its record"))));
        }
        Ok(self.handle.get_or_init(|| file))
    }

    /// Makes durable what is staged now, or, with eventual durability, leaves it to the next flush. With
    /// `finish_at` no byte stays after that offset.
    pub(crate) fn sync(self: &Arc<Self>, finish_at: Option<u64>) -> Result<(), Failure> {
        if self.is_dead() {
            return Err(Failure::Io);
        }
        let staged = self.staged.load(Ordering::Acquire);
        if finish_at.is_some() {
            self.remove_uncommitted()?;
        }
        if self.is_inline() {
            // They become durable with the record.
            self.synced.fetch_max(staged, Ordering::AcqRel);
            return Ok(());
        }
        let cut = match finish_at {
            Some(end) => self.cut(end)?,
            None => false,
        };
        if !cut && staged <= self.synced.load(Ordering::Acquire) {
            return Ok(());
        }
        match (mutation!("record-before-data", self.staging.durability, Durability::Eventual), self.extent) {
            (Durability::Eventual, Some(extent)) if self.staging.defer_sync(extent.file, self) => {}
            _ => self.sync_data()?,
        }
        self.synced.fetch_max(staged, Ordering::AcqRel);
        // What the file has need not be kept beside it: from here on the records are told that it is there.
        lock(&self.inline).take();
        Ok(())
    }

    /// Syncs the file; a failure is the end of all grants to it. For a writer that has staged something there.
    pub(crate) fn sync_data(&self) -> Result<(), Failure> {
        let file = self.handle.get().ok_or(Failure::Io)?;
        mutation!("data-not-synced", file.sync_data(), Ok(())).map_err(|error| {
            self.losses.fetch_add(mutation!("failed-sync-forgotten", 1, 0), Ordering::AcqRel);
            self.staging.note(error)
        })
    }

    /// The file, where there is one to sync.
    pub(crate) fn made(&self) -> Option<&dyn DiskFile> {
        self.handle.get().map(|file| &**file)
    }

    /// Cuts what earlier writers left behind `end`; whether there was something.
    fn cut(&self, end: u64) -> Result<bool, Failure> {
        let Some(extent) = self.extent else { return Ok(false) };
        if self.handle.get().is_none() && extent.len == 0 {
            return Ok(false);
        }
        let file = self.open_file()?;
        let end = end.saturating_sub(self.start);
        let cut = file.len().and_then(|len| match len > end {
            true => file.set_len(end).map(|()| true),
            false => Ok(false),
        });
        cut.map_err(|error| self.staging.note(error))
    }

    /// Up to which offset the staged bytes may be committed; `None` once they are lost.
    pub(crate) fn committable(&self) -> Option<u64> {
        (!self.is_dead()).then(|| self.synced.load(Ordering::Acquire))
    }

    pub(crate) fn note(&self, error: std::io::Error) -> Failure {
        self.staging.note(error)
    }

    fn is_dead(&self) -> bool {
        self.losses.load(Ordering::Acquire) > self.losses_before
    }
}

impl Drop for AppendLease {
    fn drop(&mut self) {
        self.staging.end_writing(&self.id);
        self.staging.let_go(self.extent.map(|extent| extent.file).as_slice());
    }
}

impl fmt::Debug for AppendLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("fence", &self.fence)
            .field("staged", &self.staged)
            .field("synced", &self.synced)
            .field("dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}
