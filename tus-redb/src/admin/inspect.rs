//! Checking a store while it is in use, step by step: each step looks at one snapshot of the records, or at one directory
//! of data files, and says where the next begins. So a check holds nothing up, takes memory for one step, and can be
//! stopped anywhere. What seems wrong is looked at once more, with its files held: an upload that was deleted meanwhile is
//! no finding.
//!
//! How many uploads share a data file is not counted here: that needs all records at one time, as
//! [`Store::verify`] has them.

use std::{fmt, io, ops::Bound, str::FromStr};

use redb::ReadTransaction;
use tus_proto::{Failure, UploadId};

use crate::{
    admin::{finding::Finding, inventory::STEP, query::CursorError},
    disk::DATA,
    error::Error,
    files::file_id::{Extent, FileId},
    mutex::lock,
    records::{
        database::{
            self, DUE_EVENTS, EVENTS, EXPIRY, FILES, INLINE, LAPSES, PENDING_UNLINK, TOMBSTONES, UPLOADS,
            WAITING,
        },
        record::{Bytes, Row},
    },
    store::{Store, source::Held},
    tables::event_codec,
};

/// What one step of a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckStep {
    /// How many uploads it has looked at.
    pub uploads: u64,
    /// How many committed bytes they have.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Where the next step begins; `None` if all was looked at.
    pub next: Option<CheckPlace>,
}

/// How far a check has come. As text it can be kept and given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPlace(Place);

/// Past what the next step looks; empty texts and 0 for the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Uploads(String),
    Expiry(u64, String),
    Tombstones(String),
    Lapses(u64, String),
    Waiting(String, String),
    Events(String, u64),
    DueEvents(u64, u64),
    Files(String),
}

impl Default for CheckPlace {
    /// The beginning.
    fn default() -> Self {
        Self(Place::Uploads(String::new()))
    }
}

impl fmt::Display for CheckPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Uploads(id) => write!(f, "uploads:{id}"),
            Place::Expiry(at, id) => write!(f, "expiry:{at}:{id}"),
            Place::Tombstones(id) => write!(f, "tombstones:{id}"),
            Place::Lapses(at, id) => write!(f, "lapses:{at}:{id}"),
            Place::Waiting(part, id) => write!(f, "waiting:{part}:{id}"),
            Place::Events(id, number) => write!(f, "events:{number}:{id}"),
            Place::DueEvents(from, number) => write!(f, "due:{from}:{number}"),
            Place::Files(dir) => write!(f, "files:{dir}"),
        }
    }
}

impl FromStr for CheckPlace {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let error = CursorError(());
        let (table, rest) = text.split_once(':').ok_or(error.clone())?;
        let pair = || rest.split_once(':').ok_or(error.clone());
        let number = |text: &str| text.parse().map_err(|_| error.clone());
        Ok(Self(match table {
            "uploads" => Place::Uploads(rest.to_owned()),
            "expiry" => Place::Expiry(number(pair()?.0)?, pair()?.1.to_owned()),
            "tombstones" => Place::Tombstones(rest.to_owned()),
            "lapses" => Place::Lapses(number(pair()?.0)?, pair()?.1.to_owned()),
            "waiting" => Place::Waiting(pair()?.0.to_owned(), pair()?.1.to_owned()),
            "due" => Place::DueEvents(number(pair()?.0)?, number(pair()?.1)?),
            "events" => Place::Events(pair()?.1.to_owned(), number(pair()?.0)?),
            "files" => Place::Files(rest.to_owned()),
            _ => return Err(error),
        }))
    }
}

impl Store {
    /// Makes the next step of a check. It writes nothing.
    ///
    /// # Errors
    /// The disk's.
    pub fn check_step(&self, place: &CheckPlace) -> Result<CheckStep, Failure> {
        self.try_check_step(place).map_err(|trouble| self.staging.note(trouble))
    }

    fn try_check_step(&self, CheckPlace(place): &CheckPlace) -> Result<CheckStep, Error> {
        let mut step = CheckStep::default();
        let next = match place {
            Place::Files(after) => self.check_directory(after, &mut step)?.map(Place::Files),
            Place::Uploads(after) => {
                let next = self.check_rows(after, &mut step)?;
                Some(next.map_or(Place::Expiry(0, String::new()), Place::Uploads))
            }
            other => Some(check_index(&self.snapshot()?.transaction, other, &mut step.findings)?),
        };
        step.next = next.map(CheckPlace);
        Ok(step)
    }

