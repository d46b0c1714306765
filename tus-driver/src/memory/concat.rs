//! Finals and their parts. A final shares its parts' bytes; while a part is incomplete, it is pending.

use tus_proto::{Completion, ConcatRejection, Record, UploadId, WallTime};

use super::{
    pending::{Part, Pending},
    state::{Cause, State, Upload},
};
use crate::EventKind;

/// How many pending finals may name one part.
const MAX_WAITING: usize = 4;

impl State {
    pub(super) fn concat(
        &mut self,
        record: Record,
        parts: &[UploadId],
        max: Option<u64>,
        delete_parts: bool,
    ) -> Result<Completion, ConcatRejection> {
        if self.is_taken(&record.id) {
            return Ok(Completion::Exists);
        }
        let parts = parts.iter().map(|id| self.part(id, record.created)).collect::<Result<Vec<_>, _>>()?;
        check_length(&parts, max)?;
        let pending = Pending { parts, delete_parts };
        if pending.awaited().next().is_some() {
            if pending.ids().any(|part| self.finals_of(part).len() >= MAX_WAITING) {
                return Err(ConcatRejection::TooManyWaiting);
            }
            // A complete part stays for as long as the final needs it.
            for id in pending.ids() {
                let part = self.uploads.get_mut(id).filter(|part| part.record.is_complete());
                part.into_iter().for_each(|part| part.record.expires = None);
            }
        }
        let id = record.id.clone();
        self.uploads.insert(id.clone(), Upload::new(record, Some(pending)));
        self.complete_final(&id, None);
        Ok(self
            .uploads
            .get(&id)
            .map_or(Completion::Missing, |of| Completion::Concatenated(of.record.clone())))
    }

    fn part(&self, id: &UploadId, now: WallTime) -> Result<Part, ConcatRejection> {
        let part = self
            .uploads
            .get(id)
            .filter(|part| !part.record.is_expired(now))
            .ok_or(ConcatRejection::Missing)?;
        if !part.record.is_partial() {
            return Err(ConcatRejection::NotPartial);
        }
        let bytes = part.record.is_complete().then(|| part.bytes.clone());
        Ok(Part { id: Some(id.clone()), length: part.record.length, bytes })
    }

    /// The pending finals that name a part.
    pub(super) fn finals_of(&self, part: &UploadId) -> Vec<UploadId> {
        let names = |of: &&Upload| of.pending.iter().flat_map(Pending::ids).any(|id| id == part);
        self.uploads.values().filter(names).map(|of| of.record.id.clone()).collect()
    }

    /// After a commit: tells the finals that wait for the part, and completes those that wait for nothing more.
    pub(super) fn part_changed(&mut self, id: &UploadId, expires: Option<WallTime>) {
        let finals = self.finals_of(id);
        let Some(part) = self.uploads.get_mut(id).filter(|_| !finals.is_empty()) else { return };
        let bytes = part.record.is_complete().then(|| part.bytes.clone());
        let length = part.record.length;
        if bytes.is_some() {
            part.record.expires = None;
        }
        for of in &finals {
            let Some(of) = self.uploads.get_mut(of) else { continue };
            of.record.expires = expires.map(|at| of.record.expires.map_or(at, |before| before.max(at)));
            let places = of.pending.iter_mut().flat_map(|pending| &mut pending.parts);
            for place in places.filter(|place| place.id.as_ref() == Some(id)) {
                (place.length, place.bytes) = (length, bytes.clone());
            }
        }
        // Only now: completing one may delete the part that the others need.
        finals.iter().for_each(|of| self.complete_final(of, expires));
    }

    /// Completes a pending final if all its parts are complete. They expire at `expires` from then on, if they stay.
    fn complete_final(&mut self, id: &UploadId, expires: Option<WallTime>) {
        let Some(of) = self.uploads.get_mut(id) else { return };
        let Some(pending) = of.pending.take() else { return };
        of.record.length = pending.length();
        let bytes: Option<Vec<_>> = pending.parts.iter().map(|part| part.bytes.as_ref()).collect();
        let (Some(bytes), Some(length)) = (bytes, of.record.length) else {
            of.pending = Some(pending);
            return;
        };
        of.bytes = bytes.into_iter().flatten().cloned().collect();
        (of.record.offset, of.record.expires) = (length, None);
        self.outbox.post(EventKind::Completed, &of.record);
        for part in pending.ids() {
            if pending.delete_parts {
                self.remove(part, Cause::Consumed);
            } else {
                self.let_expire(part, expires);
            }
        }
    }

    /// Lets a complete part expire that no final needs any longer.
    pub(super) fn let_expire(&mut self, part: &UploadId, expires: Option<WallTime>) {
        let needed = !self.finals_of(part).is_empty();
        if let Some(part) = self.uploads.get_mut(part)
            && !needed
            && part.record.is_complete()
        {
            part.record.expires = part.record.expires.or(expires);
        }
    }
}

fn check_length(parts: &[Part], max: Option<u64>) -> Result<(), ConcatRejection> {
    if max.is_some() && parts.iter().any(|part| part.length.is_none()) {
        return Err(ConcatRejection::UnknownLength);
    }
    // What is not known yet can only make it longer.
    let known = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length.unwrap_or(0)));
    let fits = known.is_some_and(|known| max.is_none_or(|max| known <= max));
    if fits { Ok(()) } else { Err(ConcatRejection::TooLarge) }
}
