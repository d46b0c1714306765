//! Mending what a check has found.
//!
//! Two rules. Where the records are right, the other tables are written anew from them. Where a record promises
//! more than is there, it is cut back to what is, so that its client can send the rest: its readers must not take
//! it for complete. What has no right answer is left as it is, for the operator.
//!
//! No byte is destroyed. Files that nothing refers to are moved to a directory of their own; and nothing is moved
//! while there is a record that can't be read, as it may refer to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::ReadableTable;
use tus_proto::{Failure, UploadId};

use crate::{
    admin::{
        finding::Finding,
        remedy::{Remedy, Repair},
        verify::Audit,
    },
    disk::{DATA, Disk, Mode, accept, os::OsDisk, write_all},
    error::{Error, OpenError},
    files::file_id::Extent,
    log::{HALVES, journal::JOURNAL, read::Salvaged},
    mutex::lock,
    options::Options,
    records::{
        copy::CopyProgress,
        database::{self, FRAGMENTED},
        record::Row,
    },
    store::Store,
    tables::{Keeps, Tables},
};

/// Where files go that nothing refers to.
const ASIDE: &str = "aside";

impl Store {
    /// Opens a store that is there, to repair it. Of a log that does not continue the records, or is damaged, with which it
    /// can't be opened otherwise, all groups before the first one that is missing are kept: the rest is lost. A copy of it
    /// is set aside first.
    pub fn open_for_repair(dir: &Path, options: &Options) -> Result<(Self, Option<Repair>), OpenError> {
        match Self::open_existing(dir, options) {
            Err(OpenError::ForeignJournal { .. }) => {}
            other => return other.map(|store| (store, None)),
        }
        let disk = OsDisk::new(dir).with_modes(options.file_mode, options.dir_mode);
        Self::salvage_on(Arc::new(disk), options)
    }

    /// Opens a store whose log is damaged.
    pub(crate) fn salvage_on(
        disk: Arc<dyn Disk>,
        options: &Options,
    ) -> Result<(Self, Option<Repair>), OpenError> {
        let copied = {
            let copy = || {
                let _lock = disk.lock(false)?;
                copy_log(&*disk)
            };
            copy().map_err(|source| OpenError::Io { dir: disk.locate(""), source })?
        };
        let (store, salvaged) = Self::open_salvaging(disk.clone(), options)?;
        let path = disk.locate(&copied);
        let remedy = salvaged.map(|Salvaged { kept, from, to }| Remedy::Salvaged { kept, from, to, path });
        let finding = Finding::ForeignJournal { path: disk.locate(HALVES[0]) };
        Ok((store, Some(Repair { finding, remedy })))
    }

    /// Mends what [`Self::verify`] finds, as far as that has one right answer, for a process that alone has the store open.
    /// Returns each finding and what was done about it. A crash at any moment leaves a store that can be repaired again.
    pub fn repair(&self) -> Result<Vec<Repair>, Failure> {
        self.try_repair().map_err(|trouble| self.staging.note(trouble))
    }

    fn try_repair(&self) -> Result<Vec<Repair>, Error> {
        let findings = self.try_verify(&mut |_| {})?;
        if findings.is_empty() {
            return Ok(Vec::new());
        }
        self.flush().map_err(|_| Error::damaged("the records can't be flushed"))?;
        let audit = self.audit(&mut |_| {})?;
        self.mend_records(&audit, &findings)?;
        let mut moved = BTreeMap::new();
        if audit.damaged.is_empty() {
            moved.extend(self.move_strays()?);
            moved.extend(self.move_stray_bytes()?);
        }
        let left: BTreeSet<_> = self.try_verify(&mut |_| {})?.iter().map(Finding::to_string).collect();
        let mut repairs = Vec::new();
        for finding in findings {
            let remedy = match left.contains(&finding.to_string()) {
                true => None,
                false => Some(self.remedy(&finding, &moved)?),
            };
            repairs.push(Repair { finding, remedy });
        }
        Ok(repairs)
    }

