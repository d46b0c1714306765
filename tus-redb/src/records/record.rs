//! A row of the database: a [`Record`], and where its bytes are. Its encoding is in `record_codec.rs`.

use std::collections::BTreeSet;

use tus_proto::{Concat, Explicit, Fence, Record, UploadId, WallTime};

use crate::files::file_id::Extent;

/// An upload's row. Its offset is the sum of its extents, and is kept nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) created: WallTime,
    pub(crate) length: Option<u64>,
    /// The highest fencing number that was committed.
    pub(crate) fence: Fence,
    /// The body, in order. Only the last extent grows.
    pub(crate) extents: Vec<Extent>,
    pub(crate) metadata: String,
    /// When it expires. The expiry index has an entry for exactly that time.
    pub(crate) expires: Option<WallTime>,
    pub(crate) kind: Kind,
    /// Whether it is complete, for an upload that its length alone does not complete.
    pub(crate) explicit: Option<Explicit>,
    /// SHA-256 of all its bytes, once that was computed. Means nothing while the upload is not complete.
    pub(crate) sha256: Option<Sha256>,
}

/// A SHA-256 digest.
pub(crate) type Sha256 = [u8; 32];

/// What an upload is in a concatenation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Partial,
    Final {
        /// `Upload-Concat` as it was sent.
        header: String,
        /// There until all parts are finished. The row has no extents as long.
        pending: Option<Pending>,
    },
}

/// What a final is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// In order. The same upload may stand several times.
    pub(crate) parts: Vec<Part>,
    /// Whether the parts go once the final is complete.
    pub(crate) delete_parts: bool,
}

/// A part of a pending final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) id: UploadId,
    pub(crate) bytes: Bytes,
}

/// What a pending final has of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Nothing yet; the length where it is known.
    Awaited(Option<u64>),
    /// All of it, by references of its own: the part may be deleted.
    There(Vec<Extent>),
}

/// The longest upload the protocol can speak of, in bytes.
const MAX_LENGTH: u64 = i64::MAX as u64;

