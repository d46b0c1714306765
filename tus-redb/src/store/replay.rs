//! Bringing the records to where the log is, and remembering what the next flush must know.

use redb::Database;

use crate::{
    disk::Disk,
    error::Error,
    log::{
        read::{Contents, Salvaged, read_log},
        write::Log,
    },
    records::database,
    store::Writer,
    tables::{Effects, Keeps, Tables, rollback::Grown},
};

impl Writer {
    /// Brings the records to where the log is, and returns whether that added something. If so, it is as durable as it was
    /// before.
    pub(crate) fn replay(&mut self, disk: &dyn Disk, database: &Database) -> Result<bool, Error> {
        self.replay_contents(read_log(disk)?, database)
    }

    /// The same with what is left of a damaged log, up to the first group that is missing.
    pub(crate) fn salvage(&mut self, disk: &dyn Disk, database: &Database) -> Result<Salvaged, Error> {
        let txn = database::begin_volatile(database)?;
        let sequence = database::sequence(&txn)?;
        txn.abort()?;
        let mut contents = read_log(disk)?;
        let salvaged = contents.salvage(sequence);
        self.replay_contents(contents, database)?;
        Ok(salvaged)
    }

    fn replay_contents(&mut self, contents: Contents, database: &Database) -> Result<bool, Error> {
        let txn = database::begin_volatile(database)?;
        self.sequence = database::sequence(&txn)?;
        self.grown.clear();
        self.spilled.clear();
        self.pending_unlink.clear();
        let durable = self.sequence;
        if !contents.continues(durable) {
            return Err(Error::damaged("groups are missing between the records and the log"));
        }
        let mut tables = Tables::open(&txn, Keeps::default())?;
        let most = self.log.as_ref().and_then(Log::synced_before_failure).unwrap_or(u64::MAX);
        for group in contents.groups.iter().filter(|group| (durable + 1..=most).contains(&group.sequence)) {
            tables.keeps = group.keeps;
            for step in &group.steps {
                tables.apply(step)?;
            }
            self.sequence = group.sequence;
        }
        let mut effects = std::mem::take(&mut tables.effects);
        drop(tables);
        if self.sequence == durable {
            txn.abort()?;
            return Ok(false);
        }
        if contents.strict {
            // Their bytes were durable before them.
            effects.grown.clear();
        }
        self.remember(effects);
        database::set_sequence(&txn, self.sequence)?;
        txn.commit()?;
        Ok(true)
    }

    /// With strict durability, after a write or a sync of the log that failed: whether its last group is on the disk is not
    /// known. It has failed: what was acknowledged before it is made durable, its number is used up, and a new epoch begins.
    /// Before that nothing is shown.
    pub(crate) fn end_torn_log(&mut self, database: &Database) -> Result<(), Error> {
        let Some(log) = self.log.as_mut().filter(|log| log.synced_before_failure().is_some()) else {
            return Ok(());
        };
        let sequence = log.tried().max(self.sequence);
        let txn = database::begin_durable(database)?;
        // The log entries of these files are discarded, so their inline bytes are dropped here.
        Tables::open(&txn, Keeps::default())?.drop_inline(std::mem::take(&mut self.spilled))?;
        database::set_sequence(&txn, sequence)?;
        txn.commit()?;
        self.sequence = sequence;
        log.cover(sequence);
        Ok(log.turn(sequence)?)
    }

    /// Remembers what a flush will have to know of a committed transaction.
    pub(crate) fn remember(&mut self, effects: Effects) {
        for (file, id, len) in effects.grown {
            self.grown.entry(file).or_insert(Grown { id, len, finals: Vec::new() });
        }
        for (file, id) in effects.shared {
            // A file that did not grow since the last flush has nothing to lose.
            if let Some(grown) = self.grown.get_mut(&file) {
                grown.finals.push(id);
            }
        }
        self.spilled.extend(effects.spilled);
        self.pending_unlink.extend(effects.pending_unlink);
        self.fragmented |= effects.fragmented;
    }
}
