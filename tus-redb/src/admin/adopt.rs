//! Taking over uploads whose bytes already lie in files, as another server left them: a file is linked into the store,
//! or copied where it can't be, and no byte of it is looked at.
//!
//! The new file's row says first that nothing refers to it, and the next transaction, once its bytes and its name are
//! durable, that the upload does. So a crash between leaves a file that the next reclaim removes.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use redb::{Database, WriteTransaction};
use tus_proto::{Completion, Concat, Failure, Fence, Record};

use crate::{
    error::Error,
    files::file_id::{Extent, FileId},
    mutex::lock,
    options::Durability,
    records::{
        database,
        record::{Kind, Row},
    },
    store::{Store, Writer},
    tables::{Effects, Keeps, Tables},
};

/// An upload to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// What it is to be. A final is complete.
    pub record: Record,
    /// The file whose bytes, as many as the record's offset, are the upload's. Not looked at where that is 0.
    pub data: PathBuf,
}

/// What became of an [`Adoption`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Adopted {
    /// It is in the store, and its data file is the one it had: a hard link.
    Linked,
    /// It is in the store, with a copy of its data file, or without one where it has no bytes.
    Copied,
    /// An upload in the store has its id, or had it until lately.
    Exists,
    /// Its data file has another length, in bytes, than the record's offset.
    Differs {
        /// That length.
        len: u64,
    },
    /// Its data file could not be brought in.
    Failed(io::Error),
}

/// A data file on its way in.
type Brought = Result<Option<(FileId, bool)>, Adopted>;

impl Store {
    /// Takes over a group of uploads in one transaction, and returns what became of each. One that fails does not hinder
    /// the others. For a caller that is alone with a store of strict durability.
    ///
    /// # Errors
    /// The store's; then none was taken over.
    pub fn adopt(&self, group: &[Adoption]) -> Result<Vec<Adopted>, Failure> {
        if self.options.durability != Durability::Strict {
            return Err(Failure::Unavailable);
        }
        let mut brought = Vec::with_capacity(group.len());
        for adoption in group {
            brought.push(self.reserve_file(&adoption.record)?);
        }
        let files = brought.iter().filter_map(|brought| brought.as_ref().ok().copied().flatten());
        let files: Vec<_> = files.map(|(file, _)| file).collect();
        self.in_transaction(self.keeps(), |tables| {
            files.iter().try_for_each(|file| {
                tables.pending_unlink()?.insert(file.0, ())?;
                Ok(())
            })
        })?;
        for (adoption, brought) in group.iter().zip(&mut brought) {
            if let Ok(Some((file, linked))) = brought
                && adoption.record.offset > 0
            {
                match self.bring_in(adoption, *file) {
                    Ok(is_linked) => *linked = is_linked,
                    Err(adopted) => *brought = Err(adopted),
                }
            }
        }
        self.staging.files.sync_names().map_err(|error| self.staging.note(error))?;
        // What is not taken over goes with the next reclaim.
        self.staging.reclaimable.store(true, Ordering::Release);
        self.in_transaction(self.keeps(), |tables| {
            let take = |(adoption, brought): (&Adoption, &mut Brought)| {
                if let Ok(file) = *brought
                    && !take_over(tables, &adoption.record, file.map(|(file, _)| file))?
                {
                    *brought = Err(Adopted::Exists);
                }
                Ok(())
            };
            group.iter().zip(&mut brought).try_for_each(take)
        })?;
        let adopted = brought.into_iter().map(|brought| match brought {
            Ok(Some((_, true))) => Adopted::Linked,
            Ok(_) => Adopted::Copied,
            Err(adopted) => adopted,
        });
        Ok(adopted.collect())
    }

    /// A file for an upload that is not in the store; none for one that will never have bytes.
    fn reserve_file(&self, record: &Record) -> Result<Brought, Failure> {
        if self.load(&record.id)?.is_some() || self.remembers(&record.id)? {
            return Ok(Err(Adopted::Exists));
        }
        if record.length.is_some_and(|length| length < record.offset) {
            return Ok(Err(Adopted::Differs { len: record.offset }));
        }
        if record.length == Some(0) {
            return Ok(Ok(None));
        }
        match self.new_file() {
            Ok(file) => Ok(Ok(Some((file, false)))),
            Err(Completion::Failed(failure)) => Err(failure),
            Err(_) => Err(Failure::Unavailable),
        }
    }

    /// Brings a data file in, and makes its bytes durable. Returns whether it is linked.
    fn bring_in(&self, Adoption { record, data }: &Adoption, file: FileId) -> Result<bool, Adopted> {
        let bring = || {
            let linked = self.staging.files.bring_in(file, data)?;
            let brought = self.staging.files.open(file)?;
            let len = brought.len()?;
            if len == record.offset {
                brought.sync_data()?;
            }
            Ok((linked, len))
        };
        let (linked, len) = bring().map_err(Adopted::Failed)?;
        if len == record.offset { Ok(linked) } else { Err(Adopted::Differs { len }) }
    }

    fn in_transaction(
        &self,
        keeps: Keeps,
        change: impl FnOnce(&mut Tables<'_>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.await_checkpoint(&mut writer)?;
        let database = self.database(&mut writer)?;
        match try_change(&database, &writer, keeps, change) {
            Ok((txn, effects)) => {
                drop(database);
                self.conclude_durably(&mut writer, txn, &effects)
            }
            Err(trouble) => Err(self.give_up(&mut writer, database, trouble)),
        }
    }
}

fn try_change(
    database: &Arc<Database>,
    writer: &Writer,
    keeps: Keeps,
    change: impl FnOnce(&mut Tables<'_>) -> Result<(), Error>,
) -> Result<(WriteTransaction, Effects), Error> {
    let txn = database::begin_durable(database)?;
    let mut tables = Tables::open(&txn, keeps)?;
    tables.block = writer.block;
    change(&mut tables)?;
    let mut effects = std::mem::take(&mut tables.effects);
    effects.block = tables.block;
    drop(tables);
    Ok((txn, effects))
}

/// Writes the row of an upload, and the reference to its file. Returns false, and changes nothing, where its id is taken.
fn take_over(tables: &mut Tables<'_>, record: &Record, file: Option<FileId>) -> Result<bool, Error> {
    if tables.is_taken(&record.id)? {
        return Ok(false);
    }
    if let Some(file) = file {
        tables.pending_unlink()?.remove(file.0)?;
        tables.add_file(file)?;
    }
    let row = Row {
        created: record.created,
        length: record.length,
        fence: Fence(0),
        extents: file.iter().map(|file| Extent { file: *file, len: record.offset }).collect(),
        metadata: record.metadata.clone(),
        expires: record.expires,
        kind: match &record.concat {
            None => Kind::Plain,
            Some(Concat::Partial) => Kind::Partial,
            Some(Concat::Final(header)) => Kind::Final { header: header.clone(), pending: None },
        },
        explicit: record.explicit.clone(),
        sha256: None,
    };
    if row.is_complete() && row.kind != Kind::Partial {
        tables.put_complete(&record.id, None, &row)?;
    } else {
        tables.put(&record.id, None, &row)?;
    }
    Ok(true)
}