    fn check_rows(&self, after: &str, step: &mut CheckStep) -> Result<Option<String>, Error> {
        let after = Some(after).filter(|after| !after.is_empty());
        let mut suspects = Vec::new();
        let mut last = None;
        let mut count = 0;
        {
            let snapshot = self.snapshot()?;
            let uploads = snapshot.transaction.open_table(UPLOADS)?;
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            for entry in uploads.range::<&str>((start, Bound::Unbounded))?.take(STEP) {
                let (key, value) = entry?;
                let id = UploadId::new(key.value()).ok_or_else(|| Error::damaged("an upload's id"))?;
                count += 1;
                last = Some(id.to_string());
                let row = Row::decode(value.value());
                step.uploads += 1;
                step.bytes += row.as_ref().map_or(0, Row::offset);
                if !self.check_row(&snapshot.transaction, &id, row.as_ref())?.is_empty() {
                    suspects.push(id);
                }
            }
        }
        for id in suspects {
            step.findings.extend(self.check_again(&id)?);
        }
        Ok(last.filter(|_| count == STEP))
    }

    /// What is wrong with an upload while its files can't go.
    fn check_again(&self, id: &UploadId) -> Result<Vec<Finding>, Error> {
        let row_of = |txn: &ReadTransaction| {
            let value = txn.open_table(UPLOADS)?.get(id.as_str())?;
            Ok::<_, Error>(value.map(|value| Row::decode(value.value())))
        };
        let files = match row_of(&self.snapshot()?.transaction)? {
            None => return Ok(Vec::new()),
            Some(row) => row.iter().flat_map(Row::references).map(|extent| extent.file).collect(),
        };
        let _held = Held::new(&self.staging, files);
        let snapshot = self.snapshot()?;
        match row_of(&snapshot.transaction)? {
            None => Ok(Vec::new()),
            Some(row) => self.check_row(&snapshot.transaction, id, row.as_ref()),
        }
    }

    fn check_row(
        &self,
        txn: &ReadTransaction,
        id: &UploadId,
        row: Option<&Row>,
    ) -> Result<Vec<Finding>, Error> {
        let Some(row) = row else { return Ok(vec![Finding::DamagedRecord { id: id.clone() }]) };
        let (files, pending_unlink) = (txn.open_table(FILES)?, txn.open_table(PENDING_UNLINK)?);
        let mut findings = Vec::new();
        for extent in row.references() {
            let path = || self.disk.locate(&extent.file.path());
            if files.get(extent.file.0)?.is_none() {
                findings.push(Finding::WrongCount { path: path(), counted: None, references: 1 });
            }
            if pending_unlink.get(extent.file.0)?.is_some() {
                findings.push(Finding::PendingUnlink { path: path() });
            }
            findings.extend(self.check_bytes(txn, id, extent)?);
        }
        if let Some(at) = row.expires
            && txn.open_table(EXPIRY)?.get((at.as_micros(), id.as_str()))?.is_none()
        {
            findings.push(Finding::WrongExpiry { id: id.clone() });
        }
        for part in row.pending().into_iter().flat_map(|pending| &pending.parts) {
            let awaited = matches!(part.bytes, Bytes::Awaited(_));
            if awaited && txn.open_table(WAITING)?.get((part.id.as_str(), id.as_str()))?.is_none() {
                findings.push(Finding::WrongWaiting { part: part.id.clone(), id: id.clone() });
            }
        }
        Ok(findings)
    }

