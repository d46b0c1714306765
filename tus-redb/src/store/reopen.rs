//! The open database: opened anew after an I/O error, because redb rejects every call until then, and closed with the store.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use redb::Database;
use tus_proto::Failure;

use crate::{
    error::Error,
    mutex::lock,
    records::{database, view::ReadView},
    store::{Store, Writer},
};

impl Store {
    /// The open database with all changes committed. The caller holds the writer's lock.
    pub(crate) fn database(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        if let Err(trouble) = self.publish(writer) {
            // It is in the log.
            self.staging.note(trouble);
            return self.reopen(writer);
        }
        self.open_database(writer)
    }

    /// The open database, for a caller that continues the batch that is open in it.
    pub(crate) fn open_database(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        let open = lock(&self.live).database.clone();
        match open {
            Some(database) => Ok(database),
            None => self.reopen(writer),
        }
    }

    /// Opens the records anew: after an I/O error redb rejects every call until then. No copy of the database's handle is left,
    /// because only the holder of the writer's lock has any.
    pub(crate) fn reopen(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        writer.batch = None;
        // What redb has written and not synced goes, or is there: its replay from the log is the same.
        match self.records.settle() {
            Ok(()) => self.finish_checkpoint(writer),
            Err(_) => self.abandon_checkpoint(writer),
        }
        let _no_snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let mut live = lock(&self.live);
        // Dropping a database makes durable what it holds: records whose bytes may not be there yet.
        self.records.seal();
        *live = ReadView::default();
        self.records.unseal();
        let opened = self.try_reopen(writer);
        live.database = Some(opened.map_err(|trouble| self.staging.note(trouble))?);
        live.database.clone().ok_or(Failure::Io)
    }

    /// After an error under the writer's lock: opens the records anew, for the next call, and hands back what
    /// this one fails with.
    pub(crate) fn give_up(&self, writer: &mut Writer, database: Arc<Database>, trouble: Error) -> Failure {
        let failure = self.staging.note(trouble);
        drop(database);
        // If that fails too, the next call tries again.
        let _ = self.reopen(writer);
        failure
    }

    fn try_reopen(&self, writer: &mut Writer) -> Result<Arc<Database>, Error> {
        self.records.repair()?;
        let database = database::open(&self.records, &self.options)?;
        writer.replay(&*self.disk, &database)?;
        writer.end_torn_log(&database)?;
        // A change whose answer was lost may have left something to reclaim or to consolidate.
        self.staging.reclaimable.store(true, Ordering::Release);
        self.fragmented.store(self.options.consolidate, Ordering::Release);
        Ok(Arc::new(database))
    }

    /// Makes later reads show what was committed just now.
    pub(crate) fn renew_view(&self) {
        lock(&self.live).renew();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let closing = self.flush();
        if closing.is_err() {
            // redb would make durable now what the flush could not: records whose bytes may not be there.
            self.records.seal();
        }
        lock(&self.writer).batch = None;
        *lock(&self.live) = ReadView::default();
        // Grants hold on to what holds them.
        lock(&self.staging.dirty).clear();
    }
}
