//! Records as bytes, in one of several layouts.

use tus_proto::{Algorithm, Digest, Explicit, Fence, UploadId, WallTime};

use crate::{
    codec::{Decoder, Encoder},
    files::file_id::{Extent, FileId},
    records::record::{Bytes, Kind, Part, Pending, Row},
};

/// The layout of a row's bytes, in their first byte: rows of several layouts may lie side by side.
const LAYOUT: u8 = 2;

/// The layout of a row that has [`Row::explicit`]: the same, and that after it.
const LAYOUT_EXPLICIT: u8 = 3;

/// The layout of a row that has [`Row::sha256`]: [`LAYOUT`], whether there is [`Row::explicit`], that, and the digest.
const LAYOUT_DIGEST: u8 = 4;

impl Row {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoder::default();
        let layout = match (&self.sha256, &self.explicit) {
            (Some(_), _) => LAYOUT_DIGEST,
            (None, Some(_)) => LAYOUT_EXPLICIT,
            (None, None) => LAYOUT,
        };
        bytes.byte(layout).number(self.created.as_micros()).optional(self.length).number(self.fence.0);
        encode_pieces(&self.extents, &mut bytes);
        bytes.text(&self.metadata).optional(self.expires.map(WallTime::as_micros));
        self.kind.encode(&mut bytes);
        if layout == LAYOUT_DIGEST {
            bytes.byte(self.explicit.is_some().into());
        }
        if let Some(explicit) = &self.explicit {
            encode_explicit(explicit, &mut bytes);
        }
        if let Some(digest) = &self.sha256 {
            bytes.bytes(digest);
        }
        bytes.0
    }

    /// `None` if the bytes are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Decoder(bytes);
        let layout = bytes.byte()?;
        if !matches!(layout, LAYOUT | LAYOUT_EXPLICIT | LAYOUT_DIGEST) {
            return None;
        }
        let created = WallTime::from_micros(bytes.number()?);
        let length = bytes.optional()?;
        let fence = Fence(bytes.number()?);
        let extents = decode_pieces(&mut bytes)?;
        let metadata = bytes.text()?.to_owned();
        let expires = bytes.optional()?.map(WallTime::from_micros);
        let kind = Kind::decode(&mut bytes)?;
        let is_explicit = layout == LAYOUT_EXPLICIT || (layout == LAYOUT_DIGEST && bytes.flag()?);
        let explicit = if is_explicit { Some(decode_explicit(&mut bytes)?) } else { None };
        let sha256 = if layout == LAYOUT_DIGEST { Some(bytes.bytes()?.try_into().ok()?) } else { None };
        bytes.is_empty().then_some(Self {
            created,
            length,
            fence,
            extents,
            metadata,
            expires,
            kind,
            explicit,
            sha256,
        })
    }
}

impl Kind {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Plain => {
                out.byte(0);
            }
            Self::Partial => {
                out.byte(1);
            }
            Self::Final { header, pending: None } => {
                out.byte(2).text(header);
            }
            Self::Final { header, pending: Some(pending) } => {
                out.byte(3).text(header).byte(pending.delete_parts.into()).number(pending.parts.len() as u64);
                for part in &pending.parts {
                    part.encode(out);
                }
            }
        }
    }

    fn decode(bytes: &mut Decoder<'_>) -> Option<Self> {
        Some(match bytes.byte()? {
            0 => Self::Plain,
            1 => Self::Partial,
            2 => Self::Final { header: bytes.text()?.to_owned(), pending: None },
            3 => {
                let header = bytes.text()?.to_owned();
                let delete_parts = bytes.flag()?;
                let count = bytes.number()?;
                let parts = (0..count).map(|_| Part::decode(bytes)).collect::<Option<_>>()?;
                Self::Final { header, pending: Some(Pending { parts, delete_parts }) }
            }
            _ => return None,
        })
    }
}

impl Part {
    fn encode(&self, out: &mut Encoder) {
        out.text(self.id.as_str());
        match &self.bytes {
            Bytes::Awaited(length) => {
                out.byte(0).optional(*length);
            }
            Bytes::There(extents) => encode_pieces(extents, out.byte(1)),
        }
    }

    fn decode(bytes: &mut Decoder<'_>) -> Option<Self> {
        let id = UploadId::new(bytes.text()?)?;
        let bytes = match bytes.byte()? {
            0 => Bytes::Awaited(bytes.optional()?),
            1 => Bytes::There(decode_pieces(bytes)?),
            _ => return None,
        };
        Some(Self { id, bytes })
    }
}

pub(crate) fn encode_explicit(explicit: &Explicit, out: &mut Encoder) {
    out.byte(explicit.complete.into());
    match explicit.digest.as_deref() {
        None => {
            out.byte(0);
        }
        Some((algorithm, digest)) => {
            out.byte(1).text(algorithm.name()).bytes(digest.as_bytes());
        }
    }
}

pub(crate) fn decode_explicit(bytes: &mut Decoder<'_>) -> Option<Explicit> {
    let mut explicit = Explicit::new(bytes.flag()?);
    if bytes.flag()? {
        let (algorithm, digest) = (Algorithm::named(bytes.text()?)?, Digest::new(bytes.bytes()?)?);
        explicit.digest = Some(Box::new((algorithm, digest)));
    }
    Some(explicit)
}

fn encode_pieces(extents: &[Extent], out: &mut Encoder) {
    out.number(extents.len() as u64);
    for extent in extents {
        out.number(extent.file.0).number(extent.len);
    }
}

fn decode_pieces(bytes: &mut Decoder<'_>) -> Option<Vec<Extent>> {
    let count = bytes.number()?;
    (0..count).map(|_| Some(Extent { file: FileId(bytes.number()?), len: bytes.number()? })).collect()
}
