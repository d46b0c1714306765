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
    records: BTreeMap<UploadId, (Document, Version, usize)>,
    order: VecDeque<UploadId>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn put(&mut self, id: &UploadId, document: Document, version: Version, size: usize) {
        self.remove(id);
        if size > CACHED {
            return;
        }
        self.bytes += size;
        self.records.insert(id.clone(), (document, version, size));
        self.order.push_back(id.clone());
        while self.bytes > CACHE || self.order.len() > 4 * self.records.len() + 16 {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.bytes > CACHE || !self.records.contains_key(&oldest) {
                self.remove(&oldest);
            } else {
                self.order.push_back(oldest);
                return;
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &UploadId) {
        if let Some((.., size)) = self.records.remove(id) {
            self.bytes -= size;
        }
    }

    /// The record as it was last seen.
    pub(crate) fn peek(&self, id: &UploadId) -> Option<Document> {
        self.records.get(id).map(|(document, ..)| document.clone())
    }

    pub(crate) fn get(&self, id: &UploadId) -> Option<Base> {
        let (document, version, size) = self.records.get(id)?;
        let (document, version) = (document.clone(), version.clone());
        Some(Base { document, version, size: *size, sure: false })
    }
}

/// A record that a change starts from.
pub(crate) struct Base {
    pub document: Document,
    pub version: Version,
    pub size: usize,
    /// It was read for this change: a decision not to write can rest on it.
    pub sure: bool,
}
