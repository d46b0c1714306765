//! Reading records, and changing them by compare-and-set. A change is told from an attempt whose answer was lost by the
//! nonces that a record remembers: what a store answers to a conditional write is not believed before that.

use std::time::Duration;

use tus_driver::LookupError;
use tus_proto::{Failure, Instant, UploadId};

use crate::{
    bucket::{Condition, Fault, Version},
    cache::Base,
    document::Document,
    keys,
    requests::{PATIENCE, Pauses, lock},
    shared::Shared,
};

/// What a change does with the record that it was shown. It may be shown another, and decide anew.
pub(crate) enum Step<R> {
    /// Write what was made of it.
    Write(R),
    /// Leave it as it is.
    Leave(R),
}

/// What came of a change.
pub(crate) struct Done<R> {
    pub value: R,
    /// When the first attempt to write it was sent; `None` if nothing was written.
    pub sent: Option<Instant>,
    /// The record now.
    pub document: Document,
}

/// Why there was no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no record.
    Missing,
    /// Whether it was made is not known where that is [`Failure::Unavailable`].
    Failed(Failure),
}

impl From<Trouble> for LookupError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing => Self::Missing,
            Trouble::Failed(failure) => Self::Failed(failure),
        }
    }
}

pub(crate) fn failure(fault: &Fault) -> Failure {
    match fault {
        Fault::Unclear(_) => Failure::Unavailable,
        Fault::Denied(_) | Fault::Missing | Fault::Condition => Failure::Io,
    }
}

impl Shared {
    /// Reads a record, whatever its state.
    pub(crate) async fn read(&self, id: &UploadId) -> Result<Document, Trouble> {
        let until = self.requests.now().after(PATIENCE);
        let base = self.read_base(id, until).await?;
        let document = base.document.clone();
        lock(&self.cache).put(id, base.document, base.version, base.size);
        Ok(document)
    }

    async fn read_base(&self, id: &UploadId, until: Instant) -> Result<Base, Trouble> {
        let key = keys::record(id.as_str());
        let read = self.requests.clear_by(until, Duration::ZERO, |bucket| bucket.get(key.clone())).await;
        let object = match read {
            Ok(object) => object,
            Err(Fault::Missing) => return Err(Trouble::Missing),
            Err(fault) => {
                tracing::warn!(upload = id.as_str(), error = %fault, "can't read a record");
                return Err(Trouble::Failed(failure(&fault)));
            }
        };
        let document = Document::decode(&object.bytes).map_err(|error| {
            tracing::error!(upload = id.as_str(), error, "a record can't be understood");
            Trouble::Failed(Failure::Io)
        })?;
        self.notice(id, &document);
        Ok(Base { document, version: object.version, size: object.bytes.len(), sure: true })
    }

    /// Makes a record. `false` if there is one.
    pub(crate) async fn create(&self, id: &UploadId, mut document: Document) -> Result<bool, Failure> {
        let nonce = self.requests.random();
        let bytes = document.encode(nonce)?;
        let until = self.requests.now().after(PATIENCE);
        let mut pauses = Pauses::new(until);
        let key = keys::record(id.as_str());
        let size = bytes.len();
        loop {
            let put = self.requests.bucket.put(key.clone(), bytes.clone().into(), Condition::Absent);
            match self.requests.once(Duration::ZERO, put).await {
                Ok(version) => {
                    lock(&self.cache).put(id, document, version, size);
                    return Ok(true);
                }
                Err(Fault::Condition) => match self.read_base(id, until).await {
                    Ok(base) => return Ok(base.document.trail.contains(&nonce)),
                    // Two that met: the other has not won.
                    Err(Trouble::Missing) => {}
                    Err(Trouble::Failed(failure)) => return Err(failure),
                },
                Err(Fault::Unclear(_)) => {}
                Err(fault) => {
                    tracing::warn!(upload = id.as_str(), error = %fault, "can't make a record");
                    return Err(failure(&fault));
                }
            }
            if !pauses.pause(&self.requests).await {
                return Err(Failure::Unavailable);
            }
        }
    }

