//! Administration of a store in this process: one that no server has open, or a running server's own.

use std::path::{Path, absolute};

use tus_driver::Clock;
use tus_proto::{Failure, Now, UploadId};
use tus_redb::{CheckPlace, Finding, Store, StoreError};

use super::{
    AdminError, Administration, CheckPage, Content, Deleted, Extent, FindingDocument, Stats, Upload,
    UploadDetails, UploadPage, UploadQuery, documents,
};

/// A store that nobody else has open.
#[derive(Debug)]
pub struct Offline {
    store: Store,
    clock: Clock,
}

impl Offline {
    /// Administration of this store.
    pub fn new(store: Store) -> Self {
        let clock = Clock::start(store.time());
        Self { store, clock }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Administration for Offline {
    fn uploads(&self, query: &UploadQuery) -> Result<UploadPage, AdminError> {
        uploads(&self.store, query, self.clock.now())
    }

    fn upload(&self, id: &str) -> Result<UploadDetails, AdminError> {
        upload(&self.store, id, self.clock.now())
    }

    fn content(&self, id: &str) -> Result<Content, AdminError> {
        content(&self.store, id)
    }

    fn delete(&self, id: &str) -> Result<Deleted, AdminError> {
        let valid = named(id)?;
        let record = self.store.load(&valid).map_err(|failure| failed(&self.store, failure))?;
        let record = record.ok_or_else(|| AdminError::unknown(id))?;
        match self.store.delete(&valid).map_err(|failure| failed(&self.store, failure))? {
            true => Ok(Deleted { deleted: id.to_owned(), bytes: record.offset }),
            false => Err(AdminError::unknown(id)),
        }
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        stats(&self.store, self.clock.now())
    }

    fn check(&self, after: Option<&str>) -> Result<CheckPage, AdminError> {
        check(&self.store, after)
    }
}

pub(super) fn named(id: &str) -> Result<UploadId, AdminError> {
    UploadId::new(id).ok_or_else(|| AdminError::unknown(id))
}

pub(super) fn failed(store: &Store, failure: Failure) -> AdminError {
    let what = StoreError(failure);
    AdminError::Failed(match store.trouble() {
        Some(text) => format!("the store can't be read: {what}: {text}"),
        None => format!("the store can't be read: {what}"),
    })
}

pub(super) fn uploads(store: &Store, query: &UploadQuery, now: Now) -> Result<UploadPage, AdminError> {
    let page = store.query(&query.for_store(now)?).map_err(|failure| failed(store, failure))?;
    Ok(UploadPage {
        uploads: page.records.iter().map(|record| Upload::of(record, now)).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

pub(super) fn upload(store: &Store, id: &str, now: Now) -> Result<UploadDetails, AdminError> {
    let found = store.describe(&named(id)?).map_err(|failure| failed(store, failure))?;
    let found = found.ok_or_else(|| AdminError::unknown(id))?;
    let sha256 = store.stored_digest(&named(id)?).map_err(|failure| failed(store, failure))?;
    let located = found.extents.iter().filter(|extent| extent.committed > 0);
    let data = located.map(|extent| Extent {
        path: (!extent.in_records).then(|| shown(&extent.path)),
        length: extent.committed,
    });
    Ok(UploadDetails {
        upload: Upload::of(&found.record, now),
        metadata: documents::entries(&found.record.metadata),
        data: data.collect(),
        sha256: sha256.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
    })
}

/// A path that is right in any directory.
fn shown(path: &Path) -> String {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

pub(super) fn content(store: &Store, id: &str) -> Result<Content, AdminError> {
    let body = store.read(&named(id)?).map_err(|failure| failed(store, failure))?;
    let body = body.ok_or_else(|| AdminError::unknown(id))?;
    Ok(Content { length: body.record().offset, bytes: Box::new(body) })
}

pub(super) fn stats(store: &Store, now: Now) -> Result<Stats, AdminError> {
    let totals = store.totals(now.wall).map_err(|failure| failed(store, failure))?;
    let events = store.outbox_len().map_err(|failure| failed(store, failure))?;
    Ok(Stats {
        uploads: totals.uploads,
        finished: totals.finished,
        unfinished: totals.unfinished,
        expired: totals.expired,
        bytes: totals.bytes,
        missing: totals.missing,
        events,
        free: store.free_space(),
    })
}

pub(super) fn check(store: &Store, after: Option<&str>) -> Result<CheckPage, AdminError> {
    let place = match after {
        None => CheckPlace::default(),
        Some(text) => {
            text.parse().map_err(|error| AdminError::Malformed(format!("after={text}: {error}")))?
        }
    };
    let step = store.check_step(&place).map_err(|failure| failed(store, failure))?;
    Ok(CheckPage {
        uploads: step.uploads,
        bytes: step.bytes,
        findings: step.findings.iter().map(finding).collect(),
        next: step.next.map(|next| next.to_string()),
    })
}

/// The document of a finding about which nothing was done.
pub fn finding(finding: &Finding) -> FindingDocument {
    let (kind, id, path) = parts(finding);
    FindingDocument {
        kind: kind.to_owned(),
        id: id.map(ToString::to_string),
        path: path.map(|path| path.to_string_lossy().into_owned()),
        text: finding.to_string(),
        remedy: None,
    }
}

/// What a program may want to act on: the kind of a finding, and what it is about.
fn parts(finding: &Finding) -> (&'static str, Option<&UploadId>, Option<&Path>) {
    match finding {
        Finding::DamagedRecord { id } => ("damaged-record", Some(id), None),
        Finding::MissingFile { id, path } => ("missing-file", Some(id), Some(path)),
        Finding::ShortFile { id, path, .. } => ("short-file", Some(id), Some(path)),
        Finding::WrongCount { path, .. } => ("wrong-count", None, Some(path)),
        Finding::PendingUnlink { path } => ("condemned", None, Some(path)),
        Finding::WrongTombstone { id } => ("wrong-tombstone", Some(id), None),
        Finding::ForeignJournal { path } => ("foreign-journal", None, Some(path)),
        Finding::WrongExpiry { id } => ("wrong-expiry", Some(id), None),
        Finding::NotScattered { id } => ("not-scattered", Some(id), None),
        Finding::WrongDueEvent { id } => ("wrong-due-event", Some(id), None),
        Finding::DamagedEvent { .. } => ("damaged-event", None, None),
        Finding::WrongWaiting { id, .. } => ("wrong-waiting", Some(id), None),
        Finding::Stray { path } => ("stray", None, Some(path)),
        _ => ("other", None, None),
    }
}
