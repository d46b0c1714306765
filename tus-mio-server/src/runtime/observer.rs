//! What the store's jobs tell metrics and log.

use std::{sync::Arc, time::Duration};

use tus_redb::{Observer, Refusal, Swept};

use super::metrics::Metrics;

/// Counts and logs what the store does.
pub(crate) struct StoreObserver(pub(crate) Arc<Metrics>);

impl Observer for StoreObserver {
    fn committed(&self, changes: usize, took: Duration) {
        self.0.committed(changes, took);
    }

    fn finals_finished(&self, count: u64) {
        self.0.finished(count);
    }

    fn swept(&self, swept: &Swept) {
        let Swept { expired, finished, .. } = *swept;
        if expired > 0 {
            self.0.swept(expired);
            tracing::info!(uploads = expired, "expired");
        }
        if finished > 0 {
            self.0.host.finished_expired(finished);
            tracing::info!(uploads = finished, "finished uploads expired");
        }
    }

    fn refused(&self, why: Refusal) {
        self.0.host.refused(why.into());
    }

    fn error(&self, text: &str) {
        tracing::error!("the store: {text}");
    }
}
