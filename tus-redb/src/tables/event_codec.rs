//! Events as bytes: when it is due, how often it was put off, what it is, and its note.

use tus_driver::{EventKind, OutboxEvent};
use tus_proto::{Concat, Record, UploadId, WallTime};

use crate::{
    codec::{Decoder, Encoder},
    error::Error,
    records::record_codec::{decode_explicit, encode_explicit},
};

/// An event in its table: from when on it is due, how often it was put off, what it is, and its note.
pub(crate) struct Stored {
    pub(crate) due: u64,
    pub(crate) attempts: u32,
    pub(crate) event: OutboxEvent,
    pub(crate) note: Option<Vec<u8>>,
}

pub(crate) fn damaged(number: u64) -> Error {
    Error::damaged(&format!("event {number}"))
}

/// In an event's kind: its record has [`Explicit`](tus_proto::Explicit).
const EXPLICIT: u8 = 0x80;

/// Before what an event is: from when on it is due, and how often it was put off.
pub(super) fn encode(due: u64, OutboxEvent { kind, record, attempts, .. }: &OutboxEvent) -> Vec<u8> {
    let mut bytes = Encoder::default();
    bytes.number(due).number((*attempts).into());
    let explicit = if record.explicit.is_some() { EXPLICIT } else { 0 };
    bytes.byte(
        explicit
            | match kind {
                EventKind::Completed => 0,
                EventKind::Terminated => 1,
                EventKind::Created => 2,
            },
    );
    bytes.text(record.id.as_str()).number(record.created.as_micros()).number(record.offset);
    bytes.optional(record.length).text(&record.metadata).optional(record.expires.map(WallTime::as_micros));
    match &record.concat {
        None => bytes.byte(0),
        Some(Concat::Partial) => bytes.byte(1),
        Some(Concat::Final(header)) => {
            bytes.byte(2).text(header);
            &mut bytes
        }
    };
    if let Some(explicit) = &record.explicit {
        encode_explicit(explicit, &mut bytes);
    }
    bytes.0
}

/// From when on an event is due.
pub(super) fn due_of(bytes: &[u8]) -> Option<u64> {
    Decoder(bytes).number()
}

/// `None` if the bytes are damaged.
pub(crate) fn stored(number: u64, bytes: &[u8]) -> Option<Stored> {
    let mut bytes = Decoder(bytes);
    let (due, attempts) = (bytes.number()?, u32::try_from(bytes.number()?).ok()?);
    let (event, note) = split(number, bytes.0)?;
    Some(Stored { due, attempts, event, note: note.map(<[u8]>::to_vec) })
}

/// An event's bytes with a note after them.
pub(super) fn noted(event: Vec<u8>, note: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Encoder(event);
    if let Some(note) = note {
        bytes.bytes(note);
    }
    bytes.0
}

/// Whether the bytes are an event's, and from when on it is due.
pub(crate) fn check(number: u64, bytes: &[u8]) -> Option<u64> {
    stored(number, bytes).map(|stored| stored.due)
}

/// What an event is. `None` if the bytes are damaged.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Option<OutboxEvent> {
    split(number, bytes).map(|(event, _)| event)
}

/// What an event is, and the note after it, if it has one.
fn split(number: u64, bytes: &[u8]) -> Option<(OutboxEvent, Option<&[u8]>)> {
    let mut bytes = Decoder(bytes);
    let tag = bytes.byte()?;
    let explicit = tag & EXPLICIT != 0;
    let kind = match tag & !EXPLICIT {
        0 => EventKind::Completed,
        1 => EventKind::Terminated,
        2 => EventKind::Created,
        _ => return None,
    };
    let mut record = Record {
        id: UploadId::new(bytes.text()?)?,
        created: WallTime::from_micros(bytes.number()?),
        offset: bytes.number()?,
        length: bytes.optional()?,
        metadata: bytes.text()?.to_owned(),
        expires: bytes.optional()?.map(WallTime::from_micros),
        concat: match bytes.byte()? {
            0 => None,
            1 => Some(Concat::Partial),
            2 => Some(Concat::Final(bytes.text()?.to_owned())),
            _ => return None,
        },
        explicit: None,
    };
    if explicit {
        record.explicit = Some(decode_explicit(&mut bytes)?);
    }
    let note = if bytes.is_empty() { None } else { Some(bytes.bytes()?) };
    bytes.is_empty().then_some((OutboxEvent { number, kind, record, attempts: 0 }, note))
}
