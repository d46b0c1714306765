//! Data files that a failed sync has damaged since the last flush. Their records fall back with the next flush,
//! also where that is the next process's: what it would read of them may never have reached the disk, and its own
//! sync of them may well succeed. So their ids are noted in a file, written and not synced, as the journal is:
//! after a power cut there is no journal either, and no record stands on what was lost.

use std::{collections::BTreeSet, io};

use crate::{
    codec::{Decoder, Encoder},
    disk::{Disk, Mode, accept, read_exact},
    files::{file_id::FileId, reserve::Reserve},
};

const NOTE: &str = "damaged";

/// How often a note is tried: the disk has just failed.
const TRIES: usize = 3;

/// The files, and whether the next process knows of them.
#[derive(Debug, Default)]
pub(crate) struct FailedSyncs {
    files: BTreeSet<FileId>,
    /// Those whose records have fallen back, which is not known to be durable.
    retracted: BTreeSet<FileId>,
    noted: bool,
}

impl FailedSyncs {
    /// What the process before noted.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let file = match disk.open(NOTE, Mode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        read_exact(&*file, &mut bytes, 0)?;
        let mut bytes = Decoder(&bytes);
        let files = std::iter::from_fn(|| bytes.number().map(FileId)).collect();
        Ok(Self { files, retracted: BTreeSet::new(), noted: true })
    }

    /// A sync of this file failed.
    pub(crate) fn insert(&mut self, disk: &dyn Disk, reserve: &Reserve, file: FileId) -> io::Result<()> {
        self.files.insert(file);
        let mut tried = Ok(());
        for _ in 0..TRIES {
            tried = self.note(disk, reserve);
            if tried.is_ok() {
                break;
            }
        }
        tried
    }

    fn note(&mut self, disk: &dyn Disk, reserve: &Reserve) -> io::Result<()> {
        let mut bytes = Encoder::default();
        for file in self.files.union(&self.retracted) {
            bytes.number(file.0);
        }
        self.noted = true;
        let file = disk.open(NOTE, Mode::Create)?;
        reserve.write_all(&*file, &bytes.0, 0)?;
        file.set_len(bytes.0.len() as u64)
    }

    pub(crate) fn files(&self) -> &BTreeSet<FileId> {
        &self.files
    }

    /// The records have fallen back, and that is not durable yet. Returns whether there was anything.
    pub(crate) fn retract(&mut self) -> bool {
        self.retracted.append(&mut self.files);
        !self.retracted.is_empty()
    }

    /// They have not.
    pub(crate) fn restore(&mut self) {
        self.files.append(&mut self.retracted);
    }

    /// That the records have fallen back is durable.
    pub(crate) fn clear_retracted(&mut self, disk: &dyn Disk, reserve: &Reserve) -> io::Result<()> {
        self.retracted.clear();
        if !self.noted {
            return Ok(());
        }
        if self.files.is_empty() {
            accept(disk.unlink(NOTE), io::ErrorKind::NotFound)?;
            self.noted = false;
            return Ok(());
        }
        self.note(disk, reserve)
    }

    /// What was noted is of groups that are gone, or have fallen back.
    pub(crate) fn clear(&mut self, disk: &dyn Disk, reserve: &Reserve) -> io::Result<()> {
        self.files.clear();
        self.clear_retracted(disk, reserve)
    }
}
