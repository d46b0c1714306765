//! The tables, and how a database is opened on the records' file.

use std::sync::Arc;

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction,
};

use crate::{
    error::Error,
    files::file_id::FileId,
    options::Options,
    records::backend::{Backend, RecordsFile},
};

/// Uploads by id.
pub(crate) const UPLOADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("uploads");
/// Data files in use, with their number of references.
pub(crate) const FILES: TableDefinition<'_, u64, u32> = TableDefinition::new("files");
/// Data files at count 0: they stay until they are unlinked, so that an opening finds them without a scan.
pub(crate) const PENDING_UNLINK: TableDefinition<'_, u64, ()> = TableDefinition::new("doomed");
/// Uploads that expire, by the time at which they do, in microseconds, and id.
pub(crate) const EXPIRY: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("expiry");
/// Expired uploads by id, remembered until that time: a client may still ask.
pub(crate) const TOMBSTONES: TableDefinition<'_, &str, u64> = TableDefinition::new("tombstones");
/// The same by time and id.
pub(crate) const LAPSES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("lapses");
/// Events that nobody has acknowledged, by upload and number.
pub(crate) const EVENTS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("events");
/// Of each upload the first of them, by the time from which it is due, in microseconds, and its number.
pub(crate) const DUE_EVENTS: TableDefinition<'_, (u64, u64), &str> = TableDefinition::new("due events");
/// Format 3's events, by number alone.
pub(crate) const OUTBOX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox");
/// Which part is named by which pending final.
pub(crate) const WAITING: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("waiting");
/// Complete uploads that are to be put into one file, by id; with that file, once it is begun, and how many of its
/// bytes are durable.
pub(crate) const FRAGMENTED: TableDefinition<'_, &str, Option<(u64, u64)>> =
    TableDefinition::new("scattered");
/// Complete uploads that are put into one file once a data file of theirs has no other owner: by that file, the number
/// of their own references to it, and id. A file has one such owner at most, so what a release must look at is bounded.
pub(crate) const SHARING: TableDefinition<'_, (u64, u32, &str), ()> = TableDefinition::new("sharing");
/// Complete uploads whose digests are to be computed, by id. Not there in a store that never did.
pub(crate) const UNDIGESTED: TableDefinition<'_, &str, ()> = TableDefinition::new("undigested");
/// The first bytes of data files that are small, by file: see `tables/files.rs`.
pub(crate) const INLINE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("small");
/// Numbers of the store as a whole.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The version of the tables, the log and the directories together.
pub const FORMAT: u64 = 6;
/// The earlier versions that an opening can make into this one: see `tables/migration.rs`.
pub(crate) const FORMAT_5: u64 = 5;
pub(crate) const FORMAT_4: u64 = 4;
pub(crate) const FORMAT_3: u64 = 3;

/// How many groups were committed: which frames of the log are in the database already.
const SEQUENCE: &str = "sequence";
/// How many times the store was opened.
const EPOCH: &str = "epoch";
/// The highest block of 2^32 fencing numbers or file ids of which one is in the records, where that is above [`EPOCH`]: an
/// opening that uses more of them than a block has goes on into the next ones.
const BLOCK: &str = "block";
/// There once [`BLOCK`] can be believed: stores that were made before it was noted go without, and may have numbers above it.
const NUMBERED: &str = "numbered";
/// Below which count the files of this opening were made before the last flush.
const FLUSHED_FILES: &str = "flushed files";
/// The number of the last event.
const LAST_EVENT: &str = "last event";
/// How far the lives of uploads have come, in microseconds; not there in a store that was never swept.
const TIME: &str = "time";
const FORMAT_KEY: &str = "format";

/// Opens the records; makes a database where the file is empty.
pub(crate) fn open(file: &Arc<RecordsFile>, options: &Options) -> Result<Database, redb::DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes).set_check_integrity_on_open(options.check);
    builder.create_with_backend(Backend(file.clone()))
}

/// A transaction that survives a power cut once committed. Quick repair (and the two phases it brings)
/// makes an opening after a crash cost the same however many records there are.
pub(crate) fn begin_durable(db: &Database) -> Result<WriteTransaction, Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    Ok(txn)
}

/// A transaction that is gone with the process until a durable one follows it.
pub(crate) fn begin_volatile(db: &Database) -> Result<WriteTransaction, Error> {
    let mut txn = db.begin_write()?;
    txn.set_durability(Durability::None)?;
    Ok(txn)
}