    /// Whether the bytes of an extent are all there.
    fn check_bytes(
        &self,
        txn: &ReadTransaction,
        id: &UploadId,
        extent: Extent,
    ) -> Result<Option<Finding>, Error> {
        let inline = txn.open_table(INLINE)?;
        let in_records =
            inline.get(extent.file.0)?.is_some_and(|bytes| bytes.value().len() as u64 >= extent.len);
        if extent.len == 0 || in_records {
            return Ok(None);
        }
        let (id, path, committed) = (id.clone(), self.disk.locate(&extent.file.path()), extent.len);
        Ok(match self.staging.files.open(extent.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Finding::MissingFile { id, path }),
            other => {
                let there = other?.len()?;
                (there < committed).then_some(Finding::ShortFile { id, path, committed, there })
            }
        })
    }

    /// Looks for files of nobody in the next directory; returns its name.
    fn check_directory(&self, after: &str, step: &mut CheckStep) -> Result<Option<String>, Error> {
        let names = self.disk.list(DATA)?;
        let Some(name) = names.into_iter().filter(|name| name.as_str() > after).min() else {
            return Ok(None);
        };
        let dir = format!("{DATA}/{name}");
        let names = match self.disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                step.findings.push(Finding::Stray { path: self.disk.locate(&dir) });
                return Ok(Some(name));
            }
            // It may have gone with its last file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(name)),
            names => names?,
        };
        let paths: Vec<_> = names.into_iter().map(|name| format!("{dir}/{name}")).collect();
        let mut strays = self.unknown(paths)?;
        if !strays.is_empty() {
            // A file made lately may be in a batch that snapshots don't show yet.
            self.show_batch().map_err(|_| Error::damaged("the records are closed"))?;
            strays = self.unknown(strays)?;
        }
        strays.retain(|path| !self.disk.is_missing(path));
        step.findings.extend(strays.iter().map(|path| Finding::Stray { path: self.disk.locate(path) }));
        Ok(Some(name))
    }

    /// Those of some files that no table names.
    fn unknown(&self, paths: Vec<String>) -> Result<Vec<String>, Error> {
        // Those given up since the last flush are removed with it.
        let given_up = lock(&self.writer).pending_unlink.clone();
        let snapshot = self.snapshot()?;
        let (files, pending_unlink) =
            (snapshot.transaction.open_table(FILES)?, snapshot.transaction.open_table(PENDING_UNLINK)?);
        let mut unknown = Vec::new();
        for path in paths {
            let known = match FileId::from_path(&path) {
                None => false,
                Some(file) => {
                    given_up.contains(&file)
                        || files.get(file.0)?.is_some()
                        || pending_unlink.get(file.0)?.is_some()
                }
            };
            if !known {
                unknown.push(path);
            }
        }
        Ok(unknown)
    }
}

