//! Checking records against data files.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use redb::{ReadableDatabase, ReadableTable};
use tus_proto::{Failure, UploadId};

use crate::{
    admin::{ExtentFile, finding::Finding},
    disk::DATA,
    error::Error,
    files::file_id::{Extent, FileId},
    mutex::lock,
    records::{
        copy::CopyProgress,
        database::{
            self, DUE_EVENTS, EVENTS, EXPIRY, FILES, FRAGMENTED, INLINE, LAPSES, PENDING_UNLINK, TOMBSTONES,
            WAITING,
        },
        record::{Bytes, Kind, Row},
    },
    store::Store,
    tables::{consolidation::is_fragmented, event_codec},
};

/// All that is to be compared.
#[derive(Default)]
pub(crate) struct Audit {
    pub(crate) books: Books,
    /// How often the records and the copies under way refer to which file.
    pub(crate) references: BTreeMap<FileId, u32>,
    /// When which upload expires, as the records have it.
    pub(crate) expiry: BTreeSet<(u64, UploadId)>,
    /// Whose records can't be read. What such a record refers to is not known.
    pub(crate) damaged: BTreeSet<UploadId>,
    /// Which uploads can be put into one file.
    fragmented: BTreeSet<UploadId>,
    parts: Parts,
    /// Whose bytes lie in the records, as the records have it.
    pub(crate) inline: BTreeSet<FileId>,
    /// Extents that are not there as they should be.
    short: Vec<Finding>,
}

/// What the tables say beside the records.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) counts: BTreeMap<FileId, u32>,
    pub(crate) pending_unlink: BTreeSet<FileId>,
    pub(crate) inline: BTreeSet<FileId>,
    /// When which upload expires.
    pub(crate) expiry: BTreeSet<(u64, UploadId)>,
    /// Until when which expired upload is remembered, by the one index and by the other.
    pub(crate) tombstones: BTreeSet<(u64, UploadId)>,
    pub(crate) lapses: BTreeSet<(u64, UploadId)>,
    /// Which uploads are to be put into one file.
    fragmented: BTreeMap<UploadId, Option<CopyProgress>>,
    damaged_events: Vec<u64>,
    /// Of each upload the first event that can be read, by when it is due; and what the index has.
    first_events: BTreeMap<UploadId, (u64, u64)>,
    due_events: BTreeMap<UploadId, (u64, u64)>,
    /// Which part is named by which pending final.
    waiting: BTreeSet<(UploadId, UploadId)>,
}

/// What the records say of parts and pending finals.
#[derive(Default)]
struct Parts {
    /// Whether a part is finished, and whether it expires.
    parts: BTreeMap<UploadId, (bool, bool)>,
    /// Whether a pending final has what it needs of a part.
    wanted: BTreeMap<(UploadId, UploadId), bool>,
}

impl Parts {
    fn note(&mut self, id: &UploadId, row: &Row) {
        if row.kind == Kind::Partial {
            self.parts.insert(id.clone(), (row.is_complete(), row.expires.is_some()));
        }
        for part in row.pending().into_iter().flat_map(|pending| &pending.parts) {
            let there = matches!(part.bytes, Bytes::There(_));
            self.wanted.insert((part.id.clone(), id.clone()), there);
        }
    }

    fn check(&self, waiting: &BTreeSet<(UploadId, UploadId)>) -> Vec<Finding> {
        let pairs: BTreeSet<_> = self.wanted.keys().chain(waiting).collect();
        let wrong = pairs.into_iter().filter(|pair| {
            let state = (self.wanted.get(*pair), waiting.contains(*pair), self.parts.get(&pair.0));
            let right = match state {
                (Some(false), indexed, Some((finished, _))) => indexed && !finished,
                (Some(true), true, Some((finished, expires))) => *finished && !expires,
                // The final has what it needs, and the part may be gone.
                (Some(true), false, _) => true,
                _ => false,
            };
            !right
        });
        wrong.map(|(part, id)| Finding::WrongWaiting { part: part.clone(), id: id.clone() }).collect()
    }
}

impl Store {
    /// Compares all records with all data files, for a process that alone has the store open. The file of the
    /// records is checked when it is opened: see [`Options::check`](crate::Options::check). Files whose end was noted
    /// and that are not removed yet are no finding. Takes time and memory in proportion to their number.
    pub fn verify(&self) -> Result<Vec<Finding>, Failure> {
        self.verify_watched(&mut |_| {})
    }

    /// The same, which tells now and then how many uploads it has looked at.
    pub fn verify_watched(&self, progress: &mut dyn FnMut(u64)) -> Result<Vec<Finding>, Failure> {
        self.try_verify(progress).map_err(|trouble| self.staging.note(trouble))
    }

