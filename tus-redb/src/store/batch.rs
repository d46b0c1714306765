//! Batches: groups that share a transaction of the records, which is committed when enough is in it. Until then readers see its
//! changes in the overlay.

use redb::WriteTransaction;

use crate::{
    error::Error,
    mutex::lock,
    records::overlay::Overlay,
    store::{Store, Writer},
};

impl Store {
    /// A group is in the log, and in this transaction: shows it, and leaves the batch open for the next one, unless
    /// it is time to commit it.
    pub(crate) fn go_on(
        &self,
        writer: &mut Writer,
        txn: WriteTransaction,
        changed: Overlay,
    ) -> Result<(), Error> {
        let is_over = {
            let overlay = &mut lock(&self.live).overlay;
            overlay.extend(changed);
            overlay.is_over()
        };
        writer.batch = Some(txn);
        if is_over { self.publish(writer) } else { Ok(()) }
    }

    /// Commits the batch, if there is one. The number of the last group is written with the next flush: it is read from the
    /// tables only after one.
    pub(crate) fn publish(&self, writer: &mut Writer) -> Result<(), Error> {
        let Some(txn) = writer.batch.take() else { return Ok(()) };
        txn.commit()?;
        self.renew_view();
        Ok(())
    }
}
