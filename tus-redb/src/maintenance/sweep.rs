//! Removing what has expired, by the index of times: the cost is that of what is removed.

use std::{ops::Bound, sync::atomic::Ordering, time::Duration};

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    error::Error,
    mutex::lock,
    records::{
        database::{EXPIRY, LAPSES, UPLOADS},
        record::Row,
    },
    store::{
        Store,
        change::Change,
        progress::{Due, SweptTo},
    },
};

/// How long an expired upload is remembered: whoever asks for it in that time learns what became of it.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the time may get ahead of what is noted of it, while nothing else is written: that much longer does an upload
/// live whose server comes to its end.
const NOTED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// What a [`Store::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many uploads it removed that were not finished, and parts.
    pub expired: usize,
    /// How many finished uploads it removed.
    pub finished: usize,
    /// How many it forgot that had been removed before.
    pub forgotten: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// Entries whose times have come, and which of them are of finished uploads.
#[derive(Debug, Default)]
struct Found {
    due: Vec<Due>,
    finished: Vec<bool>,
}

/// Where the next sweep goes on: after the last of those that were tried, or at the head once there are no more.
fn advance(to: &mut Option<Due>, tried: &[Due], removed: usize, limit: usize) {
    if tried.len() < limit {
        *to = None;
    } else if removed < tried.len() {
        *to = tried.last().cloned();
    }
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
            // A durable transaction of its own would make durable what was not flushed: the next flush has it.
            self.unflushed.store(true, Ordering::Release);
            Ok::<_, Error>(())
        };
        let noted = note();
        noted.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    fn remove_due(&self, now: WallTime, limit: usize) -> Result<Swept, Failure> {
        let mut swept_to = lock(&self.swept_to);
        let Found { due: expired, finished } = self.due(EXPIRY, now, limit, swept_to.expired.as_ref())?;
        let Found { due: lapsed, .. } = self.due(LAPSES, now, limit, swept_to.forgotten.as_ref())?;
        let more = expired.len() == limit || lapsed.len() == limit;
        let remember = now.after(REMEMBERED);
        let count = expired.len();
        let expire = expired.iter().map(|(_, id)| Change::Expire { id: id.clone(), before: now, remember });
        let forget = lapsed.iter().map(|(_, id)| Change::Forget { id: id.clone() });
        let changes: Vec<_> = expire.chain(forget).collect();
        if changes.is_empty() {
            *swept_to = SweptTo::default();
            return Ok(Swept::default());
        }
        let completions = self.commit(&changes);
        let removed = |completions: &[Completion]| {
            completions.iter().filter(|completion| **completion == Completion::Deleted).count()
        };
        let (expirations, lapses) = completions.split_at(count.min(completions.len()));
        let (gone, forgotten) = (removed(expirations), removed(lapses));
        let went = expirations.iter().map(|completion| *completion == Completion::Deleted);
        let finished = went.zip(finished).filter(|(went, finished)| *went && *finished).count();
        // What can't be removed stays at the head of its index: the next sweep looks past it, up to the end.
        advance(&mut swept_to.expired, &expired, gone, limit);
        advance(&mut swept_to.forgotten, &lapsed, forgotten, limit);
        // Where nothing went, the same would be found again at once.
        Ok(Swept { expired: gone - finished, finished, forgotten, more: more && gone + forgotten > 0 })
    }

    /// The first ids in an index whose times have come, after `after`.
    fn due(
        &self,
        index: TableDefinition<'static, (u64, &'static str), ()>,
        now: WallTime,
        limit: usize,
        after: Option<&Due>,
    ) -> Result<Found, Failure> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let txn = database.begin_read()?;
            let (table, uploads) = (txn.open_table(index)?, txn.open_table(UPLOADS)?);
            let until = (now.as_micros().saturating_add(1), "");
            let mut found = Found::default();
            let after = after.map(|(at, id)| (*at, id.as_str())).filter(|after| *after < until);
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            for entry in table.range::<(u64, &str)>((start, Bound::Excluded(until)))? {
                let (key, _) = entry?;
                let (at, id) = key.value();
                let id = UploadId::new(id).ok_or_else(|| Error::damaged("an upload's id in an index"))?;
                let row = uploads.get(id.as_str())?.and_then(|bytes| Row::decode(bytes.value()));
                if row.as_ref().is_none_or(|row| !self.is_written(&id, row)) {
                    found.due.push((at, id));
                    found.finished.push(row.is_some_and(|row| row.is_finished()));
                }
                if found.due.len() == limit {
                    break;
                }
            }
            Ok::<_, Error>(found)
        };
        let found = read();
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }
}
