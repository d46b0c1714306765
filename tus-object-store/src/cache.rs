//! A cache of records as they were last seen.

use std::collections::{BTreeMap, VecDeque};

use tus_proto::UploadId;

use crate::{bucket::Version, document::Document};

/// How many bytes of records are kept.
const CACHE: usize = 8 << 20;
/// The largest record that is kept, in bytes.
const CACHED: usize = 64 << 10;

/// A cache of records, so that a change need not read first. A stale one costs a compare-and-set that fails, and nothing else.
#[derive(Default)]
pub(crate) struct Cache {
    records: BTreeMap<UploadId, Cached>,
    /// When which record was put here, oldest first. Most are outdated: they have been put again, or removed, since.
    order: VecDeque<(UploadId, u64)>,
    bytes: usize,
    puts: u64,
}

struct Cached {
    document: Document,
    version: Version,
    size: usize,
    put: u64,
}

impl Cache {
    pub(crate) fn put(&mut self, id: &UploadId, document: Document, version: Version, size: usize) {
        self.remove(id);
        if size > CACHED {
            return;
        }
        self.bytes += size;
        self.puts += 1;
        self.records.insert(id.clone(), Cached { document, version, size, put: self.puts });
        self.order.push_back((id.clone(), self.puts));
        while self.bytes > CACHE {
            let Some((oldest, put)) = self.order.pop_front() else { return };
            if is_current(&self.records, &oldest, put) {
                self.remove(&oldest);
            }
        }
        if self.order.len() > 4 * self.records.len() + 16 {
            self.order.retain(|(id, put)| is_current(&self.records, id, *put));
        }
    }

    pub(crate) fn remove(&mut self, id: &UploadId) {
        if let Some(Cached { size, .. }) = self.records.remove(id) {
            self.bytes -= size;
        }
    }

    /// The record as it was last seen.
    pub(crate) fn peek(&self, id: &UploadId) -> Option<Document> {
        self.records.get(id).map(|cached| cached.document.clone())
    }

    pub(crate) fn get(&self, id: &UploadId) -> Option<Base> {
        let Cached { document, version, size, .. } = self.records.get(id)?;
        Some(Base { document: document.clone(), version: version.clone(), size: *size, sure: false })
    }
}

/// Whether this is the last time that the record was put here, and it was not removed since.
fn is_current(records: &BTreeMap<UploadId, Cached>, id: &UploadId, put: u64) -> bool {
    records.get(id).is_some_and(|cached| cached.put == put)
}

/// A record that a change starts from.
pub(crate) struct Base {
    pub document: Document,
    pub version: Version,
    pub size: usize,
    /// It was read for this change: a decision not to write can rest on it.
    pub sure: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::{Record, WallTime};

    use super::*;

    fn put(cache: &mut Cache, number: usize, size: usize) {
        let record = Record {
            id: UploadId::new(&format!("u{number}")).unwrap(),
            created: WallTime::default(),
            offset: 0,
            length: None,
            metadata: String::new(),
            expires: None,
            concat: None,
            explicit: None,
        };
        cache.put(&record.id, Document::new(&record), Version::default(), size);
    }

    #[test]
    fn a_record_that_changes_often_takes_no_more_room_and_outlives_older_ones() {
        let mut cache = Cache::default();
        put(&mut cache, 0, CACHED);
        (0..10_000).for_each(|_| put(&mut cache, 1, 100));
        assert!(cache.order.len() <= 4 * 2 + 17 && cache.bytes == CACHED + 100);
        // As many as there is room for but one.
        (2..CACHE / CACHED + 1).for_each(|number| put(&mut cache, number, CACHED));
        let is_there = |number: usize| cache.peek(&UploadId::new(&format!("u{number}")).unwrap()).is_some();
        assert_eq!([is_there(0), is_there(1), is_there(2)], [false, true, true]);
    }
}
