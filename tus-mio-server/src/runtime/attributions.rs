//! Which request made an event true, for hooks that are shown it. Known from when a change is about to be made until
//! its event is delivered, in this process alone and not without a bound: an event whose request was forgotten is
//! delivered without it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tus_driver::{EventKind, EventWitness};
use tus_proto::{RequestInfo, UploadId};

use super::mailbox::lock;

/// How many requests are remembered. A request has 100 fields at the most, and is usually some hundred bytes.
const MOST: usize = 4096;

/// The requests of events that were not delivered yet; the oldest are forgotten first.
#[derive(Default)]
pub(crate) struct Attributions(Mutex<State>);

#[derive(Default)]
struct State {
    requests: BTreeMap<(UploadId, EventKind), Arc<RequestInfo>>,
    order: VecDeque<(UploadId, EventKind)>,
}

impl Attributions {
    /// The request that made this event of this upload true.
    pub(super) fn get(&self, id: &UploadId, kind: EventKind) -> Option<Arc<RequestInfo>> {
        lock(&self.0).requests.get(&(id.clone(), kind)).cloned()
    }
}

/// The witness of one request.
pub(super) struct Witness {
    pub attributions: Arc<Attributions>,
    /// Where the request comes from.
    pub remote: Option<SocketAddr>,
}

impl EventWitness for Witness {
    fn expect(&self, id: &UploadId, kind: EventKind, request: &Arc<RequestInfo>) {
        let request = RequestInfo { remote: self.remote, ..RequestInfo::clone(request) };
        self.attributions.note(id, kind, Arc::new(request));
    }
}

impl Attributions {
    fn note(&self, id: &UploadId, kind: EventKind, request: Arc<RequestInfo>) {
        let mut state = lock(&self.0);
        let key = (id.clone(), kind);
        if state.requests.insert(key.clone(), request).is_none() {
            state.order.push_back(key);
        }
        if state.order.len() > MOST
            && let Some(oldest) = state.order.pop_front()
        {
            state.requests.remove(&oldest);
        }
    }
}

impl fmt::Debug for Attributions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_memory_has_a_bound() {
        let attributions = Attributions::default();
        let id = |number: usize| UploadId::new(&number.to_string()).unwrap();
        let request = Arc::new(RequestInfo::default());
        for number in 0..=MOST {
            attributions.note(&id(number), EventKind::Completed, request.clone());
            attributions.note(&id(number), EventKind::Completed, request.clone());
        }
        let known = |number| attributions.get(&id(number), EventKind::Completed).is_some();
        assert!(!known(0) && known(1) && known(MOST));
        assert_eq!(attributions.get(&id(1), EventKind::Terminated), None);
        let state = lock(&attributions.0);
        assert_eq!((state.requests.len(), state.order.len()), (MOST, MOST));
    }
}
