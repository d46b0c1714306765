//! What is counted for the host's sake: uploads not created because of a limit, what uploads take of the disk, finished
//! uploads that expired, and those that are published.

use std::{fmt, sync::OnceLock};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use tus_driver::metrics::{counter, labelled};
use tus_redb::{RedbStore, Refusal, WeakRedbStore};

use super::gauge;

/// Up to how many completion events are counted at a scrape: that takes milliseconds.
const MOST_OUTSTANDING: u64 = 4096;

/// Why an upload was not created.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// `--min-free-space`.
    FreeSpace,
    /// `--max-store-size`.
    StoreSize,
    /// `--max-uploads-per-hour`.
    Rate,
    /// `--max-metadata-size`.
    Metadata,
}

/// The series.
pub(crate) struct HostMetrics {
    refused: [Counter; 4],
    finished_expired: Counter,
    published: Counter,
    failed: Counter,
    outstanding: Gauge,
    stored: Gauge,
    announced: Gauge,
    /// The store, if it is one that can be asked, and whether its uploads are published. Weak: the store holds these metrics.
    store: OnceLock<(WeakRedbStore, bool)>,
}

impl HostMetrics {
    pub(super) fn new(tus: &mut Registry) -> Self {
        let limits = ["free_space", "store_size", "rate", "metadata"];
        let help = "Uploads not created because of a limit, by that";
        let refused = labelled(tus, "uploads_refused", help, "limit", limits);
        let help = "Finished uploads removed because their time was over";
        let finished_expired = counter(tus, "finished_uploads_expired", help);
        let published = counter(tus, "uploads_published", "Finished uploads put under names of their own");
        let help = "Attempts to publish an upload that failed; each is made again later";
        let failed = counter(tus, "publish_failures", help);
        let help =
            "Finished uploads whose publication, or whose hook after it, is outstanding; counted up to 4096";
        let outstanding = gauge(tus, "publications_outstanding", help);
        let bytes = |tus: &mut Registry, name, help| {
            let gauge = Gauge::default();
            tus.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let help = "Bytes that uploads have; without --max-store-size and --reserve-announced as last measured, \
                    after a scrape and at most once a minute; -1 before that";
        let stored = bytes(tus, "store_size", help);
        let help = "Bytes that unfinished uploads have announced and not sent, counted as those";
        let announced = bytes(tus, "store_announced", help);
        let store = OnceLock::new();
        Self { refused, finished_expired, published, failed, outstanding, stored, announced, store }
    }

    /// An upload was not created.
    pub(crate) fn refused(&self, limit: Limit) {
        self.refused[limit as usize].inc();
    }

    /// A sweep removed so many finished uploads.
    pub(crate) fn finished_expired(&self, uploads: usize) {
        self.finished_expired.inc_by(uploads as u64);
    }

    /// What counts publications and failures to publish.
    pub(crate) fn publishing(&self) -> (Counter, Counter) {
        (self.published.clone(), self.failed.clone())
    }

    /// Which store is asked at each scrape, and whether its uploads are published.
    pub(crate) fn ask(&self, store: &RedbStore, publishes: bool) {
        // Only a second one could fail, and the first one stands.
        let _ = self.store.set((store.downgrade(), publishes));
    }

    /// Brings the gauges up to date.
    pub(super) fn refresh(&self) {
        let Some((store, publishes)) = self.store.get() else { return };
        let Some(store) = store.upgrade() else { return };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let taken = store.space_taken();
        self.stored.set(taken.map_or(-1, |(stored, _)| signed(stored)));
        self.announced.set(taken.map_or(-1, |(_, announced)| signed(announced)));
        if *publishes && let Ok(Some(count)) = store.engine().count_completions(MOST_OUTSTANDING) {
            self.outstanding.set(signed(count));
        }
    }
}

impl From<Refusal> for Limit {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::FreeSpace => Self::FreeSpace,
            _ => Self::StoreSize,
        }
    }
}

impl fmt::Debug for HostMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMetrics").finish_non_exhaustive()
    }
}
