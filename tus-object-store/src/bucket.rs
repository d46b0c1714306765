//! What is asked of an object store, as small as this crate needs it: one trait, which the clouds' clients, the
//! memory and the simulated bucket implement. Nothing here retries: a caller must see each answer that was lost.

use std::{fmt, future::Future, ops::Range, pin::Pin, sync::Arc};

use bytes::Bytes;
use tus_proto::WallTime;

/// An answer on its way.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// The name of an object, without the bucket and the prefix in it. One that begins with `/` counts from the bucket's
/// root.
pub type Key = Arc<str>;

/// What names one state of an object: an ETag, a generation, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The ETag, as the store wrote it.
    pub e_tag: Option<String>,
    /// The generation or version, for stores that compare that.
    pub version: Option<String>,
}

impl Version {
    /// A version of these two names.
    pub fn new(e_tag: Option<String>, version: Option<String>) -> Self {
        Self { e_tag, version }
    }
}

/// On which condition an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On none: for keys that only one writer ever writes.
    None,
    /// That there is no such object.
    Absent,
    /// That the object is still this one.
    Is(Version),
}

/// A part of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Its number, counted from 0.
    pub number: usize,
    /// How many bytes it has.
    pub size: u64,
    /// What completes it.
    pub tag: String,
}

impl Part {
    /// A part.
    pub fn new(number: usize, size: u64, tag: String) -> Self {
        Self { number, size, tag }
    }
}

/// Some of the parts of a multipart upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartPage {
    /// The parts.
    pub parts: Vec<Part>,
    /// There are others past the last.
    pub more: bool,
}

impl PartPage {
    /// A page.
    pub fn new(parts: Vec<Part>, more: bool) -> Self {
        Self { parts, more }
    }
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such object, or no such multipart upload.
    Missing,
    /// The condition does not hold; or it held, and the answer to an earlier attempt was lost. Read the object to know.
    Condition,
    /// The request may have had its effect, or may have it later: no answer, a 5xx, a time-out. Worth another try.
    Unclear(String),
    /// The store will not have it: no permission, a malformed request. Another try is in vain.
    Denied(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such object"),
            Self::Condition => f.write_str("the object is not the one that was expected"),
            Self::Unclear(why) => write!(f, "the object store did not answer, or failed: {why}"),
            Self::Denied(why) => write!(f, "the object store rejected the request: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Bytes in the pieces that they came in; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Payload(Arc<[Bytes]>);

impl Payload {
    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one piece.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.0 {
            [only] => only.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(Arc::new([bytes]))
    }
}

/// An object that was read.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which state of it this is.
    pub version: Version,
}

/// A bucket, or a part of one. Reads and listings show what was acknowledged before they began.
pub trait Bucket: fmt::Debug + Send + Sync + 'static {
    /// Reads an object.
    fn get(&self, key: Key) -> Reply<Object>;

    /// Reads bytes of an object. Fewer come only where it ends.
    fn get_range(&self, key: Key, range: Range<u64>) -> Reply<Bytes>;

    /// How many bytes an object has.
    fn size(&self, key: Key) -> Reply<u64>;

    /// Writes an object as a whole.
    fn put(&self, key: Key, payload: Payload, condition: Condition) -> Reply<Version>;

    /// Copies an object within the bucket.
    fn copy(&self, from: Key, to: Key) -> Reply<()>;

    /// Removes an object. One that is not there is no error.
    fn delete(&self, key: Key) -> Reply<()>;

    /// The first `limit` keys below the folder `prefix`, in the order of their bytes, past `after` if that is given.
    fn list(&self, prefix: Key, after: Option<Key>, limit: usize) -> Reply<Vec<Key>>;

    /// Begins a multipart upload, and answers its name.
    fn create_multipart(&self, key: Key) -> Reply<String>;

    /// Writes a part, counted from 0, and answers what completes it.
    fn put_part(&self, key: Key, upload: String, number: usize, payload: Payload) -> Reply<String>;

    /// Makes an object of the first parts. [`Fault::Missing`] if the multipart upload is over, however it ended.
    fn complete_multipart(&self, key: Key, upload: String, parts: Vec<String>) -> Reply<()>;

    /// Forgets a multipart upload and its parts.
    fn abort_multipart(&self, key: Key, upload: String) -> Reply<()>;

    /// Parts that a multipart upload has, in order, past the number `after` if that is given. [`Fault::Missing`] if the
    /// multipart upload is over. Only what another program has begun is looked at so.
    fn list_parts(&self, key: Key, upload: String, after: Option<usize>) -> Reply<PartPage> {
        let _ = (key, upload, after);
        Box::pin(async { Err(Fault::Denied("this kind of store lists no parts".into())) })
    }

    /// When an object was written; `None` if that is not known.
    fn modified(&self, key: Key) -> Reply<Option<WallTime>> {
        let _ = key;
        Box::pin(async { Ok(None) })
    }
}
