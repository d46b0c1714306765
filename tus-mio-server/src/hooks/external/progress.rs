//! When `post-receive` is called: at most once in an interval for an upload, however many requests bring its bytes, and
//! never once it is told that the upload is complete or gone.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tus_proto::UploadId;

/// How many uploads are remembered before those are forgotten of which nothing was heard for a while.
const MANY: usize = 1024;

/// How long an upload is remembered at least: longer than a call may wait for a thread.
const MEMORY: Duration = Duration::from_secs(300);

/// What was told of which upload.
#[derive(Debug)]
pub(super) struct Progress {
    interval: Duration,
    uploads: Mutex<BTreeMap<UploadId, Upload>>,
    returned: Condvar,
}

#[derive(Debug)]
struct Upload {
    /// When the last call began, or the end was told.
    last: Instant,
    running: usize,
    ended: bool,
}

/// A call that is under way, until it is dropped.
pub(super) struct Running<'a> {
    progress: &'a Progress,
    id: UploadId,
}

impl Progress {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, uploads: Mutex::default(), returned: Condvar::new() }
    }

    /// Whether a call is due.
    pub(super) fn is_due(&self, id: &UploadId) -> bool {
        let uploads = self.lock();
        uploads.get(id).is_none_or(|upload| !upload.ended && upload.last.elapsed() >= self.interval)
    }

    /// Begins a call. `None` if none is due.
    pub(super) fn begin(&self, id: &UploadId) -> Option<Running<'_>> {
        let now = Instant::now();
        let mut uploads = self.lock();
        match uploads.get_mut(id) {
            Some(upload) if upload.ended || now.duration_since(upload.last) < self.interval => return None,
            Some(upload) => (upload.last, upload.running) = (now, upload.running + 1),
            None => {
                forget(&mut uploads, now, self.interval);
                uploads.insert(id.clone(), Upload { last: now, running: 1, ended: false });
            }
        }
        Some(Running { progress: self, id: id.clone() })
    }

    /// The end of an upload is about to be told: no call begins any more, and those under way are waited for.
    pub(super) fn end(&self, id: &UploadId) {
        let now = Instant::now();
        let mut uploads = self.lock();
        forget(&mut uploads, now, self.interval);
        let ended = Upload { last: now, running: 0, ended: true };
        let upload = uploads.entry(id.clone()).or_insert(ended);
        (upload.ended, upload.last) = (true, now);
        while uploads.get(id).is_some_and(|upload| upload.running > 0) {
            uploads = self.returned.wait(uploads).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UploadId, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(uploads: &mut BTreeMap<UploadId, Upload>, now: Instant, interval: Duration) {
    if uploads.len() >= MANY {
        let memory = MEMORY.max(interval);
        uploads.retain(|_, upload| upload.running > 0 || now.duration_since(upload.last) < memory);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(upload) = self.progress.lock().get_mut(&self.id) {
            upload.running -= 1;
        }
        self.progress.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn once_an_interval_and_never_after_the_end() {
        let id = |name| UploadId::new(name).unwrap();
        let progress = Progress::new(Duration::from_secs(3600));
        let call = progress.begin(&id("a")).unwrap();
        assert!(progress.begin(&id("a")).is_none());
        assert!(!progress.is_due(&id("a")) && progress.is_due(&id("b")));
        assert!(progress.begin(&id("b")).is_some(), "another upload");
        let ended = std::thread::scope(|scope| {
            let ending = scope.spawn(|| progress.end(&id("a")));
            while !progress.lock().get(&id("a")).unwrap().ended {
                std::thread::yield_now();
            }
            let waits = !ending.is_finished();
            drop(call);
            waits
        });
        assert!(ended, "the call under way is waited for");
        let progress = Progress::new(Duration::ZERO);
        assert!(progress.begin(&id("a")).is_some() && progress.begin(&id("a")).is_some());
        progress.end(&id("a"));
        assert!(progress.begin(&id("a")).is_none());
    }
}