    /// What was done about a finding that is none any more.
    fn remedy(&self, finding: &Finding, moved: &BTreeMap<PathBuf, PathBuf>) -> Result<Remedy, Error> {
        let set_aside = |path| moved.get(path).map(|path| Remedy::SetAside { path: path.clone() });
        Ok(match finding {
            Finding::ShortFile { id, path, .. } | Finding::MissingFile { id, path } => {
                match lock(&self.live).row(id)? {
                    // Of a final, or of the copy of one, nothing was taken away: it waits for its bytes again.
                    Some(row) if !row.is_complete() && self.stands_on(&row, path) => {
                        Remedy::CutBack { offset: row.offset() }
                    }
                    _ => Remedy::Corrected,
                }
            }
            Finding::Stray { path } | Finding::WrongCount { path, .. } => {
                set_aside(path).unwrap_or(Remedy::Corrected)
            }
            Finding::StrayBytes { path } => set_aside(&in_records(path)).unwrap_or(Remedy::Corrected),
            Finding::DamagedEvent { .. } | Finding::NotScattered { .. } => Remedy::Removed,
            _ => Remedy::Corrected,
        })
    }

    fn stands_on(&self, row: &Row, path: &Path) -> bool {
        row.extents.iter().any(|extent| self.disk.locate(&extent.file.path()) == path)
    }

    /// Everything that is not a file, in one transaction.
    fn mend_records(&self, audit: &Audit, findings: &[Finding]) -> Result<(), Error> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer).map_err(|_| Error::damaged("records closed"))?;
        let txn = database::begin_durable(&database)?;
        let mut tables = Tables::open(&txn, Keeps::default())?;
        // First the books: what follows keeps them right, where they are.
        tables.correct_counts(audit)?;
        tables.correct_expiry(audit)?;
        tables.correct_tombstones(audit)?;
        for finding in findings {
            if let Finding::NotScattered { id } = finding {
                tables.cancel_copy(id)?;
            }
        }
        if findings
            .iter()
            .any(|finding| matches!(finding, Finding::DamagedEvent { .. } | Finding::WrongDueEvent { .. }))
        {
            let number_of = |finding: &Finding| match finding {
                Finding::DamagedEvent { number } => Some(*number),
                _ => None,
            };
            tables.correct_events(&findings.iter().filter_map(number_of).collect())?;
        }
        let short: BTreeSet<_> = findings.iter().filter_map(short_upload).collect();
        // Parts before the finals that are made of them.
        for finals in [false, true] {
            for id in &short {
                self.cut_back(&mut tables, id, finals)?;
            }
        }
        for finding in findings {
            if let Finding::WrongWaiting { part, id } = finding {
                tables.bring_in_step(part, id)?;
            }
        }
        tables.retract(0)?;
        // Whose last reference went is nobody's now: it is moved, not removed.
        for file in std::mem::take(&mut tables.effects.pending_unlink) {
            tables.pending_unlink()?.remove(file.0)?;
        }
        drop(tables);
        txn.commit()?;
        drop(database);
        self.renew_view();
        Ok(())
    }

    /// Ends an upload where its bytes do.
    fn cut_back(&self, tables: &mut Tables<'_>, id: &UploadId, finals: bool) -> Result<(), Error> {
        let Some(row) = tables.row_of_another(id)?.filter(|row| row.is_final() == finals) else {
            return Ok(());
        };
        let copy = tables.txn.open_table(FRAGMENTED)?.get(id.as_str())?.and_then(|entry| entry.value());
        if let Some(CopyProgress { file, copied }) = copy.map(CopyProgress::from)
            && self.shortage(Extent { file, len: copied })?.is_some()
        {
            tables.txn.open_table(FRAGMENTED)?.insert(id.as_str(), None)?;
            tables.release(file)?;
        }
        if finals {
            let mut short = BTreeSet::new();
            for extent in row.references() {
                short.extend(self.shortage(extent)?.map(|_| extent.file));
            }
            return if short.is_empty() { Ok(()) } else { tables.await_again(id, row, &short) };
        }
        for extent in row.extents.clone() {
            if let Some(there) = self.shortage(extent)? {
                return tables.fall_back(id, row, extent.file, there);
            }
        }
        Ok(())
    }

    /// How many bytes of an extent are there, if some are missing.
    fn shortage(&self, extent: Extent) -> Result<Option<u64>, Error> {
        let in_records = lock(&self.live).inline_len(extent.file)?;
        let there = self.extent(extent)?.file_len.unwrap_or(0).max(in_records);
        Ok((there < extent.len).then_some(there))
    }

    /// Moves what is nobody's; tells from where to where.
    fn move_strays(&self) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
        let mut moved = BTreeMap::new();
        let mut dirs = BTreeSet::from([DATA.to_owned()]);
        for path in self.strays(&self.audit(&mut |_| {})?)? {
            match set_aside(&*self.disk, &path) {
                // A name that is no text can't be named here: it stays a finding.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                to => drop(moved.insert(self.disk.locate(&path), self.disk.locate(&to?))),
            }
            dirs.extend(path.rsplit_once('/').map(|(dir, _)| dir.to_owned()));
        }
        for dir in dirs {
            self.disk.sync_dir(&dir)?;
        }
        Ok(moved)
    }

    /// The same for bytes in the records: they become a file there.
    fn move_stray_bytes(&self) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
        let mut moved = BTreeMap::new();
        let strays = self.stray_bytes(&self.audit(&mut |_| {})?);
        if strays.is_empty() {
            return Ok(moved);
        }
        for &file in &strays {
            let len = lock(&self.live).inline_len(file)?;
            let Some(bytes) = lock(&self.live).inline(Extent { file, len })? else { continue };
            let to = free_place(&*self.disk, &format!("{}.records", file.path()))?;
            let aside = self.disk.open(&to, Mode::Create)?;
            write_all(&*aside, &bytes, 0).map_err(|(_, error)| error)?;
            aside.sync_data()?;
            self.disk.sync_dir(ASIDE)?;
            moved.insert(in_records(&self.disk.locate(&file.path())), self.disk.locate(&to));
        }
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer).map_err(|_| Error::damaged("records closed"))?;
        let txn = database::begin_durable(&database)?;
        let mut tables = Tables::open(&txn, Keeps::default())?;
        tables.drop_inline(strays)?;
        drop(tables);
        txn.commit()?;
        self.renew_view();
        Ok(moved)
    }
}

