//! Whether the store can commit again. A load balancer that saw the server fail sends it no requests, so no commit of theirs
//! would show that the disk has recovered.

use redb::Database;
use tus_proto::Failure;

use crate::{
    disk::DATA,
    error::Error,
    mutex::lock,
    records::database,
    store::{Store, Writer},
};

impl Store {
    /// Sets the reserve aside again where it was spent, and makes a durable transaction that changes nothing; or
    /// flushes, where something awaits that. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's: it is full, or fails.
    pub fn probe(&self) -> Result<(), Failure> {
        self.staging.forget_suspicion();
        let mut writer = lock(&self.writer);
        if !self.staging.reserve.remake() {
            return Err(Failure::NoSpace);
        }
        // The records may be sound, and no body can be stored all the same.
        self.disk.sync_dir(DATA).map_err(|error| self.staging.note(error))?;
        if self.needs_flush() {
            return self.flush_held(&mut writer);
        }
        let database = self.database(&mut writer)?;
        match commit_nothing(&writer, &database) {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.give_up(&mut writer, database, trouble)),
        }
    }
}

/// With eventual durability nothing awaits a flush here: else this would make records durable before their bytes.
pub(crate) fn commit_nothing(writer: &Writer, database: &Database) -> Result<(), Error> {
    let txn = database::begin_durable(database)?;
    database::set_sequence(&txn, writer.sequence)?;
    Ok(txn.commit()?)
}
