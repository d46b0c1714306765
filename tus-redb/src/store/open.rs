//! Opening: the directory is locked, the records are found or made, what the log adds to them is made
//! durable, and the opening is counted. Nothing of it takes longer with more uploads,
//! but the first opening of a store that an older version has made.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use redb::{ReadableDatabase, ReadableTable};
use tus_proto::{Failure, Fence};

use crate::{
    disk::{DATA, Disk, Mode, accept, os::OsDisk},
    error::{Error, OpenError},
    files::{
        directory::Files,
        failed_syncs::FailedSyncs,
        inline::{self, Limits},
        reserve::Reserve,
        staging::Staging,
    },
    log::{
        journal::JOURNAL,
        read::{Salvaged, read_log},
        write::Log,
    },
    mutex::lock,
    options::{Durability, Options},
    records::{backend::RecordsFile, database, record::Row, view::ReadView},
    store::{
        Store, Writer,
        open_error::{Fault, Unopened},
        orphans,
        progress::Compaction,
    },
    tables::migration,
};

/// redb's file.
const RECORDS: &str = "records.redb";
/// The same while it is being made.
const NEW_RECORDS: &str = "records.redb.new";

impl Store {
    /// Opens the store in the directory `dir`, and makes what is missing of it.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(OsDisk::new(dir).with_modes(options.file_mode, options.dir_mode)), options)
    }

    /// Opens a store that is there, for looking into it while no server runs. Where there is none, nothing
    /// is made.
    pub fn open_existing(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let disk = OsDisk::new(dir).with_modes(options.file_mode, options.dir_mode);
        open(Arc::new(disk), options, false, false).map(|(store, _)| store)
    }

    /// The same of a store whose log is damaged: the groups up to the first one that is missing are kept.
    pub(crate) fn open_salvaging(
        disk: Arc<dyn Disk>,
        options: &Options,
    ) -> Result<(Self, Option<Salvaged>), OpenError> {
        open(disk, options, false, true)
    }

    /// [`Self::open`] on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: &Options) -> Result<Self, OpenError> {
        open(disk, options, true, false).map(|(store, _)| store)
    }
}

