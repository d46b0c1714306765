//! Looking through a store while it is in use: lists by any order, and totals. A call reads the records in short
//! snapshots, a few hundred rows each, so that neither a commit nor the reuse of pages waits for it. What changes meanwhile
//! may show or not; what stays as it is shows exactly once.
//!
//! The order of ids is that of the table: a page costs what is on it. For any other order, and where a filter lets little
//! through, a page costs a look at every record, and memory for no more than the page.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Bound};

use redb::{ReadTransaction, ReadableTableMetadata};
use tus_proto::{Failure, Record, UploadId, WallTime};

use crate::{
    admin::query::{Cursor, ListPage, ListQuery, Sort, UploadState},
    error::Error,
    records::{
        database::{FILES, UPLOADS},
        record::{Kind, Row},
    },
    store::Store,
};

/// How many rows one snapshot is held for.
pub(crate) const STEP: usize = 512;

/// What uploads take of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    /// How many bytes they have. What several share counts once.
    pub(crate) bytes: u64,
    /// How many bytes they have announced, and not sent yet.
    pub(crate) missing: u64,
}

/// What there is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// How many uploads there are.
    pub uploads: u64,
    /// How many of them are finished.
    pub finished: u64,
    /// How many are not.
    pub unfinished: u64,
    /// How many have expired and were not removed yet, in neither of these two.
    pub expired: u64,
    /// How many bytes they have, together. Those that a final shares with its parts count for each of them.
    pub bytes: u64,
    /// How many bytes unfinished uploads have announced and not sent yet.
    pub missing: u64,
}

impl Store {
    /// A page of uploads. See the module for what it costs; it waits for no commit.
    ///
    /// # Errors
    /// The disk's.
    pub fn query(&self, query: &ListQuery) -> Result<ListPage, Failure> {
        self.show_batch()?;
        let page = if query.sort == Sort::Id { self.in_order(query) } else { self.sorted(query) };
        page.map_err(|trouble| self.staging.note(trouble))
    }

    /// What there is, by a look at every record.
    ///
    /// # Errors
    /// The disk's.
    pub fn totals(&self, now: WallTime) -> Result<Totals, Failure> {
        self.show_batch()?;
        let mut totals = Totals::default();
        let counted = self.each(None, false, |record| {
            totals.uploads += 1;
            totals.bytes = totals.bytes.saturating_add(record.offset);
            match UploadState::of(&record, now) {
                UploadState::Finished => totals.finished += 1,
                UploadState::Expired => totals.expired += 1,
                UploadState::Unfinished => {
                    totals.unfinished += 1;
                    let missing = record.length.map_or(0, |length| length.saturating_sub(record.offset));
                    totals.missing = totals.missing.saturating_add(missing);
                }
            }
            true
        });
        counted.map(|()| totals).map_err(|trouble| self.staging.note(trouble))
    }

    /// Adds what the next uploads take, and returns the last of them if more may follow.
    pub(crate) fn measure(
        &self,
        after: Option<&UploadId>,
        sum: &mut Space,
    ) -> Result<Option<UploadId>, Failure> {
        self.try_measure(after, sum).map_err(|trouble| self.staging.note(trouble))
    }

    fn try_measure(&self, after: Option<&UploadId>, sum: &mut Space) -> Result<Option<UploadId>, Error> {
        let snapshot = self.snapshot()?;
        let rows = step_of(&snapshot.transaction, after, false, STEP)?;
        let files = snapshot.transaction.open_table(FILES)?;
        for row in rows.iter().filter_map(|(_, row)| row.as_ref()) {
            for extent in row.references() {
                // Who shares a file has a part of it: together they have all.
                let owners = match row.kind {
                    Kind::Plain => 1,
                    _ => files.get(extent.file.0)?.map_or(1, |count| u64::from(count.value().max(1))),
                };
                sum.bytes = sum.bytes.saturating_add(extent.len.div_ceil(owners));
            }
            let missing = row.length.map_or(0, |length| length.saturating_sub(row.offset()));
            if !row.is_final() {
                sum.missing = sum.missing.saturating_add(missing);
            }
        }
        let full = rows.len() == STEP;
        Ok(rows.into_iter().last().map(|(id, _)| id).filter(|_| full))
    }

    /// How many uploads there are, without a look at them.
    ///
    /// # Errors
    /// The disk's.
    pub fn count(&self) -> Result<u64, Failure> {
        let count = || Ok(self.snapshot()?.transaction.open_table(UPLOADS)?.len()?);
        count().map_err(|trouble: Error| self.staging.note(trouble))
    }

