//! Checking records against data files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::PathBuf,
};

use redb::{ReadableDatabase, ReadableTable};
use tus_proto::{Failure, UploadId};

use crate::{
    database::{self, DOOMED, EXPIRY, FILES, OUTBOX, SCATTERED, WAITING},
    error::Trouble,
    files::{DATA, FileId},
    materialize::{Progress, is_scattered},
    outbox,
    record::{Bytes, Kind, Piece, Row},
    store::{Store, lock},
};

/// Something that is not as it should be. Its text is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A record can't be read.
    DamagedRecord {
        /// Whose.
        id: UploadId,
    },
    /// A data file with committed bytes is not there.
    MissingFile {
        /// Whose.
        id: UploadId,
        /// The file.
        path: PathBuf,
    },
    /// Committed bytes are missing at the end of a data file.
    ShortFile {
        /// Whose.
        id: UploadId,
        /// The file.
        path: PathBuf,
        /// How many bytes are committed.
        committed: u64,
        /// How many are there.
        there: u64,
    },
    /// A data file's number of references is wrong, so it is removed too early or never.
    WrongCount {
        /// The file.
        path: PathBuf,
        /// The number in the books; none where the file is not in them.
        counted: Option<u32>,
        /// How many extents refer to it.
        references: u32,
    },
    /// The index of times knows another time than the record, or has an entry of nobody: the upload is removed
    /// too early, or never.
    WrongExpiry {
        /// Whose.
        id: UploadId,
    },
    /// An upload is noted as one that is to be put into one file, and is not there, not complete or in one already.
    NotScattered {
        /// Whose.
        id: UploadId,
    },
    /// An event can't be read, or has a number that was not given yet.
    DamagedEvent {
        /// Its number.
        number: u64,
    },
    /// A part and a pending final do not know of each other, or are not in step: the final is completed wrongly, or
    /// never.
    WrongWaiting {
        /// The part.
        part: UploadId,
        /// The final.
        id: UploadId,
    },
    /// A file or directory among the data files is nobody's.
    Stray {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedRecord { id } => write!(f, "the record of upload {id} is damaged"),
            Self::MissingFile { id, path } => {
                write!(f, "upload {id} has committed bytes in {}, which is missing", path.display())
            }
            Self::ShortFile { id, path, committed, there } => write!(
                f,
                "upload {id} has {committed} bytes committed in {}, which has only {there}",
                path.display()
            ),
            Self::WrongCount { path, counted: Some(counted), references } => write!(
                f,
                "{} is counted as used {counted} times, and is used {references} times",
                path.display()
            ),
            Self::WrongCount { path, counted: None, references } => {
                write!(f, "{} is used {references} times, and is not in the books", path.display())
            }
            Self::WrongExpiry { id } => {
                write!(f, "upload {id} expires at another time than the index of times has it")
            }
            Self::NotScattered { id } => {
                write!(f, "upload {id} is to be put into one file, and can't be")
            }
            Self::DamagedEvent { number } => write!(f, "event {number} is damaged"),
            Self::WrongWaiting { part, id } => {
                write!(f, "final upload {id} and its part {part} are not in step")
            }
            Self::Stray { path } => write!(f, "{} belongs to no upload", path.display()),
        }
    }
}

/// What the tables say beside the records.
#[derive(Default)]
struct Books {
    counts: BTreeMap<FileId, u32>,
    doomed: BTreeSet<FileId>,
    /// When which upload expires.
    expiry: BTreeSet<(u64, UploadId)>,
    /// Which uploads are to be put into one file.
    scattered: BTreeMap<UploadId, Option<Progress>>,
    damaged_events: Vec<u64>,
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
    /// Compares all records with all data files, for who is alone with the store. Files whose end was noted
    /// and that are not removed yet are no finding. Takes time and memory in proportion to their number.
    pub fn verify(&self) -> Result<Vec<Finding>, Failure> {
        self.try_verify().map_err(|trouble| self.staging.note(trouble))
    }

