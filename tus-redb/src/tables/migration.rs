//! A store of format 3, 4 or 5 is made into one of format 6 when it is opened: in one durable transaction, so that a cut leaves
//! either. What changed after format 3 is the outbox, which was by number alone; after format 4, that there is a log in place
//! of the journal, whose groups are still read: see `log/journal.rs`; after format 5, that the log has a second half, which an
//! older version would not read: its first half is read as it is.

use redb::{Database, ReadableTable};

use crate::{
    error::Error,
    records::database::{self, OUTBOX},
    tables::{Keeps, Tables, event_codec},
};

/// Makes the tables of an earlier format into those of this one.
pub(crate) fn migrate(database: &Database) -> Result<(), Error> {
    let txn = database::begin_durable(database)?;
    {
        let old = txn.open_table(OUTBOX)?;
        let mut tables = Tables::open(&txn, Keeps::default())?;
        for entry in old.iter()? {
            let (number, bytes) = entry?;
            // A damaged one was never delivered; `verify` tells of it before an upgrade.
            if let Some(event) = event_codec::decode(number.value(), bytes.value()) {
                tables.put_event(&event, 0)?;
            }
        }
        txn.open_table(database::EVENTS)?;
        txn.open_table(database::DUE_EVENTS)?;
    }
    txn.delete_table(OUTBOX)?;
    database::set_format(&txn)?;
    Ok(txn.commit()?)
}
