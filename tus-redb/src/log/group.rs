//! Groups as bytes. The number of each kind of step never changes its meaning, so a log of an earlier version is read as it
//! was written.

use tus_driver::EventKinds as Events;
use tus_proto::{Fence, UploadId, WallTime};

use crate::{
    codec::{Decoder, Encoder},
    files::file_id::FileId,
    records::{
        copy::{CopyProgress, CopyState},
        record_codec::{decode_explicit, encode_explicit},
    },
    tables::{
        Keeps,
        step::{Concatenation, Step},
    },
};

/// A group as it stands in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) sequence: u64,
    /// The store may be opened for other things by now.
    pub(crate) keeps: Keeps,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn encode_group(sequence: u64, keeps: Keeps, steps: &[Step], out: &mut Encoder) {
    let Keeps {
        events: Events { created, completed, terminated },
        fragmented,
        now,
        finished_expire,
        digests,
    } = keeps;
    // A bit more of the first: groups of a version that knows no creations are read as they were meant.
    let kinds = u8::from(completed)
        | u8::from(created) << 1
        | u8::from(finished_expire.is_some()) << 2
        | u8::from(digests) << 3;
    out.number(sequence).byte(kinds).byte(terminated.into()).byte(fragmented.into());
    out.number(now);
    if let Some(at) = finished_expire {
        out.number(at);
    }
    out.number(steps.len() as u64);
    for step in steps {
        encode_step(step, out);
    }
}

/// About how many bytes these steps take.
pub(crate) fn room(steps: &[Step]) -> usize {
    const FIELDS: usize = 256;
    let bytes = steps.iter().map(|step| match step {
        Step::Commit { inline: Some(bytes), .. } => FIELDS + bytes.len(),
        Step::Create { metadata, inline, .. } => {
            FIELDS + metadata.len() + inline.as_ref().map_or(0, Vec::len)
        }
        _ => FIELDS,
    });
    FIELDS + bytes.sum::<usize>()
}

/// A group that the log holds; `None` if the bytes can't be one.
pub(crate) fn decode_group(bytes: &[u8]) -> Option<Group> {
    decode(bytes, true)
}

pub(super) fn decode(payload: &[u8], timed: bool) -> Option<Group> {
    let mut payload = Decoder(payload);
    let sequence = payload.number()?;
    let kinds = payload.byte().filter(|kinds| *kinds < 16)?;
    let events = Events { created: kinds & 2 != 0, completed: kinds & 1 != 0, terminated: payload.flag()? };
    let fragmented = payload.flag()?;
    let now = if timed { payload.number()? } else { 0 };
    let finished_expire = if kinds & 4 != 0 { Some(payload.number()?) } else { None };
    let keeps = Keeps { events, fragmented, now, finished_expire, digests: kinds & 8 != 0 };
    let count = payload.number()?;
    let steps = (0..count).map(|_| decode_step(&mut payload)).collect::<Option<_>>()?;
    payload.is_empty().then_some(Group { sequence, keeps, steps })
}

/// The one kind of step that names no upload, of format 3.
const ACKNOWLEDGE: u8 = 0;

/// A creation with [`Explicit`](tus_proto::Explicit), and a commit that completes such an upload: kinds of their own, so
/// that a journal from before there were any is read as it was written.
const CREATE_EXPLICIT: u8 = 32;
const COMMIT_FINISH: u8 = 33;
/// A digest, which such a journal has none of, either.
const DIGEST: u8 = 34;
/// A creation with the upload's first bytes: neither has it these.
const CREATE_INLINE: u8 = 35;

