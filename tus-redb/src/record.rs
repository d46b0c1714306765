//! A record as it lies in the database: what [`Record`] tells, and where the bytes are.

use tus_proto::{Fence, Record, UploadId, WallTime};

use crate::{
    codec::{Decoder, Encoder},
    files::FileId,
};

/// An upload's row. Its offset is the sum of its extents, and is kept nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) created: WallTime,
    pub(crate) length: Option<u64>,
    /// The highest fencing number that was committed.
    pub(crate) fence: Fence,
    /// The body, in order. Only the last extent grows.
    pub(crate) extents: Vec<Piece>,
    pub(crate) metadata: String,
    /// When it expires. The expiry index has an entry for exactly that time.
    pub(crate) expires: Option<WallTime>,
}

/// The first `len` bytes of a data file, as part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) file: FileId,
    pub(crate) len: u64,
}

/// The layout of a row's bytes, in their first byte: rows of several layouts may lie side by side.
const LAYOUT: u8 = 1;

impl Row {
    pub(crate) fn offset(&self) -> u64 {
        self.extents.iter().map(|piece| piece.len).sum()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.length == Some(self.offset())
    }

    pub(crate) fn record(&self, id: &UploadId) -> Record {
        Record {
            id: id.clone(),
            created: self.created,
            offset: self.offset(),
            length: self.length,
            metadata: self.metadata.clone(),
            expires: self.expires,
            concat: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoder::default();
        bytes.byte(LAYOUT).number(self.created.as_micros()).optional(self.length).number(self.fence.0);
        bytes.number(self.extents.len() as u64);
        for piece in &self.extents {
            bytes.number(piece.file.0).number(piece.len);
        }
        bytes.text(&self.metadata).optional(self.expires.map(WallTime::as_micros));
        bytes.0
    }

    /// None where the bytes are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Decoder(bytes);
        if bytes.byte()? != LAYOUT {
            return None;
        }
        let created = WallTime::from_micros(bytes.number()?);
        let length = bytes.optional()?;
        let fence = Fence(bytes.number()?);
        let count = bytes.number()?;
        let piece =
            |bytes: &mut Decoder<'_>| Some(Piece { file: FileId(bytes.number()?), len: bytes.number()? });
        let extents = (0..count).map(|_| piece(&mut bytes)).collect::<Option<_>>()?;
        let metadata = bytes.text()?.to_owned();
        let expires = bytes.optional()?.map(WallTime::from_micros);
        bytes.is_empty().then_some(Self { created, length, fence, extents, metadata, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_encoding_and_damage_is_noticed() {
        let row = Row {
            created: WallTime::from_micros(7),
            length: Some(1 << 40),
            fence: Fence(9),
            extents: vec![Piece { file: FileId(1), len: 2 }, Piece { file: FileId(3), len: 0 }],
            metadata: "filename d29ybGQ=".to_owned(),
            expires: Some(WallTime::from_micros(11)),
        };
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes), Some(row.clone()));
        assert_eq!(row.offset(), 2);
        let deferred = Row { length: None, extents: vec![], expires: None, ..row };
        assert_eq!(Row::decode(&deferred.encode()), Some(deferred));
        for cut in 0..bytes.len() {
            assert_eq!(Row::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Row::decode(&[&bytes[..], &[0]].concat()), None);
    }
}
