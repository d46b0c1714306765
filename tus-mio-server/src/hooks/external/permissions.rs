//! What `pre-request` has permitted, and may be used again: a handler says so by `Cache-Control: max-age`. Rejections are
//! never kept.
//!
//! A permission holds for a request that is the same in all a handler sees, but for what changes from one piece of an
//! upload to the next. The upload's metadata is part of that, and whether it is there: so a change of metadata
//! and a deletion end it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tus_proto::{Algorithm, Hasher, HookCall, Record};

/// How many permissions are kept.
const MOST: usize = 10_000;

/// Fields that differ between requests that are otherwise the same.
const IGNORED: [&str; 4] = ["Upload-Offset", "Content-Length", "Upload-Checksum", "X-Request-ID"];

/// Permissions by the digest of their requests: one that is found is of the very same request, whoever made it.
#[derive(Default)]
pub(super) struct Permissions(Mutex<State>);

#[derive(Default)]
struct State {
    until: BTreeMap<[u8; 32], Instant>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
}

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Permissions {
    /// Whether this request was permitted, and still is.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.lock().until.get(&key.0).is_some_and(|until| *until > Instant::now())
    }

    /// Keeps a permission. The oldest makes room.
    pub(super) fn keep(&self, key: Key, time: Duration) {
        let Some(until) = Instant::now().checked_add(time) else { return };
        let mut state = self.lock();
        if state.until.insert(key.0, until).is_none() {
            state.order.push_back(key.0);
        }
        if state.order.len() > MOST
            && let Some(oldest) = state.order.pop_front()
        {
            state.until.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions").finish_non_exhaustive()
    }
}

impl Key {
    /// The key of a request; `None` if it is not one that `pre-request` is asked for.
    pub(super) fn of(call: &HookCall) -> Option<Self> {
        let HookCall::Incoming { request, id, upload, parts } = call else { return None };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut add = |bytes: &[u8]| {
            // The length tells where one ends and the next begins.
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        add(request.method.as_bytes());
        add(request.target.as_bytes());
        add(format!("{:?}", request.remote.map(|remote| remote.ip())).as_bytes());
        let shown = |id: &str, upload: Option<&Record>| {
            let upload = upload.map(|upload| {
                (upload.created.as_micros(), upload.metadata.clone(), upload.length, upload.concat.clone())
            });
            format!("{id} {upload:?}")
        };
        add(shown(id.as_ref().map(|id| id.as_str()).unwrap_or_default(), upload.as_ref()).as_bytes());
        for part in parts {
            add(shown(part.id.as_str(), part.upload.as_ref()).as_bytes());
        }
        for (name, value) in &request.fields {
            if !IGNORED.iter().any(|ignored| ignored.eq_ignore_ascii_case(name)) {
                add(name.to_ascii_lowercase().as_bytes());
                add(value);
            }
        }
        hasher.finish().as_bytes().try_into().ok().map(Self)
    }
}
