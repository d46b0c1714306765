//! What a list of uploads is asked for, and what it answers: filters, order, and a cursor from one page to the next.

use std::{fmt, str::FromStr};

use tus_proto::{Record, UploadId, WallTime};

/// What has become of an upload so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadState {
    /// Bytes are missing, or its length is not known yet.
    Unfinished,
    /// All bytes are there.
    Finished,
    /// Its time is over, and it was not removed yet.
    Expired,
}

impl UploadState {
    /// The state at the time `now`, which is on the clock by which uploads expire: see
    /// [`Store::time`](crate::Store::time).
    pub fn of(record: &Record, now: WallTime) -> Self {
        match record.expires {
            Some(expires) if expires <= now => Self::Expired,
            _ if record.is_complete() => Self::Finished,
            _ => Self::Unfinished,
        }
    }
}

/// By what a list is ordered; uploads that are equal in it are ordered by their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// By id. Those that the server chose rise with time: the oldest upload comes first.
    #[default]
    Id,
    /// By the time of creation.
    Created,
    /// By how many bytes are there.
    Size,
    /// By when they expire; those that don't come last.
    Expires,
}

/// Which uploads are wanted, and in which order.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only uploads in this state.
    pub state: Option<UploadState>,
    /// Only uploads created before this time.
    pub created_before: Option<WallTime>,
    /// Only uploads with more bytes than this.
    pub larger_than: Option<u64>,
    /// The time on the clock by which uploads expire: it decides which have.
    pub now: WallTime,
    /// The order.
    pub sort: Sort,
    /// In descending order.
    pub descending: bool,
    /// Begin after this place.
    pub after: Option<Cursor>,
    /// How many at the most.
    pub limit: usize,
}

impl ListQuery {
    /// All uploads in the order of their ids, a page of `limit`.
    pub fn new(now: WallTime, limit: usize) -> Self {
        Self {
            state: None,
            created_before: None,
            larger_than: None,
            now,
            sort: Sort::Id,
            descending: false,
            after: None,
            limit,
        }
    }

    /// Whether an upload is wanted, wherever it stands.
    pub fn wants(&self, record: &Record) -> bool {
        self.state.is_none_or(|state| state == UploadState::of(record, self.now))
            && self.created_before.is_none_or(|time| record.created < time)
            && self.larger_than.is_none_or(|bytes| record.offset > bytes)
    }

    /// The page of these records, for stores that have all of them at hand.
    pub fn select(&self, records: impl IntoIterator<Item = Record>) -> ListPage {
        let wanted = records.into_iter().filter(|record| self.wants(record));
        let mut found: Vec<(Cursor, Record)> = wanted
            .map(|record| (Cursor { key: self.key(&record), id: record.id.clone() }, record))
            .filter(|(cursor, _)| {
                self.after
                    .as_ref()
                    .is_none_or(|after| if self.descending { cursor < after } else { cursor > after })
            })
            .collect();
        found.sort_unstable_by(
            |(one, _), (other, _)| {
                if self.descending { other.cmp(one) } else { one.cmp(other) }
            },
        );
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().map(|(cursor, _)| cursor.clone()).filter(|_| more);
        ListPage { records: found.into_iter().map(|(_, record)| record).collect(), next }
    }

    pub(super) fn key(&self, record: &Record) -> u64 {
        match self.sort {
            Sort::Id => 0,
            Sort::Created => record.created.as_micros(),
            Sort::Size => record.offset,
            Sort::Expires => record.expires.map_or(u64::MAX, WallTime::as_micros),
        }
    }
}

/// A place in a list. As text it can be kept and given back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) key: u64,
    pub(super) id: UploadId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parts = text.split_once('.');
        let cursor =
            parts.and_then(|(key, id)| Some(Self { key: key.parse().ok()?, id: UploadId::new(id)? }));
        cursor.ok_or(CursorError(()))
    }
}

/// The text of a cursor is invalid: the request is wrong, not the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorError(pub(crate) ());

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no place to go on from: give the one that came with the page before")
    }
}

impl std::error::Error for CursorError {}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The uploads.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<Cursor>,
}