fn encode_step(step: &Step, out: &mut Encoder) {
    match step {
        Step::Create { id, created, length, metadata, expires, partial, file, explicit, inline } => {
            let kind = match (inline, explicit) {
                (Some(_), _) => CREATE_INLINE,
                (None, Some(_)) => CREATE_EXPLICIT,
                (None, None) => 1,
            };
            out.byte(kind).text(id.as_str()).number(created.as_micros()).optional(*length).text(metadata);
            out.optional(expires.map(WallTime::as_micros));
            out.byte((*partial).into()).optional(file.map(|file| file.0));
            if inline.is_some() {
                out.byte(explicit.is_some().into());
            }
            if let Some(explicit) = explicit {
                encode_explicit(explicit, out);
            }
            if let Some(bytes) = inline {
                out.bytes(mutation!("first-bytes-not-in-log", bytes, &[]));
            }
        }
        Step::Commit { id, fence, from, to, length, expires, finish, inline } => {
            let kind = if *finish { COMMIT_FINISH } else { 2 };
            out.byte(kind).text(id.as_str()).number(fence.0).number(*from).number(*to).optional(*length);
            let inline = mutation!("small-not-in-log", inline.as_ref(), None);
            out.optional(expires.map(WallTime::as_micros)).byte(inline.is_some().into());
            if let Some(bytes) = inline {
                out.bytes(bytes);
            }
        }
        Step::NewExtent { id, fence, at, file } => {
            out.byte(3).text(id.as_str()).number(fence.0).number(*at).number(file.0);
        }
        Step::Delete { id, fence } => {
            out.byte(4).text(id.as_str()).number(fence.0);
        }
        Step::Expire { id, before, remember } => {
            out.byte(5).text(id.as_str()).number(before.as_micros()).number(remember.as_micros());
        }
        Step::Forget { id } => {
            out.byte(6).text(id.as_str());
        }
        Step::Concat(wanted) => {
            out.byte(7).text(wanted.id.as_str()).number(wanted.created.as_micros()).text(&wanted.metadata);
            out.text(&wanted.header).optional(wanted.expires.map(WallTime::as_micros)).optional(wanted.max);
            out.byte(wanted.delete_parts.into()).number(wanted.max_waiting);
            out.number(wanted.parts.len() as u64);
            for part in &wanted.parts {
                out.text(part.as_str());
            }
        }
        Step::Consolidation { id, state } => {
            let (tag, file, copied) = match state {
                CopyState::Begun(file) => (0, file, 0),
                CopyState::Copied(CopyProgress { file, copied }) => (1, file, *copied),
                CopyState::Whole(file) => (2, file, 0),
                CopyState::GivenUp(file) => (3, file, 0),
            };
            out.byte(8).text(id.as_str()).byte(tag).number(file.0).number(copied);
        }
        Step::Acknowledge { id: None, number } => {
            out.byte(ACKNOWLEDGE).number(*number);
        }
        Step::Acknowledge { id: Some(id), number } => {
            out.byte(9).text(id.as_str()).number(*number);
        }
        Step::Annotate { id, number, note } => {
            out.byte(11).text(id.as_str()).number(*number).bytes(note);
        }
        Step::Consume { id } => {
            out.byte(12).text(id.as_str());
        }
        Step::Digest { id, created, sha256 } => {
            let digest = sha256.as_ref().map_or(&[][..], |digest| digest);
            out.byte(DIGEST).text(id.as_str()).number(created.as_micros()).bytes(digest);
        }
        Step::Postpone { id, number, until } => {
            out.byte(10).text(id.as_str()).number(*number).number(until.as_micros());
        }
    }
}