    /// Changes a record. `change` decides on the record as it is now; where that turns out to be another, it decides
    /// again, and what it had made of the first is nowhere.
    pub(crate) async fn update<R>(
        &self,
        id: &UploadId,
        mut change: impl FnMut(&mut Document) -> Step<R>,
    ) -> Result<Done<R>, Trouble> {
        let until = self.requests.now().after(PATIENCE);
        let mut pauses = Pauses::new(until);
        let cached = lock(&self.cache).get(id);
        let mut base = match cached {
            Some(base) => base,
            None => self.read_base(id, until).await?,
        };
        loop {
            let mut next = base.document.clone();
            let value = match change(&mut next) {
                Step::Leave(_) if !base.sure => {
                    base = self.read_base(id, until).await?;
                    continue;
                }
                Step::Leave(value) => {
                    let document = base.document.clone();
                    lock(&self.cache).put(id, base.document, base.version, base.size);
                    return Ok(Done { value, sent: None, document });
                }
                Step::Write(value) => value,
            };
            lock(&self.cache).remove(id);
            // From here on the record as the grant has left it may be outdated, and others may see that.
            if let Some(held) = lock(&self.held).get_mut(id) {
                held.reload = None;
            }
            let sent = self.requests.now();
            match self.write(id, &base, &mut next, until, &mut pauses).await? {
                Written::Yes(version, size) => {
                    lock(&self.cache).put(id, next.clone(), version, size);
                    return Ok(Done { value, sent: Some(sent), document: next });
                }
                Written::Earlier(now) => {
                    // Others have changed it since. What they made of ours is the record now.
                    let document = now.document.clone();
                    lock(&self.cache).put(id, now.document, now.version, now.size);
                    return Ok(Done { value, sent: Some(sent), document });
                }
                Written::No(other) => base = other,
            }
        }
    }

    /// Writes `next` in place of `base`, until it is known whether it was.
    async fn write(
        &self,
        id: &UploadId,
        base: &Base,
        next: &mut Document,
        until: Instant,
        pauses: &mut Pauses,
    ) -> Result<Written, Trouble> {
        let nonce = self.requests.random();
        let bytes = next.encode(nonce).map_err(Trouble::Failed)?;
        let (key, size) = (keys::record(id.as_str()), bytes.len());
        loop {
            let condition =
                mutation!("unconditional-put", Condition::Is(base.version.clone()), Condition::None);
            let put = self.requests.bucket.put(key.clone(), bytes.clone().into(), condition);
            match self.requests.once(Duration::ZERO, put).await {
                Ok(version) => return Ok(Written::Yes(version, size)),
                Err(Fault::Denied(why)) => {
                    tracing::warn!(upload = id.as_str(), error = why, "can't write a record");
                    return Err(Trouble::Failed(Failure::Io));
                }
                Err(Fault::Unclear(_)) if mutation!("lost-answer-believed", false, true) => {
                    return Ok(Written::Yes(base.version.clone(), size));
                }
                Err(Fault::Condition | Fault::Unclear(_) | Fault::Missing) => {}
            }
            // It may be ours, another server's, or as it was: then two writes met, or ours was not made, or is still on its
            // way. That one can't come after the next, which has the same condition.
            let now = self.read_base(id, until).await?;
            if mutation!("nonce-not-read-back", now.document.trail.contains(&nonce), false) {
                return Ok(match now.document.trail.last() == Some(&nonce) {
                    true => Written::Yes(now.version, now.size),
                    false => Written::Earlier(now),
                });
            }
            if now.version != base.version {
                return Ok(Written::No(now));
            }
            if !pauses.pause(&self.requests).await {
                return Err(Trouble::Failed(Failure::Unavailable));
            }
        }
    }
}

enum Written {
    Yes(Version, usize),
    /// Yes, and others have written since.
    Earlier(Base),
    /// Another server has written.
    No(Base),
}