/// With `create` what is missing is made. With `salvage` a damaged log is opened as far as it goes; what came of it is
/// returned.
fn open(
    disk: Arc<dyn Disk>,
    options: &Options,
    create: bool,
    salvage: bool,
) -> Result<(Store, Option<Salvaged>), OpenError> {
    let fault = Fault(&*disk);
    if !create {
        match disk.open(RECORDS, Mode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(fault.missing()),
            other => other.map_err(|error| fault.io(error))?,
        };
    }
    let directory_lock = disk.lock(create).map_err(|error| fault.io(error))?;
    let boot = match options.durability {
        Durability::Strict => String::new(),
        Durability::Eventual => disk.boot_id().map_err(|source| OpenError::NoBootId { source })?,
    };
    let reserve = Reserve::open(&disk, options.reserve_bytes).map_err(|error| fault.io(error))?;
    let (full, reserve) = (!reserve.is_set_aside(), Arc::new(reserve));
    accept(disk.create_dir(DATA), io::ErrorKind::AlreadyExists).map_err(|error| fault.io(error))?;
    let file = match disk.open(RECORDS, Mode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_records(&*disk, &reserve, options).map_err(|error| fault.database(error))?;
            disk.open(RECORDS, Mode::Existing)
        }
        other => other,
    };
    let records = Arc::new(RecordsFile::new(file.map_err(|error| fault.io(error))?, reserve.clone()));
    let database = database::open(&records, options).map_err(|error| fault.redb(error))?;

    let Last { epoch, event: last_event, time } =
        next_epoch(&disk, &database, salvage).map_err(|error| fault.database(error))?;
    let lost = FailedSyncs::read(&*disk).map_err(|error| fault.io(error))?;
    let mut writer = Writer::default();
    let replayed = match salvage {
        true => writer.salvage(&*disk, &database).map(|salvaged| (salvaged.kept > 0, Some(salvaged))),
        false => writer.replay(&*disk, &database).map(|replayed| (replayed, None)),
    };
    let (replayed, salvaged) = replayed.map_err(|error| fault.database(error.into()))?;
    let epoch = above_all_numbers(&database, epoch).map_err(|error| fault.database(error))?;
    let staging = Staging::new(Files::new(disk.clone(), epoch), reserve, options);
    let store = Store {
        disk: disk.clone(),
        events: Mutex::new(options.events),
        options: options.clone(),
        first_fence: Fence(u64::from(epoch) << 32),
        records,
        staging: Arc::new(staging),
        writer: Mutex::new(writer),
        inline_limits: Limits::new(options),
        live: Arc::new(Mutex::new(ReadView::new(database))),
        flushing: Mutex::default(),
        snapshots: RwLock::default(),
        lost: Mutex::new(lost),
        unflushed: AtomicBool::new(replayed),
        checkpointing: AtomicBool::new(false),
        log_len: AtomicU64::new(0),
        log_steps: AtomicUsize::new(0),
        settled: AtomicU64::new(last_event),
        losses: AtomicU64::new(0),
        finals_finished: AtomicU64::new(0),
        now: AtomicU64::new(time),
        time: AtomicU64::new(time),
        noted_time: AtomicU64::new(time),
        // What the last opening left to do.
        fragmented: AtomicBool::new(options.consolidate),
        undigested: AtomicBool::new(options.digests),
        digesting: Mutex::default(),
        compaction: Mutex::new(Compaction::of_opening(full)),
        compacting: AtomicBool::new(false),
        reclaimed_to: Mutex::default(),
        swept_to: Mutex::default(),
        last_task: Mutex::default(),
        backoffs: Mutex::default(),
        _directory_lock: directory_lock,
    };
    match store.settle(boot) {
        Ok(()) => Ok((store, salvaged)),
        Err(failure) => {
            let error = fault.failure(failure, store.trouble());
            store.abandon();
            Err(error)
        }
    }
}

/// The number of an opening whose ids and fencing numbers are above all in the records, those of the log among them.
fn above_all_numbers(database: &redb::Database, epoch: u32) -> Result<u32, Unopened> {
    let txn = database.begin_read().map_err(Error::from)?;
    let mut last = database::last_block(&txn)?;
    if !database::is_numbered(&txn)? {
        last = last.max(highest_block(&txn)?);
    }
    let next = last.saturating_add(1).max(epoch.into());
    u32::try_from(next).map_err(|_| Unopened::UnknownFormat(format!("opening {next}")))
}

/// The highest block of 2^32 fencing numbers or file ids of which one is in the records, by reading all of them: an opening
/// of a store that did not note it may have used more numbers than a block has.
fn highest_block(txn: &redb::ReadTransaction) -> Result<u64, Error> {
    let mut highest = 0;
    for entry in txn.open_table(database::UPLOADS)?.iter()? {
        // A record that can't be read is no reason to open nothing: `verify` tells of it.
        if let Some(row) = Row::decode(entry?.1.value()) {
            highest = highest.max(row.fence.0);
        }
    }
    let last = |file: Option<redb::AccessGuard<'_, u64>>| file.map_or(0, |file| file.value());
    highest = highest.max(last(txn.open_table(database::FILES)?.last()?.map(|(file, _)| file)));
    highest = highest.max(last(txn.open_table(database::PENDING_UNLINK)?.last()?.map(|(file, _)| file)));
    Ok(highest >> 32)
}

/// Makes the records under another name first: a crash leaves them whole, or not there.
fn make_records(disk: &dyn Disk, reserve: &Arc<Reserve>, options: &Options) -> Result<(), Unopened> {
    accept(disk.unlink(NEW_RECORDS), io::ErrorKind::NotFound)?;
    let file = disk.open(NEW_RECORDS, Mode::Create)?;
    let records = Arc::new(RecordsFile::new(file, reserve.clone()));
    let database = database::open(&records, options)?;
    database::initialise(&database)?;
    drop(database);
    disk.rename(NEW_RECORDS, RECORDS)?;
    Ok(disk.sync_dir("")?)
}

