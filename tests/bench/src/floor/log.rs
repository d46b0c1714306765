//! The least that can be done to keep small requests: they are appended to one file, which was written before, and synced
//! together.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::Trouble;

/// How long the file is: then it is begun anew.
const LENGTH: usize = 64 << 20;

/// The file, and what is to be added to it.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    at: usize,
    waiting: Vec<u8>,
}

impl Log {
    /// Makes the file, as long as it will be.
    pub(super) fn create(dir: &Path) -> Result<Self, Trouble> {
        let path = dir.join("log");
        fs::write(&path, vec![0; LENGTH])?;
        let file = File::options().write(true).open(path)?;
        file.sync_all()?;
        Ok(Self { file, at: 0, waiting: Vec::new() })
    }

    /// Adds a request.
    pub(super) fn append(&mut self, request: &[u8]) {
        self.waiting.extend_from_slice(request);
    }

    /// Makes durable what was added, if anything was.
    pub(super) fn sync(&mut self) -> Result<(), Trouble> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.at + self.waiting.len() > LENGTH {
            self.at = 0;
        }
        self.file.write_all_at(&self.waiting, self.at as u64)?;
        self.file.sync_data()?;
        self.at += self.waiting.len();
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_added_stands_in_the_file_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::create(dir.path()).unwrap();
        log.append(b"one");
        log.append(b"two");
        log.sync().unwrap();
        log.append(b"three");
        log.sync().unwrap();
        let bytes = fs::read(dir.path().join("log")).unwrap();
        assert_eq!((&bytes[..12], bytes.len()), (&b"onetwothree\0"[..], LENGTH));
    }
}
