//! The reserve for a full disk. A failed commit poisons redb, and even a delete needs space: so some stands
//! preallocated beside the records, is given up when a write of them finds the disk full, and is remade before
//! anything else gets space again.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    disk::{Disk, DiskFile, Mode, is_full, write_all},
    store::lock,
};

const RESERVE: &str = "reserve";

/// Space set aside for records and journal.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: Arc<dyn DiskFile>,
    size: u64,
    spent: AtomicBool,
    /// Held while the reserve is given up or remade.
    changing: Mutex<()>,
    disk: Arc<dyn Disk>,
    failed: Mutex<Option<Failed>>,
}

/// An attempt to make the reserve that failed: when, and how much was free.
#[derive(Clone, Copy, Debug)]
struct Failed {
    at: Duration,
    free: Option<u64>,
}

/// How long no other attempt is made, unless there is more space: it may be for an event loop that it is asked.
const PAUSE: Duration = Duration::from_secs(1);

impl Reserve {
    /// Sets `size` bytes aside, now or, where the disk is full, later.
    pub(crate) fn open(disk: &Arc<dyn Disk>, size: u64) -> io::Result<Self> {
        let file = disk.open(RESERVE, Mode::Create)?;
        let (spent, changing, failed) = (AtomicBool::new(true), Mutex::default(), Mutex::default());
        let reserve = Self { file, size, spent, changing, disk: disk.clone(), failed };
        match reserve.make() {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(reserve),
        }
    }

    /// Whether there is room only for what gives room back: commits and deletes.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// Remakes the reserve if it is spent; whether it is there now. On a full disk that is asked without being tried.
    pub(crate) fn remake(&self) -> bool {
        !self.is_spent() || (self.may_fit() && self.make().is_ok())
    }

    /// Whether another attempt may do better than the last one.
    fn may_fit(&self) -> bool {
        let Some(failed) = *lock(&self.failed) else { return true };
        let Some(free) = self.disk.free() else { return true };
        let grown = failed.free.is_none_or(|before| free > before) && free >= self.size;
        grown || self.disk.uptime().saturating_sub(failed.at) >= PAUSE
    }

    fn make(&self) -> io::Result<()> {
        let _changing = lock(&self.changing);
        let made = if self.size > 0 { self.file.preallocate(self.size) } else { Ok(()) };
        match made {
            Ok(()) => self.spent.store(false, Ordering::Release),
            // A part of it may have been set aside.
            Err(_) => {
                self.file.set_len(0)?;
                *lock(&self.failed) = Some(Failed { at: self.disk.uptime(), free: self.disk.free() });
            }
        }
        made
    }

    /// Gives the space back to the disk; false where that was done before, or can't be.
    fn give_up(&self) -> bool {
        let _changing = lock(&self.changing);
        if self.spent.swap(true, Ordering::AcqRel) {
            return false;
        }
        // Some file systems hand the blocks out again only when it is durable that they are free.
        self.size > 0 && self.file.set_len(0).and_then(|()| self.file.sync_data()).is_ok()
    }

    /// Writes all of `data`, on a full disk from the reserve.
    pub(crate) fn write_all(&self, file: &dyn DiskFile, data: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        let mut retried = false;
        loop {
            let rest = data.get(done..).unwrap_or_default();
            let Err((written, error)) = write_all(file, rest, offset + done as u64) else { return Ok(()) };
            done += written;
            // Another thread may have given it up between this write and now: try once more then, too.
            let given_up = is_full(&error) && self.give_up();
            if !is_full(&error) || (retried && !given_up) {
                return Err(error);
            }
            retried = true;
        }
    }

    /// Sets a file's length, on a full disk with the help of the reserve.
    pub(crate) fn set_len(&self, file: &dyn DiskFile, len: u64) -> io::Result<()> {
        match file.set_len(len) {
            Err(error) if is_full(&error) && self.give_up() => file.set_len(len),
            other => other,
        }
    }
}