/// Holds the next entries of an index against the records of the same snapshot; returns where the next step begins.
fn check_index(txn: &ReadTransaction, place: &Place, findings: &mut Vec<Finding>) -> Result<Place, Error> {
    let uploads = txn.open_table(UPLOADS)?;
    let row_of = |id: &str| {
        let value = uploads.get(id)?;
        Ok::<_, Error>(value.and_then(|value| Row::decode(value.value())))
    };
    let is_damaged = |id: &str| Ok::<_, Error>(uploads.get(id)?.is_some() && row_of(id)?.is_none());
    let mut count = 0;
    Ok(match place {
        Place::Expiry(at, id) => {
            let mut next = None;
            let after = (Bound::Excluded((*at, id.as_str())), Bound::Unbounded);
            for entry in txn.open_table(EXPIRY)?.range::<(u64, &str)>(after)?.take(STEP) {
                let (key, _) = entry?;
                let (at, id) = key.value();
                let right =
                    row_of(id)?.is_some_and(|row| row.expires.is_some_and(|time| time.as_micros() == at));
                // When an unreadable record expires can't be told.
                if !right && !is_damaged(id)? {
                    findings.push(Finding::WrongExpiry { id: named(id)? });
                }
                (count, next) = (count + 1, Some(Place::Expiry(at, id.to_owned())));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::Tombstones(String::new()))
        }
        Place::Tombstones(after) => {
            let (mut next, lapses) = (None, txn.open_table(LAPSES)?);
            let after = (Bound::Excluded(after.as_str()), Bound::Unbounded);
            for entry in txn.open_table(TOMBSTONES)?.range::<&str>(after)?.take(STEP) {
                let (id, until) = entry?;
                if lapses.get((until.value(), id.value()))?.is_none() {
                    findings.push(Finding::WrongTombstone { id: named(id.value())? });
                }
                (count, next) = (count + 1, Some(Place::Tombstones(id.value().to_owned())));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::Lapses(0, String::new()))
        }
        Place::Lapses(at, id) => {
            let (mut next, tombstones) = (None, txn.open_table(TOMBSTONES)?);
            let after = (Bound::Excluded((*at, id.as_str())), Bound::Unbounded);
            for entry in txn.open_table(LAPSES)?.range::<(u64, &str)>(after)?.take(STEP) {
                let (key, _) = entry?;
                let (until, id) = key.value();
                if tombstones.get(id)?.is_none_or(|other| other.value() != until) {
                    findings.push(Finding::WrongTombstone { id: named(id)? });
                }
                (count, next) = (count + 1, Some(Place::Lapses(until, id.to_owned())));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::Waiting(String::new(), String::new()))
        }
        Place::Waiting(part, id) => {
            let mut next = None;
            let after = (Bound::Excluded((part.as_str(), id.as_str())), Bound::Unbounded);
            for entry in txn.open_table(WAITING)?.range::<(&str, &str)>(after)?.take(STEP) {
                let (key, _) = entry?;
                let (part, id) = key.value();
                if !waits_rightly(row_of(part)?.as_ref(), row_of(id)?.as_ref(), part) {
                    findings.push(Finding::WrongWaiting { part: named(part)?, id: named(id)? });
                }
                (count, next) = (count + 1, Some(Place::Waiting(part.to_owned(), id.to_owned())));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::Events(String::new(), 0))
        }
        Place::Events(id, after) => {
            let (mut next, given) = (None, database::last_event_seen(txn)?);
            let (by_time, mut last) = (txn.open_table(DUE_EVENTS)?, id.clone());
            let after = (Bound::Excluded((id.as_str(), *after)), Bound::Unbounded);
            for entry in txn.open_table(EVENTS)?.range::<(&str, u64)>(after)?.take(STEP) {
                let (key, bytes) = entry?;
                let (id, number) = key.value();
                match event_codec::check(number, bytes.value()).filter(|_| number <= given) {
                    None => findings.push(Finding::DamagedEvent { number }),
                    // An upload's first event, and it alone, is in the index of what is due.
                    Some(due) => {
                        if by_time.get((due, number))?.is_some() != (last != id) {
                            findings.push(Finding::WrongDueEvent { id: named(id)? });
                        }
                        last = id.to_owned();
                    }
                }
                (count, next) = (count + 1, Some(Place::Events(id.to_owned(), number)));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::DueEvents(0, 0))
        }
        Place::DueEvents(from, number) => {
            let (mut next, events) = (None, txn.open_table(EVENTS)?);
            let after = (Bound::Excluded((*from, *number)), Bound::Unbounded);
            for entry in txn.open_table(DUE_EVENTS)?.range::<(u64, u64)>(after)?.take(STEP) {
                let (key, id) = entry?;
                let (from, number) = key.value();
                if events.get((id.value(), number))?.is_none() {
                    findings.push(Finding::WrongDueEvent { id: named(id.value())? });
                }
                (count, next) = (count + 1, Some(Place::DueEvents(from, number)));
            }
            next.filter(|_| count == STEP).unwrap_or(Place::Files(String::new()))
        }
        Place::Uploads(_) | Place::Files(_) => Place::Files(String::new()),
    })
}

/// Whether a pending final and a part of it know of each other, and are in step.
fn waits_rightly(part: Option<&Row>, of: Option<&Row>, name: &str) -> bool {
    let (Some(part), Some(of)) = (part, of) else { return false };
    let mut wanted = of.pending().into_iter().flat_map(|pending| &pending.parts);
    match wanted.find(|wanted| wanted.id.as_str() == name).map(|wanted| &wanted.bytes) {
        Some(Bytes::Awaited(_)) => !part.is_complete(),
        Some(Bytes::There(_)) => part.is_complete() && part.expires.is_none(),
        None => false,
    }
}

fn named(id: &str) -> Result<UploadId, Error> {
    UploadId::new(id).ok_or_else(|| Error::damaged("an upload's id in an index"))
}
