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

impl Store {
    /// Removes at most `limit` uploads whose time is over, and forgets as many that were removed a day ago.
    /// Those that are being written to stay. Blocks on the disk; for whoever makes the commits.
    pub fn sweep(&self, now: WallTime, limit: usize) -> Result<Swept, Failure> {
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
