//! Removing what has expired, by the index of times: the cost is that of what is removed.

use std::{ops::Bound, sync::atomic::Ordering, time::Duration};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    change::Change,
    database::{self, EXPIRY, LAPSES, UPLOADS},
    error::Trouble,
    record::Row,
    store::{Durability, Store, lock},
};

/// How long an expired upload is remembered: whoever asks for it in that time learns what became of it.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the time may get ahead of what is noted of it, while nothing else is written: that much longer does an upload
/// live whose server comes to its end.
const NOTED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// What a [`Store::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many uploads it removed.
    pub expired: usize,
    /// How many it forgot that had been removed before.
    pub forgotten: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

impl Store {
    /// Removes at most `limit` uploads whose time is over, and forgets as many that were removed a day ago.
    /// Those that are being written to stay. Blocks on the disk; for whoever makes the commits.
    ///
    /// `now` is on the clock by which uploads expire, and is [kept](Self::time) for the next opening.
    pub fn sweep(&self, now: WallTime, limit: usize) -> Result<Swept, Failure> {
        self.time.fetch_max(now.as_micros(), Ordering::Relaxed);
        let swept = self.remove_due(now, limit)?;
        self.keep_time(now)?;
        Ok(swept)
    }

    /// How far the lives of uploads have come, as sweeps have told in this opening or the last: whoever opens the store
    /// goes on from there, however long it was closed and whatever the calendar says. None where nothing is known.
    pub fn time(&self) -> Option<WallTime> {
        Some(self.time.load(Ordering::Relaxed)).filter(|time| *time > 0).map(WallTime::from_micros)
    }

    /// Notes the time in a transaction that is made anyway, and tells it for when that is durable.
    pub(crate) fn note_time(&self, txn: &WriteTransaction) -> Result<u64, Trouble> {
        let time = self.time.load(Ordering::Relaxed);
        if time > self.noted_time.load(Ordering::Relaxed) {
            database::set_time(txn, time)?;
        }
        Ok(time)
    }

    /// Sees that the time is noted before long, where something waits for it.
    fn keep_time(&self, now: WallTime) -> Result<(), Failure> {
        let noted = WallTime::from_micros(self.noted_time.load(Ordering::Relaxed));
        if now < noted.after(NOTED_WITHIN) {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let note = || {
            let txn = database.begin_read()?;
            let (expiry, lapses) = (txn.open_table(EXPIRY)?, txn.open_table(LAPSES)?);
            if expiry.first()?.is_none() && lapses.first()?.is_none() {
                return Ok(());
            }
            if self.options.durability == Durability::Eventual {
                // A durable transaction of its own would make durable what was not flushed: the next flush has it.
                self.unflushed.store(true, Ordering::Release);
                return Ok(());
            }
            let txn = database::begin_durable(&database)?;
            let time = self.note_time(&txn)?;
            txn.commit()?;
            self.noted_time.store(time, Ordering::Relaxed);
            Ok::<_, Trouble>(())
        };
        let noted = note();
        noted.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    fn remove_due(&self, now: WallTime, limit: usize) -> Result<Swept, Failure> {
        let expired = self.due(EXPIRY, now, limit)?;
        let lapsed = self.due(LAPSES, now, limit)?;
        let more = expired.len() == limit || lapsed.len() == limit;
        let remember = now.after(REMEMBERED);
        let count = expired.len();
        let expire = expired.into_iter().map(|id| Change::Expire { id, before: now, remember });
        let forget = lapsed.into_iter().map(|id| Change::Forget { id });
        let changes: Vec<_> = expire.chain(forget).collect();
        if changes.is_empty() {
            return Ok(Swept::default());
        }
        let completions = self.commit(&changes);
        let removed = |completions: &[Completion]| {
            completions.iter().filter(|completion| **completion == Completion::Deleted).count()
        };
        let (expired, forgotten) = completions.split_at(count.min(completions.len()));
        let swept = Swept { expired: removed(expired), forgotten: removed(forgotten), more: false };
        // Where nothing went, the same would be found again at once.
        Ok(Swept { more: more && swept.expired + swept.forgotten > 0, ..swept })
    }

    /// The first ids in an index whose times have come.
    fn due(
        &self,
        index: TableDefinition<'static, (u64, &'static str), ()>,
        now: WallTime,
        limit: usize,
    ) -> Result<Vec<UploadId>, Failure> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let txn = database.begin_read()?;
            let (table, uploads) = (txn.open_table(index)?, txn.open_table(UPLOADS)?);
            let until = (now.as_micros().saturating_add(1), "");
            let mut ids = Vec::new();
            for entry in table.range::<(u64, &str)>((Bound::Unbounded, Bound::Excluded(until)))? {
                let (key, _) = entry?;
                let (_, id) = key.value();
                let id = UploadId::new(id).ok_or_else(|| Trouble::damaged("an upload's id in an index"))?;
                let row = uploads.get(id.as_str())?.and_then(|bytes| Row::decode(bytes.value()));
                if row.is_none_or(|row| !self.is_written(&id, &row)) {
                    ids.push(id);
                }
                if ids.len() == limit {
                    break;
                }
            }
            Ok::<_, Trouble>(ids)
        };
        let found = read();
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }
}