    pub(crate) fn try_verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Vec<Finding>, Error> {
        let audit = self.audit(progress)?;
        let mut findings = audit.findings();
        findings.extend(self.check_files(&audit));
        let stray_bytes = self.stray_bytes(&audit).into_iter();
        findings.extend(stray_bytes.map(|file| Finding::StrayBytes { path: self.disk.locate(&file.path()) }));
        findings.extend(
            self.strays(&audit)?.into_iter().map(|path| Finding::Stray { path: self.disk.locate(&path) }),
        );
        Ok(findings)
    }

    /// Reads all records and all tables.
    pub(crate) fn audit(&self, progress: &mut dyn FnMut(u64)) -> Result<Audit, Error> {
        const PAGE: usize = 1024;
        let mut audit = Audit { books: self.books()?, ..Audit::default() };
        let (mut after, mut seen) = (None, 0);
        loop {
            let rows = self.rows(after.as_ref(), PAGE)?;
            seen += rows.len() as u64;
            progress(seen);
            let last_page = rows.len() < PAGE;
            for (id, row) in rows {
                match row {
                    None => drop(audit.damaged.insert(id.clone())),
                    Some(row) => {
                        audit.expiry.extend(row.expires.map(|at| (at.as_micros(), id.clone())));
                        audit.parts.note(&id, &row);
                        for extent in row.references() {
                            self.note_reference(&mut audit, &id, extent)?;
                        }
                        let mut extents = row.extents.iter();
                        let is_inline = extents.any(|extent| audit.inline.contains(&extent.file));
                        if is_fragmented(&row) || (row.is_complete() && is_inline) {
                            audit.fragmented.insert(id.clone());
                        }
                    }
                }
                after = Some(id);
            }
            if last_page {
                break;
            }
        }
        let copies: Vec<_> =
            audit.books.fragmented.iter().filter_map(|(id, copy)| Some((id.clone(), (*copy)?))).collect();
        for (id, CopyProgress { file, copied }) in copies {
            self.note_reference(&mut audit, &id, Extent { file, len: copied })?;
        }
        Ok(audit)
    }

    fn note_reference(&self, audit: &mut Audit, id: &UploadId, extent: Extent) -> Result<(), Error> {
        *audit.references.entry(extent.file).or_default() += 1;
        let stored = self.extent(extent)?;
        if stored.in_records {
            audit.inline.insert(extent.file);
        }
        audit.short.extend(check_extent(id, stored));
        Ok(())
    }