fn decode_step(bytes: &mut Decoder<'_>) -> Option<Step> {
    let kind = bytes.byte()?;
    if kind == ACKNOWLEDGE {
        return Some(Step::Acknowledge { id: None, number: bytes.number()? });
    }
    let id = UploadId::new(bytes.text()?)?;
    Some(match kind {
        1 | CREATE_EXPLICIT | CREATE_INLINE => Step::Create {
            id,
            created: WallTime::from_micros(bytes.number()?),
            length: bytes.optional()?,
            metadata: bytes.text()?.to_owned(),
            expires: bytes.optional()?.map(WallTime::from_micros),
            partial: bytes.flag()?,
            file: bytes.optional()?.map(FileId),
            explicit: if kind == CREATE_EXPLICIT || (kind == CREATE_INLINE && bytes.flag()?) {
                Some(decode_explicit(bytes)?)
            } else {
                None
            },
            inline: if kind == CREATE_INLINE { Some(bytes.bytes()?.to_owned()) } else { None },
        },
        2 | COMMIT_FINISH => Step::Commit {
            id,
            fence: Fence(bytes.number()?),
            from: bytes.number()?,
            to: bytes.number()?,
            length: bytes.optional()?,
            expires: bytes.optional()?.map(WallTime::from_micros),
            finish: kind == COMMIT_FINISH,
            inline: if bytes.flag()? { Some(bytes.bytes()?.to_owned()) } else { None },
        },
        3 => Step::NewExtent {
            id,
            fence: Fence(bytes.number()?),
            at: bytes.number()?,
            file: FileId(bytes.number()?),
        },
        4 => Step::Delete { id, fence: Fence(bytes.number()?) },
        5 => Step::Expire {
            id,
            before: WallTime::from_micros(bytes.number()?),
            remember: WallTime::from_micros(bytes.number()?),
        },
        6 => Step::Forget { id },
        7 => Step::Concat(decode_concat(id, bytes)?),
        8 => Step::Consolidation { id, state: decode_stage(bytes)? },
        11 => Step::Annotate { id, number: bytes.number()?, note: bytes.bytes()?.to_owned() },
        12 => Step::Consume { id },
        DIGEST => Step::Digest {
            id,
            created: WallTime::from_micros(bytes.number()?),
            sha256: match bytes.bytes()? {
                [] => None,
                digest => Some(digest.try_into().ok()?),
            },
        },
        9 => Step::Acknowledge { id: Some(id), number: bytes.number()? },
        10 => {
            let (number, until) = (bytes.number()?, WallTime::from_micros(bytes.number()?));
            Step::Postpone { id, number, until }
        }
        _ => return None,
    })
}

fn decode_stage(bytes: &mut Decoder<'_>) -> Option<CopyState> {
    let tag = bytes.byte()?;
    let (file, copied) = (FileId(bytes.number()?), bytes.number()?);
    Some(match tag {
        0 => CopyState::Begun(file),
        1 => CopyState::Copied(CopyProgress { file, copied }),
        2 => CopyState::Whole(file),
        3 => CopyState::GivenUp(file),
        _ => return None,
    })
}