impl Row {
    pub(crate) fn offset(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len).sum()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.length == Some(self.offset()) && self.explicit.as_ref().is_none_or(|explicit| explicit.complete)
    }

    /// What requests and hooks see. Not when a finished upload expires: for them it is there until it is removed.
    pub(crate) fn record(&self, id: &UploadId) -> Record {
        Record { expires: self.expires.filter(|_| !self.is_finished()), ..self.listed(id) }
    }

    /// What an operator sees.
    pub(crate) fn listed(&self, id: &UploadId) -> Record {
        Record {
            id: id.clone(),
            created: self.created,
            offset: self.offset(),
            length: self.length,
            metadata: self.metadata.clone(),
            expires: self.expires,
            concat: match &self.kind {
                Kind::Plain => None,
                Kind::Partial => Some(Concat::Partial),
                Kind::Final { header, .. } => Some(Concat::Final(header.clone())),
            },
            explicit: self.explicit.clone(),
        }
    }

    /// Whether it is complete and no part of another: its time is then that of [`Options::finished_expiry`](crate::Options).
    pub(crate) fn is_finished(&self) -> bool {
        !self.is_part() && self.is_complete()
    }

    pub(crate) fn is_part(&self) -> bool {
        self.kind == Kind::Partial
    }

    pub(crate) fn is_final(&self) -> bool {
        matches!(self.kind, Kind::Final { .. })
    }

    /// What it is to be made of, if it is a final and that is not all there.
    pub(crate) fn pending(&self) -> Option<&Pending> {
        match &self.kind {
            Kind::Final { pending, .. } => pending.as_ref(),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn pending_mut(&mut self) -> Option<&mut Pending> {
        match &mut self.kind {
            Kind::Final { pending, .. } => pending.as_mut(),
            _ => None,
        }
    }

    /// All references to data files: those of its body, and those of the finished parts of a pending final.
    pub(crate) fn references(&self) -> impl Iterator<Item = Extent> {
        let parts = self.pending().into_iter().flat_map(|pending| &pending.parts);
        self.extents.iter().chain(parts.flat_map(Part::extents)).copied()
    }
}

impl Pending {
    /// How long the final will be; `None` while that of a part is not known, or where it is beyond all bounds.
    pub(crate) fn length(&self) -> Option<u64> {
        sum(self.parts.iter().map(Part::length))
    }

    /// What the final is made of; `None` while a part is awaited.
    pub(crate) fn extents(&self) -> Option<Vec<Extent>> {
        let awaits = self.parts.iter().any(|part| matches!(part.bytes, Bytes::Awaited(_)));
        (!awaits).then(|| self.parts.iter().flat_map(Part::extents).copied().collect())
    }

    /// The parts' ids, each once.
    pub(crate) fn ids(&self) -> BTreeSet<&UploadId> {
        self.parts.iter().map(|part| &part.id).collect()
    }
}

/// How long several uploads are together; `None` if that can't be told.
pub(crate) fn sum(mut lengths: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    lengths.try_fold(0, |sum: u64, length| sum.checked_add(length?)).filter(|sum| *sum <= MAX_LENGTH)
}

impl Part {
    fn length(&self) -> Option<u64> {
        match &self.bytes {
            Bytes::Awaited(length) => *length,
            Bytes::There(extents) => Some(extents.iter().map(|extent| extent.len).sum()),
        }
    }

    pub(crate) fn extents(&self) -> &[Extent] {
        match &self.bytes {
            Bytes::Awaited(_) => &[],
            Bytes::There(extents) => extents,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tus_proto::{Algorithm, Digest};

    use super::*;
    use crate::files::file_id::FileId;

    #[test]
    fn rows_survive_encoding_and_damage_is_noticed() {
        let row = Row {
            created: WallTime::from_micros(7),
            length: Some(1 << 40),
            fence: Fence(9),
            extents: vec![Extent { file: FileId(1), len: 2 }, Extent { file: FileId(3), len: 0 }],
            metadata: "filename d29ybGQ=".to_owned(),
            expires: Some(WallTime::from_micros(11)),
            kind: Kind::Plain,
            explicit: None,
            sha256: None,
        };
        let mut hashed = Explicit::new(true);
        hashed.digest = Digest::new(&[7; 20]).map(|digest| Box::new((Algorithm::Sha1, digest)));
        assert_eq!(row.offset(), 2);
        let deferred = Row { length: None, extents: vec![], expires: None, ..row.clone() };
        let pending = Pending { parts: parts(), delete_parts: true };
        let made_of = |pending| Kind::Final { header: "final; /a".to_owned(), pending };
        for row in [
            Row { kind: Kind::Partial, ..row.clone() },
            Row { kind: made_of(None), ..row.clone() },
            Row { explicit: Some(Explicit::new(false)), ..row.clone() },
            Row { explicit: Some(hashed.clone()), ..row.clone() },
            Row { explicit: Some(hashed), sha256: Some([9; 32]), ..row.clone() },
            Row { sha256: Some([0; 32]), ..row.clone() },
            Row { kind: made_of(Some(pending)), ..deferred.clone() },
            row,
            deferred,
        ] {
            let bytes = row.encode();
            assert_eq!(Row::decode(&bytes), Some(row));
            for cut in 0..bytes.len() {
                assert_eq!(Row::decode(&bytes[..cut]), None, "cut at {cut}");
            }
            assert_eq!(Row::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    fn parts() -> Vec<Part> {
        let id = UploadId::new("a").unwrap();
        let extents = vec![Extent { file: FileId(4), len: 6 }, Extent { file: FileId(5), len: 1 }];
        [Bytes::Awaited(None), Bytes::Awaited(Some(3)), Bytes::There(extents)]
            .map(|bytes| Part { id: id.clone(), bytes })
            .into()
    }

    #[test]
    fn a_final_is_as_long_as_its_parts_together_where_that_can_be_told() {
        let [unknown, three, seven] = parts().try_into().unwrap();
        let made_of = |parts: &[&Part]| Pending {
            parts: parts.iter().copied().cloned().collect(),
            delete_parts: false,
        };
        assert_eq!(made_of(&[&unknown, &three]).length(), None);
        let awaiting = made_of(&[&seven, &three, &seven]);
        assert_eq!((awaiting.length(), awaiting.extents()), (Some(17), None));
        let whole = made_of(&[&seven, &seven]);
        assert_eq!((whole.length(), whole.extents().unwrap().len()), (Some(14), 4));
        let huge = |len| Part { bytes: Bytes::Awaited(Some(len)), ..three.clone() };
        assert_eq!(made_of(&[&huge(MAX_LENGTH - 3), &three]).length(), Some(MAX_LENGTH));
        assert_eq!(made_of(&[&huge(MAX_LENGTH - 2), &three]).length(), None);
        assert_eq!(made_of(&[&huge(MAX_LENGTH), &huge(MAX_LENGTH), &three]).length(), None);
    }
}