    fn try_verify(&self) -> Result<Vec<Finding>, Trouble> {
        const PAGE: usize = 1024;
        let mut findings = Vec::new();
        let mut references = BTreeMap::<FileId, u32>::new();
        let mut expiry = BTreeSet::new();
        let mut parts = Parts::default();
        let mut scattered = BTreeSet::new();
        let mut after = None;
        loop {
            let rows = self.rows(after.as_ref(), PAGE)?;
            let last_page = rows.len() < PAGE;
            for (id, row) in rows {
                match row {
                    None => findings.push(Finding::DamagedRecord { id: id.clone() }),
                    Some(row) => {
                        if is_scattered(&row) {
                            scattered.insert(id.clone());
                        }
                        expiry.extend(row.expires.map(|at| (at.as_micros(), id.clone())));
                        parts.note(&id, &row);
                        for piece in row.references() {
                            *references.entry(piece.file).or_default() += 1;
                            let extent = self.extent(piece)?;
                            findings.extend(check_extent(&id, extent));
                        }
                    }
                }
                after = Some(id);
            }
            if last_page {
                break;
            }
        }
        let books = self.books()?;
        for (id, progress) in &books.scattered {
            if let Some(Progress { file, copied }) = *progress {
                *references.entry(file).or_default() += 1;
                findings.extend(check_extent(id, self.extent(Piece { file, len: copied })?));
            }
            if !scattered.contains(id) {
                findings.push(Finding::NotScattered { id: id.clone() });
            }
        }
        let wrong: BTreeSet<_> =
            books.expiry.symmetric_difference(&expiry).map(|(_, id)| id.clone()).collect();
        findings.extend(wrong.into_iter().map(|id| Finding::WrongExpiry { id }));
        findings.extend(books.damaged_events.iter().map(|&number| Finding::DamagedEvent { number }));
        findings.extend(parts.check(&books.waiting));
        findings.extend(self.check_counts(&books, &references));
        self.find_strays(&books, &references, &mut findings)?;
        Ok(findings)
    }

    fn books(&self) -> Result<Books, Trouble> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer).map_err(|_| Trouble::damaged("records closed"))?;
        let txn = database.begin_read()?;
        let mut books = Books::default();
        for entry in txn.open_table(FILES)?.iter()? {
            let (file, count) = entry?;
            books.counts.insert(FileId(file.value()), count.value());
        }
        for entry in txn.open_table(DOOMED)?.iter()? {
            books.doomed.insert(FileId(entry?.0.value()));
        }
        for entry in txn.open_table(EXPIRY)?.iter()? {
            let (key, _) = entry?;
            let (at, id) = key.value();
            books.expiry.insert((at, id_in_index(id)?));
        }
        for entry in txn.open_table(WAITING)?.iter()? {
            let (key, _) = entry?;
            let (part, id) = key.value();
            books.waiting.insert((id_in_index(part)?, id_in_index(id)?));
        }
        for entry in txn.open_table(SCATTERED)?.iter()? {
            let (id, progress) = entry?;
            let id = UploadId::new(id.value()).ok_or_else(|| Trouble::damaged("an upload's id"))?;
            books.scattered.insert(id, progress.value().map(Progress::from));
        }
        let last_event = database::last_event_seen(&txn)?;
        for entry in txn.open_table(OUTBOX)?.iter()? {
            let (number, bytes) = entry?;
            let number = number.value();
            if number > last_event || outbox::decode(number, bytes.value()).is_none() {
                books.damaged_events.push(number);
            }
        }
        Ok(books)
    }

    fn check_counts(&self, books: &Books, references: &BTreeMap<FileId, u32>) -> Vec<Finding> {
        let files: BTreeSet<_> = books.counts.keys().chain(references.keys()).collect();
        let wrong = files.into_iter().filter_map(|file| {
            let counted = books.counts.get(file).copied();
            let references = references.get(file).copied().unwrap_or_default();
            let path = self.disk.locate(&file.path());
            (counted != Some(references)).then_some(Finding::WrongCount { path, counted, references })
        });
        wrong.collect()
    }

    fn find_strays(
        &self,
        books: &Books,
        references: &BTreeMap<FileId, u32>,
        findings: &mut Vec<Finding>,
    ) -> io::Result<()> {
        for dir in self.disk.list(DATA)? {
            let dir = format!("{DATA}/{dir}");
            let Ok(names) = self.disk.list(&dir) else {
                findings.push(Finding::Stray { path: self.disk.locate(&dir) });
                continue;
            };
            for name in names {
                let path = format!("{dir}/{name}");
                let known = FileId::from_path(&path).is_some_and(|file| {
                    books.counts.contains_key(&file)
                        || books.doomed.contains(&file)
                        || references.contains_key(&file)
                });
                if !known {
                    findings.push(Finding::Stray { path: self.disk.locate(&path) });
                }
            }
        }
        Ok(())
    }
}

fn id_in_index(id: &str) -> Result<UploadId, Trouble> {
    UploadId::new(id).ok_or_else(|| Trouble::damaged("an upload's id in an index"))
}

fn check_extent(id: &UploadId, extent: crate::Extent) -> Option<Finding> {
    let crate::Extent { path, committed, file_len } = extent;
    match file_len {
        None if committed > 0 => Some(Finding::MissingFile { id: id.clone(), path }),
        Some(there) if there < committed => {
            Some(Finding::ShortFile { id: id.clone(), path, committed, there })
        }
        _ => None,
    }
}
