//! Asking other servers to checkpoint or to yield, and doing what they ask of this one.

use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tus_driver::{Caller, Inbox, LockService};
use tus_proto::{Fence, LockCall, LockEvent, OpId, Owner, UploadId};

use crate::{
    document::Document,
    peers::{PeerQuestion, PeerRequest},
    shared::Shared,
    store::BucketStore,
};

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