    fn books(&self) -> Result<Books, Error> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer).map_err(|_| Error::damaged("records closed"))?;
        let txn = database.begin_read()?;
        let mut books = Books::default();
        for entry in txn.open_table(FILES)?.iter()? {
            let (file, count) = entry?;
            books.counts.insert(FileId(file.value()), count.value());
        }
        for entry in txn.open_table(PENDING_UNLINK)?.iter()? {
            books.pending_unlink.insert(FileId(entry?.0.value()));
        }
        for entry in txn.open_table(INLINE)?.iter()? {
            books.inline.insert(FileId(entry?.0.value()));
        }
        // What lies in files now is kept until it does so durably.
        books.inline.retain(|file| !writer.spilled.contains(file));
        for entry in txn.open_table(EXPIRY)?.iter()? {
            let (key, _) = entry?;
            let (at, id) = key.value();
            books.expiry.insert((at, id_in_index(id)?));
        }
        for entry in txn.open_table(TOMBSTONES)?.iter()? {
            let (id, until) = entry?;
            books.tombstones.insert((until.value(), id_in_index(id.value())?));
        }
        for entry in txn.open_table(LAPSES)?.iter()? {
            let (key, _) = entry?;
            let (until, id) = key.value();
            books.lapses.insert((until, id_in_index(id)?));
        }
        for entry in txn.open_table(WAITING)?.iter()? {
            let (key, _) = entry?;
            let (part, id) = key.value();
            books.waiting.insert((id_in_index(part)?, id_in_index(id)?));
        }
        for entry in txn.open_table(FRAGMENTED)?.iter()? {
            let (id, progress) = entry?;
            let id = id_in_index(id.value())?;
            books.fragmented.insert(id, progress.value().map(CopyProgress::from));
        }
        let last_event = database::last_event_seen(&txn)?;
        for entry in txn.open_table(EVENTS)?.iter()? {
            let (key, bytes) = entry?;
            let (id, number) = key.value();
            match event_codec::check(number, bytes.value()).filter(|_| number <= last_event) {
                Some(due) => drop(books.first_events.entry(id_in_index(id)?).or_insert((due, number))),
                None => books.damaged_events.push(number),
            }
        }
        for entry in txn.open_table(DUE_EVENTS)?.iter()? {
            let (key, id) = entry?;
            books.due_events.insert(id_in_index(id.value())?, key.value());
        }
        Ok(books)
    }

    fn check_files(&self, Audit { books, references, .. }: &Audit) -> Vec<Finding> {
        let files: BTreeSet<_> = books.counts.keys().chain(references.keys()).collect();
        let wrong = files.into_iter().filter_map(|file| {
            let counted = books.counts.get(file).copied();
            let references = references.get(file).copied().unwrap_or_default();
            let path = self.disk.locate(&file.path());
            (counted != Some(references)).then_some(Finding::WrongCount { path, counted, references })
        });
        let condemned = books.pending_unlink.iter().filter(|file| references.contains_key(file));
        wrong
            .chain(condemned.map(|file| Finding::PendingUnlink { path: self.disk.locate(&file.path()) }))
            .collect()
    }

    /// The files of which bytes lie in the records that are nobody's.
    pub(crate) fn stray_bytes(&self, audit: &Audit) -> Vec<FileId> {
        let nobodys = audit.books.inline.difference(&audit.inline);
        nobodys.filter(|file| !audit.books.pending_unlink.contains(*file)).copied().collect()
    }

    /// What is nobody's, as paths on the disk.
    pub(crate) fn strays(&self, Audit { books, references, .. }: &Audit) -> io::Result<Vec<String>> {
        let mut strays = Vec::new();
        for dir in self.disk.list(DATA)? {
            let dir = format!("{DATA}/{dir}");
            let names = match self.disk.list(&dir) {
                // It is none, or its name is no text.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) =>
                {
                    strays.push(dir);
                    continue;
                }
                // What can't be read now is no reason to move what may be in use.
                names => names?,
            };
            for name in names {
                let path = format!("{dir}/{name}");
                let known = FileId::from_path(&path).is_some_and(|file| {
                    books.counts.contains_key(&file)
                        || books.pending_unlink.contains(&file)
                        || references.contains_key(&file)
                });
                if !known {
                    strays.push(path);
                }
            }
        }
        Ok(strays)
    }
}

impl Audit {
    /// What the tables tell without a look at the files beyond their lengths.
    fn findings(&self) -> Vec<Finding> {
        let books = &self.books;
        let mut findings: Vec<_> =
            self.damaged.iter().map(|id| Finding::DamagedRecord { id: id.clone() }).collect();
        findings.extend(self.short.iter().cloned());
        let not_scattered = books.fragmented.keys().filter(|id| !self.fragmented.contains(*id));
        findings.extend(not_scattered.map(|id| Finding::NotScattered { id: id.clone() }));
        // When an unreadable record expires can't be told.
        let wrong = differing(&books.expiry, &self.expiry).filter(|id| !self.damaged.contains(id));
        findings.extend(wrong.map(|id| Finding::WrongExpiry { id }));
        let wrong = differing(&books.tombstones, &books.lapses);
        findings.extend(wrong.map(|id| Finding::WrongTombstone { id }));
        findings.extend(books.damaged_events.iter().map(|&number| Finding::DamagedEvent { number }));
        let ids: BTreeSet<_> = books.first_events.keys().chain(books.due_events.keys()).collect();
        let wrong = ids.into_iter().filter(|id| books.first_events.get(*id) != books.due_events.get(*id));
        findings.extend(wrong.map(|id| Finding::WrongDueEvent { id: id.clone() }));
        findings.extend(self.parts.check(&books.waiting));
        findings
    }
}

/// The ids of what stands in one index only, each once.
pub(crate) fn differing(
    one: &BTreeSet<(u64, UploadId)>,
    other: &BTreeSet<(u64, UploadId)>,
) -> impl Iterator<Item = UploadId> {
    let ids: BTreeSet<_> = one.symmetric_difference(other).map(|(_, id)| id.clone()).collect();
    ids.into_iter()
}

fn id_in_index(id: &str) -> Result<UploadId, Error> {
    UploadId::new(id).ok_or_else(|| Error::damaged("an upload's id in an index"))
}

fn check_extent(id: &UploadId, extent: ExtentFile) -> Option<Finding> {
    let ExtentFile { path, committed, file_len, in_records } = extent;
    match file_len {
        None if in_records => None,
        None if committed > 0 => Some(Finding::MissingFile { id: id.clone(), path }),
        Some(there) if there < committed => {
            Some(Finding::ShortFile { id: id.clone(), path, committed, there })
        }
        _ => None,
    }
}
