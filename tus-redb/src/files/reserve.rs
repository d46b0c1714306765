//! The reserve for a full disk. A failed commit poisons redb, and even a delete needs space: so some stands
//! preallocated beside the records, is given up when a write of them finds the disk full, and is remade before
//! anything else gets space again.
//!
//! What is free in the file of the records is as good: redb uses it first. So where small bodies have filled the disk,
//! and enough of them are deleted, that stands for the reserve, and no record need be moved.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    disk::{Disk, DiskFile, Mode, is_full, write_all},
    mutex::lock,
};

const RESERVE: &str = "reserve";

/// Space set aside for records and journal.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: Arc<dyn DiskFile>,
    size: u64,
    spent: AtomicBool,
    /// How many bytes are free in the file of the records at least, while the reserve is spent; 0 where nobody knows.
    inside: AtomicU64,
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
        let inside = AtomicU64::new(0);
        let reserve = Self { file, size, spent, inside, changing, disk: disk.clone(), failed };
        match reserve.make() {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(reserve),
        }
    }

    /// Whether there is room only for what gives room back: commits and deletes.
    pub(crate) fn is_spent(&self) -> bool {
        !self.is_set_aside() && !self.has_room_inside()
    }

    /// Whether the space is set aside on the disk.
    pub(crate) fn is_set_aside(&self) -> bool {
        !self.spent.load(Ordering::Acquire)
    }

    /// Remakes the reserve if it is spent; whether it, or what stands for it, is there now. On a full disk that is asked
    /// without being tried.
    pub(crate) fn remake(&self) -> bool {
        self.is_set_aside() || (self.may_fit() && self.make().is_ok()) || self.has_room_inside()
    }

    /// How much is wanted: an eighth more than what commits and deletes may need.
    pub(crate) fn wanted(&self) -> u64 {
        self.size.saturating_add(self.size / 8)
    }

    /// Whether what is free in the file of the records stands for the reserve.
    fn has_room_inside(&self) -> bool {
        self.size > 0 && self.inside.load(Ordering::Acquire) >= self.wanted()
    }

    /// So many bytes are free in the file of the records, at least.
    pub(crate) fn set_inside(&self, bytes: u64) {
        self.inside.store(bytes, Ordering::Release);
    }

    pub(crate) fn inside(&self) -> u64 {
        self.inside.load(Ordering::Acquire)
    }

    /// So many bytes of these are given back, or used.
    pub(crate) fn change_inside(&self, change: impl Fn(u64) -> u64) {
        let _ = self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, |bytes| Some(change(bytes)));
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
            Ok(()) => {
                self.spent.store(false, Ordering::Release);
                self.set_inside(0);
            }
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
                // Less was free than was thought.
                self.set_inside(0);
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