/// How bytes in the records are told from those in the file.
fn in_records(path: &Path) -> PathBuf {
    path.with_added_extension("records")
}

fn short_upload(finding: &Finding) -> Option<&UploadId> {
    match finding {
        Finding::ShortFile { id, .. } | Finding::MissingFile { id, .. } => Some(id),
        _ => None,
    }
}

/// Moves a file or directory to where it is in nobody's way, under a name that tells where it was. Durable there; its
/// old name goes with the next sync of its directory.
fn set_aside(disk: &dyn Disk, path: &str) -> io::Result<String> {
    let to = free_place(disk, path)?;
    disk.rename(path, &to)?;
    disk.sync_dir(ASIDE)?;
    Ok(to)
}

/// Copies the log to where it is in nobody's way, durably; tells where the first copy is.
fn copy_log(disk: &dyn Disk) -> io::Result<String> {
    let mut first = None;
    // A store of an earlier format has a journal in its place.
    for name in HALVES.into_iter().chain([JOURNAL]) {
        let from = match disk.open(name, Mode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let path = free_place(disk, name)?;
        let to = disk.open(&path, Mode::Create)?;
        let (len, mut at) = (from.len()?, 0);
        while at < len {
            match to.copy_from(&*from, at, at, len - at)? {
                0 => break,
                n => at += n,
            }
        }
        to.sync_data()?;
        first.get_or_insert(path);
    }
    disk.sync_dir(ASIDE)?;
    first.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Where something that was at `path` is in nobody's way.
fn free_place(disk: &dyn Disk, path: &str) -> io::Result<String> {
    accept(disk.create_dir(ASIDE), io::ErrorKind::AlreadyExists)?;
    // Its own name first: what is moved there must not go with it.
    disk.sync_dir("")?;
    let taken = disk.list(ASIDE)?;
    let name = path.replace('/', "-");
    let numbered = (2..).map(|n| format!("{name}.{n}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
    Ok(format!("{ASIDE}/{}", free.unwrap_or(name)))
}