/// Where the last opening has left what goes on through all of them.
struct Last {
    /// This opening's number: ids and fencing numbers of it are above all others.
    epoch: u32,
    /// The number of the last event, without those in the log.
    event: u64,
    /// How far the lives of uploads had come.
    time: u64,
}

/// Checks the format, and tells where the last opening ended. Removes what it left behind.
fn next_epoch(disk: &Arc<dyn Disk>, database: &redb::Database, salvage: bool) -> Result<Last, Unopened> {
    let txn = database::begin_volatile(database)?;
    match database::format(&txn)? {
        Some(database::FORMAT) => {}
        Some(database::FORMAT_3 | database::FORMAT_4 | database::FORMAT_5) => {
            txn.abort().map_err(Error::from)?;
            migration::migrate(database)?;
            return next_epoch(disk, database, salvage);
        }
        Some(other) => return Err(Unopened::UnknownFormat(format!("version {other}"))),
        None => return Err(Unopened::UnknownFormat("no version".to_owned())),
    }
    let contents = read_log(&**disk)?;
    if contents.stale {
        orphans::remove(&**disk, &Files::new(disk.clone(), 0), database)?;
    }
    if !salvage && !contents.continues(database::sequence(&txn)?) {
        return Err(Unopened::ForeignJournal);
    }
    let epoch = database::epoch(&txn)? + 1;
    let (event, time) = (database::last_event(&txn)?, database::time(&txn)?);
    txn.abort().map_err(Error::from)?;
    let epoch = u32::try_from(epoch).map_err(|_| Unopened::UnknownFormat(format!("opening {epoch}")))?;
    Ok(Last { epoch, event, time })
}

impl Store {
    /// Closes a store that could not be opened. What was replayed is not made durable, as its bytes may not be: the
    /// next opening replays it again.
    fn abandon(self) {
        self.unflushed.store(false, Ordering::Release);
        self.records.seal();
    }

    /// Makes durable what was replayed, and begins the log anew.
    fn settle(&self, boot: String) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        let note = |error: io::Error| self.staging.note(error);
        for (file, grown) in &writer.grown {
            let mut committed = 0;
            for id in std::iter::once(&grown.id).chain(&grown.finals) {
                let row = self.row(id)?;
                let extents = row.iter().flat_map(Row::references).filter(|extent| extent.file == *file);
                committed = extents.map(|extent| extent.len).fold(committed, u64::max);
            }
            let there = self.staging.files.open(*file).and_then(|data| {
                data.sync_data()?;
                data.len()
            });
            if there.map_err(note).is_ok_and(|len| len >= committed) {
                self.staging.files.renew(*file);
            } else {
                self.lose(*file);
            }
        }
        self.flush_held(&mut writer)?;
        // What was noted is of groups that have fallen back by now, or are not there any more.
        lock(&self.lost).clear(&*self.disk, &self.staging.reserve).map_err(note)?;
        // Counted only now: until the replayed rows are durable, what they name is of the last opening.
        let database = self.database(&mut writer)?;
        count_opening(&database, self.staging.files.epoch()).map_err(|trouble| self.staging.note(trouble))?;
        // What may be staged for one group has its space in any case, also on a disk that becomes full.
        let least = 2 * inline::room_of(&self.options);
        let (durability, reserve) = (self.options.durability, self.staging.reserve.clone());
        let begun = Log::begin(&self.disk, durability, &boot, reserve, (writer.sequence, least));
        writer.log = Some(begun.map_err(note)?);
        // Of an earlier format.
        accept(self.disk.unlink(JOURNAL), io::ErrorKind::NotFound).map_err(note)?;
        self.disk.sync_dir("").map_err(note)
    }
}

fn count_opening(database: &redb::Database, epoch: u32) -> Result<(), Error> {
    let txn = database::begin_durable(database)?;
    mutation!("opening-not-counted", database::set_epoch(&txn, epoch)?, ());
    Ok(txn.commit()?)
}
