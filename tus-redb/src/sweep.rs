//! Removing what has expired, by the index of times: the cost is that of what is removed.

use std::{ops::Bound, time::Duration};

use redb::{ReadableDatabase, TableDefinition};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    change::Change,
    database::{EXPIRY, LAPSES, UPLOADS},
    error::Trouble,
    record::Row,
    store::{Store, lock},
};

/// How long an expired upload is remembered: whoever asks for it in that time learns what became of it.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

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

/// An entry of an index of times.
type Due = (u64, UploadId);

/// How far in each index everything due was tried that could not be removed, for the next sweep.
#[derive(Debug, Default)]
pub(crate) struct SweptTo {
    expired: Option<Due>,
    forgotten: Option<Due>,
}

/// Where the next sweep goes on: behind the last of those that were tried, or at the head once there are no more.
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
    pub fn sweep(&self, now: WallTime, limit: usize) -> Result<Swept, Failure> {
        let mut swept_to = lock(&self.swept_to);
        let expired = self.due(EXPIRY, now, limit, swept_to.expired.as_ref())?;
        let lapsed = self.due(LAPSES, now, limit, swept_to.forgotten.as_ref())?;
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
        let swept = Swept { expired: removed(expirations), forgotten: removed(lapses), more: false };
        // What can't be removed stays at the head of its index: the next sweep looks behind it, up to the end.
        advance(&mut swept_to.expired, &expired, swept.expired, limit);
        advance(&mut swept_to.forgotten, &lapsed, swept.forgotten, limit);
        // Where nothing went, the same would be found again at once.
        Ok(Swept { more: more && swept.expired + swept.forgotten > 0, ..swept })
    }

    /// The first ids in an index whose times have come, behind `after`.
    fn due(
        &self,
        index: TableDefinition<'static, (u64, &'static str), ()>,
        now: WallTime,
        limit: usize,
        after: Option<&Due>,
    ) -> Result<Vec<Due>, Failure> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let txn = database.begin_read()?;
            let (table, uploads) = (txn.open_table(index)?, txn.open_table(UPLOADS)?);
            let until = (now.as_micros().saturating_add(1), "");
            let mut ids = Vec::new();
            let after = after.map(|(at, id)| (*at, id.as_str())).filter(|after| *after < until);
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            for entry in table.range::<(u64, &str)>((start, Bound::Excluded(until)))? {
                let (key, _) = entry?;
                let (at, id) = key.value();
                let id = UploadId::new(id).ok_or_else(|| Trouble::damaged("an upload's id in an index"))?;
                let row = uploads.get(id.as_str())?.and_then(|bytes| Row::decode(bytes.value()));
                if row.is_none_or(|row| !self.is_written(&id, &row)) {
                    ids.push((at, id));
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
