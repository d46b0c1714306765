//! Servers that reach each other. A lease says where its holder can be asked: a newcomer asks it to yield, a HEAD to commit
//! what has arrived. Nothing depends on an answer: without one, a newcomer waits as if there were no peers, and HEAD tells
//! the last commit.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tus_driver::{Caller, Inbox, LockService};
use tus_proto::{Fence, LockCall, LockEvent, OpId, Owner, UploadId};

use crate::{BucketStore, document::Document, requests::lock, shared::Shared};

/// How long a HEAD waits for the commit of another server's writer.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(900);

/// How long a holder may take to give a lease back before the asking server goes on without an answer.
const YIELD_WAIT: Duration = Duration::from_secs(5);

/// How many uploads may have HEADs between their two steps.
const HEADS: usize = 4_096;

/// What one server asks another about an upload that the other has the lease of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerQuestion {
    /// Commit what has arrived, and go on.
    Checkpoint,
    /// Give the lease back: a request waits that goes on at this offset, if that is known.
    Yield(Option<u64>),
}

/// A question, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRequest {
    /// The upload.
    pub id: UploadId,
    /// The fencing number of the lease.
    pub fence: Fence,
    /// What is asked.
    pub question: PeerQuestion,
    /// How long the answer is waited for.
    pub patience: Duration,
}

impl PeerRequest {
    pub(crate) fn new(id: UploadId, fence: u64, question: PeerQuestion) -> Self {
        let patience = match question {
            PeerQuestion::Checkpoint => CHECKPOINT_WAIT,
            PeerQuestion::Yield(_) => YIELD_WAIT,
        };
        Self { id, fence: Fence(fence), question, patience }
    }
}

/// An answer on its way: whether the holder did what was asked.
pub type PeerReply = Pin<Box<dyn Future<Output = bool> + Send>>;

/// How this server reaches others, and is reached.
pub trait Peers: fmt::Debug + Send + Sync {
    /// Where others reach this server: it stands in its leases.
    fn own_url(&self) -> &str;

    /// Asks the server that is reached there. `false` if it can't be reached, or does not do it.
    fn ask(&self, url: &str, request: PeerRequest) -> PeerReply;
}

/// HEADs that have asked for a checkpoint, and whose look-up has not come yet.
#[derive(Default)]
pub(crate) struct HeadMarks(Mutex<BTreeMap<UploadId, u32>>);

impl HeadMarks {
    pub(crate) fn put(&self, id: &UploadId) {
        let mut marks = lock(&self.0);
        if marks.len() >= HEADS {
            // HEADs that were given up have left theirs. A mark that is missing costs a HEAD its freshness, no more.
            marks.clear();
        }
        *marks.entry(id.clone()).or_default() += 1;
    }

    pub(crate) fn take(&self, id: &UploadId) -> bool {
        let mut marks = lock(&self.0);
        let Some(count) = marks.get_mut(id) else { return false };
        *count -= 1;
        if *count == 0 {
            marks.remove(id);
        }
        true
    }
}

impl Shared {
    /// Where the holder of a record's lease can be asked, if another server has it and it lives.
    pub(crate) fn peer_of(&self, id: &UploadId, document: &Document) -> Option<(String, u64)> {
        let lease = document.lease.as_ref().filter(|lease| lease.owner != self.owner)?;
        let url = lease.peer.clone().filter(|_| self.options.peers.is_some())?;
        (!self.has_run_out(id, lease)).then_some((url, lease.fence))
    }

    /// Asks another server. Returns whether it did what was asked.
    pub(crate) async fn ask_peer(&self, url: &str, request: PeerRequest) -> bool {
        let Some(peers) = &self.options.peers else { return false };
        let late = self.requests.sleep(request.patience);
        match select(peers.ask(url, request), late).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => false,
        }
    }
}

/// Waits for the reply to a checkpoint.
#[derive(Default)]
struct Checkpointed {
    done: Notify,
}

impl Inbox for Checkpointed {
    fn post(&self, _: Owner, event: LockEvent) {
        if matches!(event, LockEvent::Reply(..)) {
            self.done.notify_one();
        }
    }
}

impl BucketStore {
    /// Does what another server asks. `false` if this server has no such lease, or its writer takes too long.
    pub async fn answer_peer(&self, request: PeerRequest) -> bool {
        let PeerRequest { id, fence, question, patience } = request;
        let work = async {
            match question {
                PeerQuestion::Checkpoint => self.checkpoint(&id, fence).await,
                PeerQuestion::Yield(offset) => self.yield_lease(&id, fence, offset).await,
            }
        };
        let late = self.shared.requests.sleep(patience);
        match select(Box::pin(work), late).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => false,
        }
    }

    async fn checkpoint(&self, id: &UploadId, fence: Fence) -> bool {
        if self.shared.with_held(id, fence, |_| ()).is_none() {
            return false;
        }
        let inbox = Arc::new(Checkpointed::default());
        let caller = Caller::new(Owner(0), inbox.clone());
        self.locks().call(&caller, OpId::default(), LockCall::Checkpoint { key: id.clone() });
        inbox.done.notified().await;
        true
    }

    async fn yield_lease(&self, id: &UploadId, fence: Fence, offset: Option<u64>) -> bool {
        loop {
            let given_back = self.shared.given_back.notified();
            let mut given_back = std::pin::pin!(given_back);
            given_back.as_mut().enable();
            let holder = self.shared.with_held(id, fence, |held| {
                let told = std::mem::replace(&mut held.yielded, true);
                (!told).then(|| held.caller.clone())
            });
            match holder {
                // It was given back, or another server has taken it.
                None => return true,
                Some(Some(holder)) => holder.tell(LockEvent::Yield(offset)),
                Some(None) => {}
            }
            given_back.await;
        }
    }
}
