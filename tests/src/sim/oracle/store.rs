//! What the store holds, against what it must hold: at every opening, at flushes, and in the end.

use std::io::Read as _;

use tus_redb::{Disk as _, Mode, Store, sim::SimDisk};

use super::{Oracle, Upload};
use crate::sim::content::stretch;

/// How many bytes lie in data files.
fn data_bytes(disk: &SimDisk) -> u64 {
    let mut bytes = 0;
    for dir in disk.list("data").unwrap_or_default() {
        for name in disk.list(&format!("data/{dir}")).unwrap_or_default() {
            let file = disk.open(&format!("data/{dir}/{name}"), Mode::Existing);
            bytes += file.and_then(|file| file.len()).unwrap_or_default();
        }
    }
    bytes
}

impl Oracle {
    /// A flush was begun: of what is committed now.
    pub(in crate::sim) fn on_flushing(&mut self, disk: &SimDisk) {
        self.look_at_faults(disk);
        self.faults_at_flushing = disk.faults_hit();
        for upload in self.uploads.values_mut() {
            upload.since_flushing = upload.now.clone();
        }
    }

    /// All that was committed when it was begun is durable, so says the store.
    pub(in crate::sim) fn on_flush(&mut self, store: &Store, disk: &SimDisk) {
        self.look_at_faults(disk);
        if !self.eventual {
            return;
        }
        if disk.faults_hit() > self.faults_at_flush {
            self.faults_at_flush = self.faults_at_flushing;
            self.check_store(store, disk, false);
        }
        self.shaken = disk.faults_hit() > self.faults_at_flush;
        for upload in self.uploads.values_mut() {
            upload.since_flush = upload.since_flushing.clone();
            upload.told = upload.told.min(upload.now.iter().min().copied().flatten().unwrap_or_default());
        }
    }

    /// Eventual durability: what a failing sync has lost is taken back at some flush.
    pub(in crate::sim) fn look_at_faults(&mut self, disk: &SimDisk) {
        if self.eventual && disk.faults_hit() > self.faults_at_flush {
            self.shaken = true;
            self.fall_back();
        }
    }

    /// The process has ended, or the machine with it.
    pub(in crate::sim) fn on_crash(&mut self, disk: &SimDisk, machine: bool) {
        self.look_at_faults(disk);
        if machine && self.eventual {
            self.fall_back();
        }
    }

    fn fall_back(&mut self) {
        for upload in self.uploads.values_mut() {
            if !upload.parts.is_empty() {
                // What a part has lost makes its final wait again, or takes it along.
                upload.may_be(None);
                upload.may_be(Some(0));
            }
            let lowest = upload.since_flush.iter().min().copied().flatten().unwrap_or_default();
            for state in upload.since_flush.clone() {
                upload.may_be(state);
            }
            upload.told = upload.told.min(lowest);
            upload.completed = false;
        }
    }

    /// The disk grows by what was uploaded: finals, however many, cost one copy at most, and that while it is made.
    pub(in crate::sim) fn check_growth(&self, disk: &SimDisk) {
        let length = |upload: &Upload| upload.files.iter().map(|file| self.files[*file]).sum::<u64>();
        let (finals, others): (Vec<_>, Vec<_>) =
            self.uploads.values().partition(|upload| !upload.parts.is_empty());
        let uploaded: u64 = others.into_iter().map(length).sum();
        let copied = finals.into_iter().map(length).max().unwrap_or_default();
        let taken = disk.aside(|| data_bytes(disk));
        // A writer that was displaced may leave as much again past what is committed.
        let most = 2 * uploaded + copied;
        assert!(taken <= most, "{taken} bytes lie in data files, and {uploaded} were uploaded");
    }

    /// Holds what the store has against what it must have. `whole` says that everything must be readable.
    pub(in crate::sim) fn check_store(&mut self, store: &Store, disk: &SimDisk, whole: bool) {
        for (id, upload) in &mut self.uploads {
            let length: u64 = upload.files.iter().map(|file| self.files[*file]).sum();
            let looked = disk.aside(|| store.load(id));
            let record = match looked {
                Ok(record) => record,
                Err(failure) => {
                    assert!(!whole, "{id} can't be read: {failure:?}");
                    continue;
                }
            };
            let state = record.as_ref().map(|record| record.offset);
            upload.can_be(state, "the store", id);
            upload.settle(state);
            let Some(record) = record else { continue };
            assert!(record.length.is_none_or(|told| told == length), "{id} has another length");
            assert!(record.is_final() || record.metadata == upload.metadata, "{id} has other metadata");
            upload.expires = record.expires;
            let body = disk.aside(|| {
                let mut bytes = Vec::new();
                let read = store.read(id).map(|body| body.map(|mut body| body.read_to_end(&mut bytes)));
                read.map(|read| read.map(|read| read.map(|_| bytes)))
            });
            let Ok(Some(Ok(bytes))) = body else {
                assert!(!whole, "the bytes of {id} can't be read");
                continue;
            };
            let truth = upload.files.iter().flat_map(|file| stretch(*file, 0, self.files[*file]));
            assert!(
                bytes.len() as u64 == record.offset && truth.take(bytes.len()).eq(bytes),
                "{id} has bytes that are not the client's"
            );
        }
        let listed = disk.aside(|| store.list(None, usize::MAX));
        for record in listed.unwrap_or_default() {
            assert!(self.uploads.contains_key(&record.id), "{} was never asked for", record.id);
        }
    }
}
