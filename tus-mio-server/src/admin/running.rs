//! Administration of a server that runs.

use std::sync::Arc;

use tus_driver::{Requests, Store};
use tus_proto::{Head, Response, WallTime};
use tus_redb::RedbStore;

use super::{
    AdminError, Administration, CheckPage, Content, Deleted, Deleter, Stats, Status, UploadDetails,
    UploadPage, UploadQuery, offline,
};
use crate::runtime::Shared;

/// A server's store and locks, and what else it shares.
pub(crate) struct Running {
    pub shared: Arc<Shared<RedbStore>>,
    /// The deletions under way.
    pub deletions: Arc<Requests<RedbStore>>,
}

impl Administration for Running {
    fn uploads(&self, query: &UploadQuery) -> Result<UploadPage, AdminError> {
        offline::uploads(self.shared.store.engine(), query, self.shared.clock.now())
    }

    fn upload(&self, id: &str) -> Result<UploadDetails, AdminError> {
        offline::upload(self.shared.store.engine(), id, self.shared.clock.now())
    }

    fn content(&self, id: &str) -> Result<Content, AdminError> {
        offline::content(self.shared.store.engine(), id)
    }

    fn delete(&self, id: &str) -> Result<Deleted, AdminError> {
        let shared = &*self.shared;
        let deleter = Deleter {
            store: &shared.store,
            requests: &self.deletions,
            clock: shared.clock,
            config: &shared.protocol,
            notify: &|event| shared.metrics.event(event),
        };
        deleter.delete(&offline::named(id)?)
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        offline::stats(self.shared.store.engine(), self.shared.clock.now())
    }

    fn check(&self, after: Option<&str>) -> Result<CheckPage, AdminError> {
        offline::check(self.shared.store.engine(), after)
    }
}

impl<S: Store> Status for Shared<S> {
    fn answer(&self, path: &str, head: &Head<'_>, date: WallTime) -> Option<Response> {
        self.status_answer(path, head, date)
    }
}

/// Administration of a store that says nothing of its uploads but to their clients.
pub(crate) struct Closed;

impl Closed {
    fn failed<T>() -> Result<T, AdminError> {
        Err(AdminError::Failed("the server's store can't be asked: ask it by tools of its own".into()))
    }
}

impl Administration for Closed {
    fn uploads(&self, _: &UploadQuery) -> Result<UploadPage, AdminError> {
        Self::failed()
    }

    fn upload(&self, _: &str) -> Result<UploadDetails, AdminError> {
        Self::failed()
    }

    fn content(&self, _: &str) -> Result<Content, AdminError> {
        Self::failed()
    }

    fn delete(&self, _: &str) -> Result<Deleted, AdminError> {
        Self::failed()
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        Self::failed()
    }

    fn check(&self, _: Option<&str>) -> Result<CheckPage, AdminError> {
        Self::failed()
    }
}