    /// How many bytes more the disk takes, but for what is set aside. `None` if that is not known.
    pub fn free_space(&self) -> Option<u64> {
        self.disk.free()
    }

    fn in_order(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let mut page = ListPage::default();
        let after = query.after.as_ref().map(|cursor| cursor.id.clone());
        self.each(after, query.descending, |record| {
            if !query.wants(&record) {
                return true;
            }
            if page.records.len() == query.limit {
                page.next = page.records.last().map(|last| Cursor { key: 0, id: last.id.clone() });
                return false;
            }
            page.records.push(record);
            true
        })?;
        Ok(page)
    }

    fn sorted(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let places = if query.descending {
            self.first(query, |cursor| cursor, |place| place)?
        } else {
            self.first(query, Reverse, |Reverse(place)| place)?
        };
        let mut page = ListPage::default();
        let more = places.len() > query.limit;
        for step in places.get(..query.limit.min(places.len())).unwrap_or_default().chunks(STEP) {
            let snapshot = self.snapshot()?;
            let table = snapshot.transaction.open_table(UPLOADS)?;
            for place in step {
                let row = table.get(place.id.as_str())?.and_then(|bytes| Row::decode(bytes.value()));
                page.records.extend(row.map(|row| row.listed(&place.id)));
            }
        }
        if more {
            page.next = query.limit.checked_sub(1).and_then(|last| places.get(last).cloned());
        }
        Ok(page)
    }

    /// The first places of a page and one more, in the order in which `rank` makes them fall.
    fn first<T: Ord>(
        &self,
        query: &ListQuery,
        rank: impl Fn(Cursor) -> T,
        place: impl Fn(T) -> Cursor,
    ) -> Result<Vec<Cursor>, Error> {
        let wanted = query.limit.saturating_add(1);
        let after = query.after.clone().map(&rank);
        // The smallest is the last of the page: it goes where a better one comes.
        let mut best: BinaryHeap<Reverse<T>> = BinaryHeap::new();
        self.each(None, false, |record| {
            if query.wants(&record) {
                let found = rank(Cursor { key: query.key(&record), id: record.id });
                let full = best.len() >= wanted;
                let better = !full || best.peek().is_some_and(|Reverse(last)| found > *last);
                if better && after.as_ref().is_none_or(|after| found < *after) {
                    best.push(Reverse(found));
                    if full {
                        best.pop();
                    }
                }
            }
            true
        })?;
        Ok(best.into_sorted_vec().into_iter().map(|Reverse(found)| place(found)).collect())
    }

    /// Hands on the records past `after` in the order of their ids, until `take` wants no more. Those that are damaged are
    /// left out.
    fn each(
        &self,
        mut after: Option<UploadId>,
        descending: bool,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<(), Error> {
        loop {
            let rows = self.step(after.as_ref(), descending, STEP)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            let more = rows.len() == STEP;
            after = Some(last.clone());
            for (id, row) in rows {
                if let Some(row) = row
                    && !take(row.listed(&id))
                {
                    return Ok(());
                }
            }
            if !more {
                return Ok(());
            }
            // A long look has no hurry.
            std::thread::yield_now();
        }
    }

    /// The next rows of one snapshot; `None` in place of one that is damaged.
    fn step(
        &self,
        after: Option<&UploadId>,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<(UploadId, Option<Row>)>, Error> {
        step_of(&self.snapshot()?.transaction, after, descending, limit)
    }
}

/// The next rows in the order of their ids, or the other way round; `None` in place of one that is damaged.
fn step_of(
    transaction: &ReadTransaction,
    after: Option<&UploadId>,
    descending: bool,
    limit: usize,
) -> Result<Vec<(UploadId, Option<Row>)>, Error> {
    let table = transaction.open_table(UPLOADS)?;
    let bound = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
    let range = if descending { (Bound::Unbounded, bound) } else { (bound, Bound::Unbounded) };
    let mut range = table.range::<&str>(range)?;
    let mut rows = Vec::new();
    while rows.len() < limit {
        let Some(entry) = (if descending { range.next_back() } else { range.next() }) else { break };
        let (key, value) = entry?;
        let id = UploadId::new(key.value()).ok_or_else(|| Error::damaged("an upload's id"))?;
        rows.push((id, Row::decode(value.value())));
    }
    Ok(rows)
}