fn decode_concat(id: UploadId, bytes: &mut Decoder<'_>) -> Option<Concatenation> {
    let created = WallTime::from_micros(bytes.number()?);
    let metadata = bytes.text()?.to_owned();
    let header = bytes.text()?.to_owned();
    let expires = bytes.optional()?.map(WallTime::from_micros);
    let max = bytes.optional()?;
    let delete_parts = bytes.flag()?;
    let max_waiting = bytes.number()?;
    let count = bytes.number()?;
    let parts = (0..count).map(|_| UploadId::new(bytes.text()?)).collect::<Option<_>>()?;
    Some(Concatenation { id, created, metadata, header, expires, parts, max, delete_parts, max_waiting })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEEPS: Keeps = Keeps {
        events: Events { created: true, completed: true, terminated: false },
        fragmented: true,
        now: 11,
        finished_expire: Some(12),
        digests: true,
    };

    fn created_with(id: &UploadId, explicit: Option<tus_proto::Explicit>) -> Step {
        Step::Create {
            id: id.clone(),
            created: WallTime::from_micros(3),
            length: Some(9),
            metadata: "k".to_owned(),
            expires: None,
            partial: false,
            file: Some(FileId(9)),
            explicit,
            inline: Some(b"123".to_vec()),
        }
    }

    /// Kinds 1 and 32 are those of logs that are there already.
    #[test]
    fn a_creation_without_a_body_is_written_as_ever() {
        let created = |explicit: Option<tus_proto::Explicit>| {
            let mut step = created_with(&UploadId::new("a").unwrap(), explicit);
            if let Step::Create { inline, .. } = &mut step {
                *inline = None;
            }
            step
        };
        let explicit = tus_proto::Explicit::new(true);
        for (step, kind, rest) in [(created(None), 1, &[][..]), (created(Some(explicit)), 32, &[1, 0])] {
            let (mut before, mut now) = (Encoder::default(), Encoder::default());
            before.byte(kind).text("a").number(3).optional(Some(9)).text("k").optional(None);
            before.byte(0).optional(Some(9));
            before.0.extend(rest);
            encode_step(&step, &mut now);
            assert_eq!(now.0, before.0);
            assert_eq!(decode_step(&mut Decoder(&before.0)), Some(step));
        }
    }

    fn steps() -> Vec<Step> {
        let id = UploadId::new("a-1").unwrap();
        vec![
            Step::Create {
                id: id.clone(),
                created: WallTime::from_micros(3),
                length: None,
                metadata: "k".to_owned(),
                expires: Some(WallTime::from_micros(5)),
                partial: true,
                file: Some(FileId(8)),
                explicit: None,
                inline: None,
            },
            created_with(&id, None),
            created_with(&id, Some(tus_proto::Explicit::new(true))),
            Step::Create {
                id: id.clone(),
                created: WallTime::from_micros(3),
                length: Some(4),
                metadata: String::new(),
                expires: None,
                partial: false,
                file: None,
                explicit: Some(tus_proto::Explicit::new(false)),
                inline: None,
            },
            Step::Concat(Concatenation {
                id: id.clone(),
                created: WallTime::from_micros(4),
                metadata: "k".to_owned(),
                header: "final; /b /b".to_owned(),
                expires: Some(WallTime::from_micros(6)),
                parts: vec![UploadId::new("b").unwrap(); 2],
                max: Some(7),
                delete_parts: true,
                max_waiting: 8,
            }),
            commit(&id, None),
            Step::Commit {
                id: id.clone(),
                fence: Fence(2),
                from: 9,
                to: 9,
                length: Some(9),
                expires: None,
                finish: true,
                inline: None,
            },
            commit(&id, Some(b"123456789".to_vec())),
            Step::NewExtent { id: id.clone(), fence: Fence(3), at: 9, file: FileId(10) },
            Step::Delete { id: id.clone(), fence: Fence(4) },
            Step::Expire {
                id: id.clone(),
                before: WallTime::from_micros(6),
                remember: WallTime::from_micros(7),
            },
            Step::Forget { id: id.clone() },
            Step::Acknowledge { id: None, number: 9 },
            Step::Acknowledge { id: Some(id.clone()), number: 9 },
            Step::Annotate { id: id.clone(), number: 9, note: b"a note".to_vec() },
            Step::Consume { id: id.clone() },
            Step::Postpone { id: id.clone(), number: 9, until: WallTime::from_micros(10) },
            Step::Consolidation { id: id.clone(), state: CopyState::Begun(FileId(1)) },
            Step::Consolidation {
                id: id.clone(),
                state: CopyState::Copied(CopyProgress { file: FileId(1), copied: 2 }),
            },
            Step::Consolidation { id: id.clone(), state: CopyState::Whole(FileId(1)) },
            Step::Consolidation { id: id.clone(), state: CopyState::GivenUp(FileId(1)) },
            Step::Digest { id: id.clone(), created: WallTime::from_micros(3), sha256: Some([7; 32]) },
            Step::Digest { id, created: WallTime::from_micros(3), sha256: None },
        ]
    }

    fn commit(id: &UploadId, inline: Option<Vec<u8>>) -> Step {
        let (from, to, length) = (0, 9, Some(9));
        Step::Commit {
            id: id.clone(),
            fence: Fence(2),
            from,
            to,
            length,
            expires: None,
            finish: false,
            inline,
        }
    }

    #[test]
    fn a_group_comes_back_as_it_was() {
        let mut bytes = Encoder::default();
        encode_group(1, KEEPS, &steps(), &mut bytes);
        let bytes = bytes.0;
        assert_eq!(decode_group(&bytes), Some(Group { sequence: 1, keeps: KEEPS, steps: steps() }));
        for cut in 0..bytes.len() {
            assert_eq!(decode_group(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
