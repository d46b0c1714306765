//! Which request made an event true, for hooks that are shown it. Known from when a change is about to be made until
//! its event is delivered, in this process alone and not without a bound: an event whose request was forgotten is
//! delivered without it.
//!
//! Where a hook is asked before the answer that completes an upload, the event of that completion waits for it: until the
//! request that made it is over.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tus_proto::{RequestInfo, UploadId};

use crate::{EventKind, EventWitness, mailbox::lock};

/// How many requests are remembered. A request has 100 fields at the most, and is usually some hundred bytes.
const MOST: usize = 4096;

/// The requests of events that were not delivered yet; the oldest are forgotten first.
#[derive(Default)]
pub struct Attributions(Mutex<State>);

#[derive(Default)]
struct State {
    requests: BTreeMap<(UploadId, EventKind), Arc<RequestInfo>>,
    order: VecDeque<(UploadId, EventKind)>,
    /// Uploads that are, or are about to be, complete, and the witness of the request that makes them so.
    finishing: BTreeMap<UploadId, u64>,
    last_witness: u64,
}

impl Attributions {
    /// A witness for one request, which comes from `remote`. If `holds`, the event of a completion waits until the
    /// witness is dropped, with its session.
    pub fn witness(self: &Arc<Self>, remote: Option<SocketAddr>, holds: bool) -> Arc<dyn EventWitness> {
        let mut state = lock(&self.0);
        state.last_witness += 1;
        let number = state.last_witness;
        drop(state);
        Arc::new(Witness { attributions: self.clone(), number, remote, holds })
    }

    /// Whether the event of this upload's completion must wait.
    pub fn is_finishing(&self, id: &UploadId) -> bool {
        lock(&self.0).finishing.contains_key(id)
    }

    /// The request that made this event of this upload true.
    pub fn get(&self, id: &UploadId, kind: EventKind) -> Option<Arc<RequestInfo>> {
        lock(&self.0).requests.get(&(id.clone(), kind)).cloned()
    }
}

/// The witness of one request, which ends with it.
struct Witness {
    attributions: Arc<Attributions>,
    number: u64,
    /// Where the request comes from.
    remote: Option<SocketAddr>,
    /// Whether the completion waits for the request's end.
    holds: bool,
}

impl Drop for Witness {
    fn drop(&mut self) {
        if self.holds {
            let mut state = lock(&self.attributions.0);
            state.finishing.retain(|_, number| *number != self.number);
        }
    }
}

impl EventWitness for Witness {
    fn expect(&self, id: &UploadId, kind: EventKind, request: &Arc<RequestInfo>) {
        if self.holds && kind == EventKind::Completed {
            lock(&self.attributions.0).finishing.insert(id.clone(), self.number);
        }
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

    #[test]
    fn a_completion_waits_until_its_request_is_over() {
        let attributions = Arc::new(Attributions::default());
        let id = UploadId::new("a").unwrap();
        let request = Arc::new(RequestInfo::default());
        for holds in [true, false] {
            let witness = attributions.witness(None, holds);
            witness.expect(&id, EventKind::Created, &request);
            assert!(!attributions.is_finishing(&id));
            witness.expect(&id, EventKind::Completed, &request);
            assert_eq!(attributions.is_finishing(&id), holds);
            drop(witness);
            assert!(!attributions.is_finishing(&id));
        }
    }
}