/// Makes the tables of a new store.
pub(crate) fn initialise(db: &Database) -> Result<(), Error> {
    let txn = begin_durable(db)?;
    txn.open_table(UPLOADS)?;
    txn.open_table(FILES)?;
    txn.open_table(PENDING_UNLINK)?;
    txn.open_table(EXPIRY)?;
    txn.open_table(TOMBSTONES)?;
    txn.open_table(LAPSES)?;
    txn.open_table(EVENTS)?;
    txn.open_table(DUE_EVENTS)?;
    txn.open_table(WAITING)?;
    txn.open_table(FRAGMENTED)?;
    txn.open_table(SHARING)?;
    txn.open_table(INLINE)?;
    set_format(&txn)?;
    set_meta(&txn, NUMBERED, 1)?;
    Ok(txn.commit()?)
}

/// Notes that the tables are of this format.
pub(crate) fn set_format(txn: &WriteTransaction) -> Result<(), Error> {
    set_meta(txn, FORMAT_KEY, FORMAT)
}

/// The format version; none in a database that is not a store's.
pub(crate) fn format(txn: &WriteTransaction) -> Result<Option<u64>, Error> {
    Ok(txn.open_table(META)?.get(FORMAT_KEY)?.map(|value| value.value()))
}

/// How many groups were committed.
pub(crate) fn sequence(txn: &WriteTransaction) -> Result<u64, Error> {
    meta(txn, SEQUENCE)
}

/// Notes that a group was committed, in its own transaction.
pub(crate) fn set_sequence(txn: &WriteTransaction, sequence: u64) -> Result<(), Error> {
    set_meta(txn, SEQUENCE, sequence)
}

/// The number of the last opening.
pub(crate) fn epoch(txn: &WriteTransaction) -> Result<u64, Error> {
    meta(txn, EPOCH)
}

/// Counts an opening, whose number is above the blocks of all numbers in the records.
pub(crate) fn set_epoch(txn: &WriteTransaction, epoch: u32) -> Result<(), Error> {
    set_meta(txn, NUMBERED, 1)?;
    set_meta(txn, EPOCH, epoch.into())?;
    set_meta(txn, FLUSHED_FILES, 0)
}

/// Notes with a flush how many data files this opening has made.
pub(crate) fn set_flushed_files(txn: &WriteTransaction, count: u64) -> Result<(), Error> {
    set_meta(txn, FLUSHED_FILES, count)
}

/// Notes that a fencing number or a file id of this block is in the records.
pub(crate) fn note_block(txn: &WriteTransaction, block: u64) -> Result<(), Error> {
    let noted = meta(txn, BLOCK)?.max(epoch(txn)?);
    if block > noted { set_meta(txn, BLOCK, block) } else { Ok(()) }
}

/// The highest block of which a number was given out.
pub(crate) fn last_block(txn: &ReadTransaction) -> Result<u64, Error> {
    let meta = txn.open_table(META)?;
    let number = |key| Ok::<_, Error>(meta.get(key)?.map_or(0, |value| value.value()));
    Ok(number(EPOCH)?.max(number(BLOCK)?))
}

/// Whether [`last_block`] is above all numbers in the records.
pub(crate) fn is_numbered(txn: &ReadTransaction) -> Result<bool, Error> {
    Ok(txn.open_table(META)?.get(NUMBERED)?.is_some())
}

/// The first data file of the last opening that may have been made after its last flush.
pub(crate) fn first_unflushed(txn: &ReadTransaction) -> Result<FileId, Error> {
    let meta = txn.open_table(META)?;
    let number = |key| Ok::<_, Error>(meta.get(key)?.map_or(0, |value| value.value()));
    Ok(FileId((number(EPOCH)? << 32).saturating_add(number(FLUSHED_FILES)?)))
}

/// The number of the last event; it may have been acknowledged.
pub(crate) fn last_event(txn: &WriteTransaction) -> Result<u64, Error> {
    meta(txn, LAST_EVENT)
}

/// The same, for who only looks.
pub(crate) fn last_event_seen(txn: &ReadTransaction) -> Result<u64, Error> {
    Ok(txn.open_table(META)?.get(LAST_EVENT)?.map_or(0, |value| value.value()))
}

/// A number for an event that none had before: not even one that went with the power.
pub(crate) fn next_event(txn: &WriteTransaction) -> Result<u64, Error> {
    let number = (last_event(txn)? + 1).max(epoch(txn)? << 32);
    set_meta(txn, LAST_EVENT, number)?;
    Ok(number)
}

/// How far the lives of uploads had come when that was noted last.
pub(crate) fn time(txn: &WriteTransaction) -> Result<u64, Error> {
    meta(txn, TIME)
}

/// Notes how far the lives of uploads have come.
pub(crate) fn set_time(txn: &WriteTransaction, micros: u64) -> Result<(), Error> {
    set_meta(txn, TIME, micros)
}

fn meta(txn: &WriteTransaction, key: &str) -> Result<u64, Error> {
    Ok(txn.open_table(META)?.get(key)?.map_or(0, |value| value.value()))
}

fn set_meta(txn: &WriteTransaction, key: &str, value: u64) -> Result<(), Error> {
    txn.open_table(META)?.insert(key, value)?;
    Ok(())
}
