//! Servers that reach each other. A lease says where its holder can be asked: a newcomer asks it to yield, a HEAD to commit
//! what has arrived. Nothing depends on an answer: without one, a newcomer waits as if there were no peers, and HEAD tells
//! the last commit.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Mutex, time::Duration};

use tus_proto::{Fence, UploadId};

use crate::requests::lock;

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
