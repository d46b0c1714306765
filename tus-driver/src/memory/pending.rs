//! A final that waits for its parts.

use bytes::Bytes;
use tus_proto::UploadId;

/// What a final is to be made of.
pub(super) struct Pending {
    pub parts: Vec<Part>,
    pub delete_parts: bool,
}

/// One of the uploads that it is made of.
pub(super) struct Part {
    /// `None` once the part is gone; it was complete then.
    pub id: Option<UploadId>,
    pub length: Option<u64>,
    /// Its bytes, once it is complete.
    pub bytes: Option<Vec<Bytes>>,
}

impl Pending {
    /// The parts that are still there.
    pub(super) fn ids(&self) -> impl Iterator<Item = &UploadId> {
        self.parts.iter().filter_map(|part| part.id.as_ref())
    }

    /// The parts that are not complete.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &UploadId> {
        self.parts.iter().filter(|part| part.bytes.is_none()).filter_map(|part| part.id.as_ref())
    }

    /// A complete part is gone: another upload may have its id from now on.
    pub(super) fn forget(&mut self, id: &UploadId) {
        let same = self.parts.iter_mut().filter(|part| part.id.as_ref() == Some(id));
        same.for_each(|part| part.id = None);
    }

    /// The length of all parts, once all are known.
    pub(super) fn length(&self) -> Option<u64> {
        self.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length?))
    }
}
