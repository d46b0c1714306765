//! What concatenation does to the tables: finals are made of parts, wait for those that are not finished, and are
//! complete in the transaction in which their last part is. No byte of any upload is read or written for it.

use std::collections::BTreeMap;

use redb::ReadableTable;
use tus_driver::EventKind;
use tus_proto::{Completion, ConcatRejection, Fence, UploadId, WallTime};

use crate::{
    error::Error,
    records::record::{Bytes, Kind, Part, Pending, Row, sum},
    tables::{Cause, Outcome, Tables, changed, step::Concatenation, unchanged},
};

/// What becomes of finished parts that no final needs any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// They go, whoever else needs them: what a final needs of a finished part, it has.
    Remove,
    /// They expire then.
    Expire(Option<WallTime>),
}

impl Tables<'_> {
    /// Makes a final: complete, or pending where a part is not finished.
    pub(crate) fn concat(&mut self, wanted: &Concatenation) -> Result<Outcome, Error> {
        if self.is_taken(&wanted.id)? {
            return Ok(unchanged(Completion::Exists));
        }
        let rows = match self.parts(wanted)? {
            Ok(rows) => rows,
            Err(rejection) => return Ok(unchanged(Completion::Rejected(rejection))),
        };
        let parts = wanted.parts.iter().filter_map(|id| rows.get(id).map(|row| part(id, row)));
        let pending = Pending { parts: parts.collect(), delete_parts: wanted.delete_parts };
        let ready = pending.extents().is_some();
        if !ready && self.is_crowded(&rows, wanted.max_waiting)? {
            return Ok(unchanged(Completion::Rejected(ConcatRejection::TooManyWaiting)));
        }
        for extent in pending.parts.iter().flat_map(Part::extents) {
            self.share(extent.file, &wanted.id)?;
        }
        let row = Row {
            created: wanted.created,
            length: pending.length(),
            fence: Fence(0),
            extents: Vec::new(),
            metadata: wanted.metadata.clone(),
            expires: wanted.expires,
            kind: Kind::Final { header: wanted.header.clone(), pending: Some(pending) },
            explicit: None,
            sha256: None,
        };
        self.post(EventKind::Created, &wanted.id, &row)?;
        let row = if ready {
            self.make_whole(&wanted.id, row, &rows)?
        } else {
            self.make_pending(&wanted.id, row, rows)?
        };
        Ok(changed(Completion::Concatenated(row.record(&wanted.id))))
    }

    /// The rows of a final's parts, if they are fit for it.
    fn parts<'a>(
        &self,
        wanted: &'a Concatenation,
    ) -> Result<Result<BTreeMap<&'a UploadId, Row>, ConcatRejection>, Error> {
        let mut rows = BTreeMap::new();
        for id in &wanted.parts {
            if rows.contains_key(id) {
                continue;
            }
            let is_there = |row: &Row| row.expires.is_none_or(|expires| expires > wanted.created);
            let Some(row) = self.row(id)?.filter(is_there) else { return Ok(Err(ConcatRejection::Missing)) };
            if row.kind != Kind::Partial {
                return Ok(Err(ConcatRejection::NotPartial));
            }
            rows.insert(id, row);
        }
        let lengths = || wanted.parts.iter().filter_map(|id| rows.get(id)).map(|row| row.length);
        if wanted.max.is_some() && lengths().any(|length| length.is_none()) {
            return Ok(Err(ConcatRejection::UnknownLength));
        }
        // What is not known yet can only make it longer.
        let fits = sum(lengths().filter(Option::is_some))
            .is_some_and(|known| wanted.max.is_none_or(|max| known <= max));
        Ok(if fits { Ok(rows) } else { Err(ConcatRejection::TooLarge) })
    }

    /// Whether one of the parts has as many finals waiting as may.
    fn is_crowded(&self, rows: &BTreeMap<&UploadId, Row>, max: u64) -> Result<bool, Error> {
        for id in rows.keys() {
            if self.finals_of(id)?.len() as u64 >= max {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a final whose parts are all finished.
    fn make_whole(
        &mut self,
        id: &UploadId,
        row: Row,
        parts: &BTreeMap<&UploadId, Row>,
    ) -> Result<Row, Error> {
        let (row, pending) = made_whole(row);
        self.put_complete(id, None, &row)?;
        if pending.is_some_and(|pending| pending.delete_parts) {
            for (part, row) in parts {
                self.remove(part, row, Cause::Consumed)?;
            }
        }
        self.scatter(id, &row)?;
        Ok(row)
    }

    /// Writes a final that waits for a part. The finished ones do not expire as long.
    fn make_pending(
        &mut self,
        id: &UploadId,
        row: Row,
        parts: BTreeMap<&UploadId, Row>,
    ) -> Result<Row, Error> {
        self.put(id, None, &row)?;
        for (part, mut row) in parts {
            self.waiting()?.insert((part.as_str(), id.as_str()), ())?;
            let expires = row.expires.take();
            if row.is_complete() && expires.is_some() {
                self.put(part, expires, &row)?;
            }
        }
        Ok(row)
    }

    /// The pending finals that a part is named by.
    pub(crate) fn finals_of(&self, part: &UploadId) -> Result<Vec<UploadId>, Error> {
        let mut finals = Vec::new();
        for entry in self.waiting()?.range::<(&str, &str)>((part.as_str(), "")..)? {
            let (key, _) = entry?;
            let (of, id) = key.value();
            if of != part.as_str() {
                break;
            }
            finals.extend(UploadId::new(id));
        }
        Ok(finals)
    }

    /// Writes the row of a part after a commit to it, and tells the finals that wait for it.
    pub(crate) fn advance_part(&mut self, id: &UploadId, before: &Row, mut row: Row) -> Result<(), Error> {
        let finals = self.finals_of(id)?;
        let expires = row.expires;
        if row.is_complete() && !finals.is_empty() {
            row.expires = None;
        }
        let finished = row.is_complete() && !before.is_complete();
        if finished {
            row.sha256 = None;
            self.note_undigested(id)?;
        }
        self.put(id, before.expires, &row)?;
        if !finished && (row.length, expires) == (before.length, before.expires) {
            return Ok(());
        }
        let mut told = Vec::new();
        for of in finals {
            // One that is damaged can't be helped, and must not hinder the part.
            let Some(mut waiting) = self.row_of_another(&of)? else { continue };
            let before = waiting.expires;
            self.tell(&of, &mut waiting, (id, &row), expires)?;
            told.push((of, before, waiting));
        }
        // Parts go only when every final has what it needs of them.
        for (of, before, waiting) in told {
            match made_whole(waiting) {
                (whole, Some(pending)) => {
                    self.effects.finals += 1;
                    self.put_complete(&of, before, &whole)?;
                    let then = if pending.delete_parts { Then::Remove } else { Then::Expire(expires) };
                    self.let_go(&of, &pending, then)?;
                    self.scatter(&of, &whole)?;
                }
                (waiting, None) => self.put(&of, before, &waiting)?,
            }
        }
        Ok(())
    }

    /// Notes in the row of a pending final what it learns of a part.
    fn tell(
        &mut self,
        id: &UploadId,
        row: &mut Row,
        (part, state): (&UploadId, &Row),
        expires: Option<WallTime>,
    ) -> Result<(), Error> {
        row.expires = expires.map(|at| row.expires.map_or(at, |before| before.max(at)));
        let Some(pending) = row.pending_mut() else { return Ok(()) };
        for place in pending.parts.iter_mut().filter(|place| place.id == *part) {
            if matches!(place.bytes, Bytes::Awaited(_)) {
                place.bytes = bytes(state);
                for extent in place.extents() {
                    self.share(extent.file, id)?;
                }
            }
        }
        row.length = pending.length();
        Ok(())
    }

    /// A final needs its parts no longer.
    pub(crate) fn let_go(&mut self, id: &UploadId, pending: &Pending, then: Then) -> Result<(), Error> {
        for part in pending.ids() {
            // Where it did not need it any more, the part is gone, and another upload may have its id.
            if self.waiting()?.remove((part.as_str(), id.as_str()))?.is_none() {
                continue;
            }
            let Some(mut row) = self.row_of_another(part)? else { continue };
            match then {
                Then::Remove => self.remove(part, &row, Cause::Consumed)?,
                Then::Expire(Some(at))
                    if row.is_complete() && row.expires.is_none() && self.finals_of(part)?.is_empty() =>
                {
                    row.expires = Some(at);
                    self.put(part, None, &row)?;
                }
                Then::Expire(_) => {}
            }
        }
        Ok(())
    }
}

/// A final as it is when all its parts are finished, and what it was made of; as it was where they are not.
fn made_whole(mut row: Row) -> (Row, Option<Pending>) {
    let extents = row.pending().and_then(Pending::extents);
    // Without a length it is beyond all bounds.
    if let (Some(extents), Some(_), Kind::Final { pending, .. }) = (extents, row.length, &mut row.kind) {
        let pending = pending.take();
        row.extents = extents;
        row.expires = None;
        return (row, pending);
    }
    (row, None)
}

fn part(id: &UploadId, row: &Row) -> Part {
    Part { id: id.clone(), bytes: bytes(row) }
}

/// What a part has for a final.
pub(crate) fn bytes(part: &Row) -> Bytes {
    if !part.is_complete() {
        return Bytes::Awaited(part.length);
    }
    // The file of an extent without bytes may never be made.
    Bytes::There(part.extents.iter().filter(|extent| extent.len > 0).copied().collect())
}
