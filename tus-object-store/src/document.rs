//! The record of an upload as it lies in the bucket: JSON, small, written as a whole by compare-and-set. It is the only
//! truth about the upload; bytes are objects and parts that it names.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tus_driver::EventKind;
use tus_proto::{Algorithm, Concat, Digest, Explicit, Failure, Record, UploadId, WallTime};

use crate::{bucket::Key, keys};

/// How many nonces of earlier states a record remembers: enough to find an own write that others have followed since.
const TRAIL: usize = 8;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    format: u32,
    pub id: String,
    /// How often it was written, and random bits of the last writes: no two states have the same bytes, so no two have
    /// the same ETag.
    pub counter: u64,
    pub trail: Vec<u64>,
    /// The highest number under which anybody has had the lock.
    pub fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// A request at another server waits for the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    pub state: State,
    pub created: u64,
    pub offset: u64,
    pub length: Option<u64>,
    pub metadata: String,
    pub expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concat: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit: Option<Said>,
    pub extents: Vec<Extent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    #[serde(default)]
    pub last_event: u64,
    /// Finals that are, or are to be, made of these bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finals: Vec<String>,
    /// It is to be published, and this is its mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<String>,
    /// Of what a final is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
}

/// The lock, for as long as its holder shows that it lives: each of its writes changes `beat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Which opening of which server.
    pub owner: u64,
    pub fence: u64,
    pub beat: u64,
    pub ttl_ms: u64,
    /// Where its holder can be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub by: u64,
    pub offset: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Live,
    /// Removed, because a client said so or because its final has its bytes. The record goes at this time.
    Deleted {
        until: u64,
    },
    /// Its time was over. Remembered until then.
    Expired {
        until: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Partial,
    Final(String),
}

/// What is said of an upload that its length alone does not complete ([`Explicit`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub complete: bool,
    /// What it must hash to: the algorithm's name, and the digest in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<(String, String)>,
}

impl Said {
    fn of(explicit: &Explicit) -> Self {
        let digest = explicit.digest.as_deref();
        let digest = digest
            .map(|(algorithm, digest)| (algorithm.name().to_owned(), STANDARD.encode(digest.as_bytes())));
        Self { complete: explicit.complete, digest }
    }

    fn explicit(&self) -> Explicit {
        let mut explicit = Explicit::new(self.complete);
        explicit.digest = self.digest.as_ref().and_then(|(name, digest)| {
            let digest = Digest::new(&STANDARD.decode(digest).ok()?)?;
            Some(Box::new((Algorithm::named(name)?, digest)))
        });
        explicit
    }
}

/// Committed bytes that lie one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// How many of the object's first bytes.
    pub len: u64,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// An object. It may have more bytes, which are garbage.
    Object(String),
    /// Parts of a multipart upload that is to become the object.
    Parts { key: String, upload: String, parts: Vec<String>, open: bool },
    /// In a finished part's record, as its tail.
    Record(String),
}

/// The last committed bytes, too few for a part. The next writer takes them up and writes them again, with its own;
/// until that is committed they stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tail {
    Inline(String),
    Object { key: String, len: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub number: u64,
    pub completed: bool,
    pub attempts: u32,
    pub due: u64,
    /// Which opening delivers it, unless that does not come to it.
    pub by: u64,
    pub hint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub ids: Vec<String>,
    pub delete: bool,
    pub max: Option<u64>,
    pub pending: bool,
}

impl Tail {
    pub(crate) fn inline(bytes: &[u8]) -> Self {
        Self::Inline(STANDARD.encode(bytes))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(text) => {
                let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
                (text.len() / 4 * 3 - padding) as u64
            }
            Self::Object { len, .. } => *len,
        }
    }

    /// The bytes that lie in the record.
    pub(crate) fn bytes(&self) -> Result<Bytes, Failure> {
        match self {
            Self::Inline(text) => STANDARD.decode(text).map(Into::into).map_err(|_| Failure::Io),
            Self::Object { .. } => Err(Failure::Io),
        }
    }
}

impl Document {
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            format: FORMAT,
            id: record.id.as_str().into(),
            counter: 0,
            trail: Vec::new(),
            fence: 0,
            lease: None,
            wanted: None,
            state: State::Live,
            created: record.created.as_micros(),
            offset: record.offset,
            length: record.length,
            metadata: record.metadata.clone(),
            expires: record.expires.map(WallTime::as_micros),
            concat: record.concat.as_ref().map(|concat| match concat {
                Concat::Partial => Kind::Partial,
                Concat::Final(value) => Kind::Final(value.clone()),
            }),
            explicit: record.explicit.as_ref().map(Said::of),
            extents: Vec::new(),
            tail: None,
            events: Vec::new(),
            last_event: 0,
            finals: Vec::new(),
            publication: None,
            parts: None,
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.format == FORMAT {
            Ok(document)
        } else {
            Err(format!("its format is {}, and this program reads format {FORMAT}", document.format))
        }
    }

    /// The bytes of the next state, marked with a nonce.
    pub(crate) fn encode(&mut self, nonce: u64) -> Result<Bytes, Failure> {
        self.counter += 1;
        self.trail.push(nonce);
        let excess = self.trail.len().saturating_sub(TRAIL);
        self.trail.drain(..excess);
        serde_json::to_vec(self).map(Into::into).map_err(|_| Failure::Io)
    }

    /// The record as the protocol knows it.
    pub(crate) fn record(&self, id: &UploadId) -> Record {
        Record {
            id: id.clone(),
            created: WallTime::from_micros(self.created),
            offset: self.offset,
            length: self.length,
            metadata: self.metadata.clone(),
            expires: self.expires.map(WallTime::from_micros),
            concat: self.concat.as_ref().map(|kind| match kind {
                Kind::Partial => Concat::Partial,
                Kind::Final(value) => Concat::Final(value.clone()),
            }),
            explicit: self.explicit.as_ref().map(Said::explicit),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.concat == Some(Kind::Partial)
    }

    pub(crate) fn is_final(&self) -> bool {
        matches!(self.concat, Some(Kind::Final(_)))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.length == Some(self.offset) && self.explicit.as_ref().is_none_or(|said| said.complete)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.pending)
    }

    /// Adds an event, which the opening `by` delivers. Its number is the time, so that those of all uploads have an order.
    pub(crate) fn post(&mut self, kind: EventKind, (by, now): (u64, WallTime), hint: String) {
        self.last_event = now.as_micros().max(self.last_event + 1);
        let completed = kind == EventKind::Completed;
        self.events.push(Event { number: self.last_event, completed, attempts: 0, due: 0, by, hint });
    }

    /// No more parts are added to the multipart upload that an earlier writer has begun: it may have sent parts that
    /// no record names, and may still send them.
    pub(crate) fn seal(&mut self) {
        if let Some(Extent { place: Place::Parts { open, .. }, .. }) = self.extents.last_mut() {
            *open = false;
        }
    }

    /// The object of the tail, if it has one of its own.
    pub(crate) fn tail_key(&self) -> Option<Key> {
        match &self.tail {
            Some(Tail::Object { key, .. }) => Some(keys::data(&self.id, key)),
            _ => None,
        }
    }

    /// Whether an object is part of the upload.
    pub(crate) fn names(&self, key: &Key) -> bool {
        let in_extents = self.extents.iter().any(|extent| match &extent.place {
            Place::Object(name) | Place::Parts { key: name, .. } => keys::data(&self.id, name) == *key,
            Place::Record(_) => false,
        });
        in_extents || self.tail_key().as_ref() == Some(key)
    }
}
