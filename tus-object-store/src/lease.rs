//! Locks that servers share: a lease in the record, taken by compare-and-set, with a number that rises with each grant.
//!
//! In this process a [`LockTable`] says whose turn it is; the request that has the turn asks for the lease. Whether the holder of a lease
//! still lives is told by its writes alone: a lease that was seen unchanged for its whole life, on this machine's steady
//! clock, is over. No two machines' times are compared, and a wrong guess costs a request and no byte: a record takes
//! nothing from a writer whose number is not the highest.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tus_driver::{Caller, LockService};
use tus_proto::{Fence, Instant, LockCall, LockEvent, LockReply, LockTable, OpId, Owner, UploadId};

use crate::{
    document::{Document, Lease, Wanted},
    peers::{PeerQuestion, PeerRequest},
    records::{Step, Trouble},
    requests::lock,
    shared::{Held, Shared},
};

/// How often a lease that another server has is looked at.
const POLL: Duration = Duration::from_millis(500);

/// How often the record is read under a lease where nothing is written, to see whether a request waits.
const WATCH: Duration = Duration::from_secs(2);

/// The lock service of a [`BucketStore`](crate::BucketStore). A clone is the same one.
#[derive(Clone)]
pub struct LeaseLocks {
    shared: Arc<Shared>,
    turns: Arc<Mutex<Turns>>,
}

/// Whose turn it is in this process.
struct Turns {
    table: LockTable,
    numbers: HashMap<Caller, u64>,
    callers: BTreeMap<u64, Caller>,
    last: u64,
    wishes: BTreeMap<u64, Wish>,
    timer: Option<Instant>,
}

/// A lease that is asked for.
#[derive(Clone)]
struct Wish {
    key: UploadId,
    offset: Option<u64>,
    until: Instant,
    ttl: Duration,
    /// Whether a server that has the lease is asked to give it back.
    preempt: bool,
    turn: Turn,
    given_up: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Others of this process come first.
    Waits,
    /// The lease is being asked for.
    Asks,
    /// The lease is there.
    Has,
}

enum Taken {
    Yes {
        fence: u64,
        rotate: bool,
    },
    /// Another server has it.
    Wait,
    /// Another server has it, and can be asked at this URL about the lease of this fencing number.
    Ask {
        url: String,
        fence: u64,
    },
    /// There is no upload any more.
    Gone,
}

impl LeaseLocks {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let turns = Turns {
            table: LockTable::new(Fence(1)),
            numbers: HashMap::new(),
            callers: BTreeMap::new(),
            last: 0,
            wishes: BTreeMap::new(),
            timer: None,
        };
        Self { shared, turns: Arc::new(Mutex::new(turns)) }
    }

    fn now(&self) -> Instant {
        self.shared.requests.now()
    }

    /// Tells what the table has to say; a turn that has come first has to bring the lease.
    fn deliver(&self, turns: &mut Turns) {
        while let Some((owner, event)) = turns.table.poll() {
            let Some(caller) = turns.callers.get(&owner.0).cloned() else { continue };
            match event {
                LockEvent::Reply(op, LockReply::Granted { rotate, .. }) => {
                    let Some(wish) = turns.wishes.get_mut(&owner.0) else { continue };
                    wish.turn = Turn::Asks;
                    let (locks, wish) = (self.clone(), wish.clone());
                    self.shared.spawn(async move { locks.acquire(caller, owner, op, wish, rotate).await });
                }
                LockEvent::Checkpoint => {
                    if let Some(wish) = turns.wishes.get(&owner.0)
                        && let Some(held) = lock(&self.shared.held).get_mut(&wish.key)
                    {
                        held.asked = true;
                    }
                    caller.tell(event);
                }
                LockEvent::Reply(_, LockReply::Checkpointed | LockReply::Released) => {
                    caller.tell(event);
                    turns.forget(owner.0);
                }
                LockEvent::Reply(op, LockReply::TimedOut) => {
                    turns.wishes.remove(&owner.0);
                    caller.tell(LockEvent::Reply(op, LockReply::TimedOut));
                }
                LockEvent::Reply(op, LockReply::Renewed) => {
                    let Some(key) = turns.wishes.get(&owner.0).map(|wish| wish.key.clone()) else { continue };
                    let locks = self.clone();
                    self.shared.spawn(async move {
                        let reply = locks.renew(&key).await;
                        caller.tell(LockEvent::Reply(op, reply));
                    });
                }
                event => caller.tell(event),
            }
        }
        self.keep_time(turns);
    }

    fn keep_time(&self, turns: &mut Turns) {
        let Some(at) = turns.table.deadline().filter(|at| turns.timer.is_none_or(|timer| *at < timer)) else {
            return;
        };
        turns.timer = Some(at);
        let locks = self.clone();
        self.shared.requests.executor.at(
            at,
            Box::new(move || {
                let mut turns = lock(&locks.turns);
                turns.timer = None;
                turns.table.timeout(locks.now());
                locks.deliver(&mut turns);
            }),
        );
    }

    /// Takes the lease, or waits for it.
    async fn acquire(self, caller: Caller, owner: Owner, op: OpId, wish: Wish, rotate: bool) {
        // The last lease whose holder was asked.
        let mut asked = None;
        let reply = loop {
            if wish.given_up.load(Ordering::Acquire) {
                break LockReply::TimedOut;
            }
            match self.take(&wish, rotate, &caller, asked).await {
                Ok(Taken::Yes { fence, rotate }) => break LockReply::Granted { fence: Fence(fence), rotate },
                // The look-up that follows tells it.
                Ok(Taken::Gone) | Err(Trouble::Missing) => {
                    break LockReply::Granted { fence: Fence(0), rotate: false };
                }
                Ok(Taken::Ask { url, fence }) => {
                    asked = Some(fence);
                    let question = PeerQuestion::Yield(wish.offset);
                    let mut request = PeerRequest::new(wish.key.clone(), fence, question);
                    request.patience = request.patience.min(wish.until.since(self.now()));
                    // Where there is no answer the record tells the holder, and it is waited for.
                    self.shared.ask_peer(&url, request).await;
                }
                Ok(Taken::Wait) if wish.preempt && self.now().after(POLL) < wish.until => {
                    self.shared.requests.sleep(POLL).await;
                }
                Ok(Taken::Wait) => break LockReply::TimedOut,
                Err(Trouble::Failed(_)) => break LockReply::Unavailable,
            }
        };
        let granted = matches!(reply, LockReply::Granted { .. });
        {
            let mut turns = lock(&self.turns);
            let given_up = wish.given_up.load(Ordering::Acquire);
            if granted && !given_up {
                if let Some(wish) = turns.wishes.get_mut(&owner.0) {
                    wish.turn = Turn::Has;
                }
                caller.tell(LockEvent::Reply(op, reply));
                return;
            }
            if !given_up {
                caller.tell(LockEvent::Reply(op, reply));
            }
        }
        if granted {
            // The caller was told that it is rid of the lock.
            self.give_back(&wish.key).await;
        }
        self.end_turn(owner, op, true, wish.key);
    }

    /// The turn is over: the next in this process has it. The caller is told, if it has not been.
    fn end_turn(&self, owner: Owner, op: OpId, told: bool, key: UploadId) {
        let mut turns = lock(&self.turns);
        turns.wishes.remove(&owner.0);
        if told {
            turns.forget(owner.0);
        }
        turns.table.call(self.now(), owner, op, LockCall::Release { key });
        self.deliver(&mut turns);
    }

    /// Tries to take the lease; `asked` is the number of the one whose holder was asked to yield.
    async fn take(
        &self,
        wish: &Wish,
        rotate: bool,
        caller: &Caller,
        asked: Option<u64>,
    ) -> Result<Taken, Trouble> {
        let shared = &self.shared;
        let done = shared
            .update(&wish.key, |document| {
                if !document.is_live() {
                    return Step::Leave(Taken::Gone);
                }
                let other = document.lease.as_ref().filter(|lease| lease.owner != shared.owner);
                if other.is_some_and(|lease| !shared.has_run_out(&wish.key, lease)) {
                    if wish.preempt
                        && let Some((url, fence)) = shared.peer_of(&wish.key, document)
                        && asked != Some(fence)
                    {
                        return Step::Leave(Taken::Ask { url, fence });
                    }
                    return match document.wanted {
                        None if wish.preempt => {
                            document.wanted = Some(Wanted { by: shared.owner, offset: wish.offset });
                            Step::Write(Taken::Wait)
                        }
                        _ => Step::Leave(Taken::Wait),
                    };
                }
                // One that was not given back may still be written under, from here too.
                let rotate = rotate || document.lease.is_some();
                if mutation!("multipart-not-sealed", rotate, false) {
                    document.seal();
                }
                let fence = document.fence.max(shared.first_fence) + 1;
                let ttl_ms = u64::try_from(wish.ttl.as_millis()).unwrap_or(u64::MAX);
                document.fence = fence;
                let peer = shared.options.peers.as_ref().map(|peers| peers.own_url().to_owned());
                document.lease = Some(Lease { owner: shared.owner, fence, beat: 0, ttl_ms, peer });
                document.wanted = None;
                Step::Write(Taken::Yes { fence, rotate })
            })
            .await?;
        if let Taken::Yes { fence, .. } = done.value {
            let now = self.now();
            let held = Held {
                fence,
                ttl: wish.ttl,
                caller: caller.clone(),
                written: done.sent.unwrap_or(now),
                committed: now,
                reload: Some(done.document),
                released: false,
                dirty: false,
                asked: false,
                yielded: false,
            };
            lock(&shared.held).insert(wish.key.clone(), held);
            self.watch(wish.key.clone(), fence);
        }
        Ok(done.value)
    }

    /// Looks from time to time whether a request waits for a lease that nothing is written under: a body whose client is
    /// gone. One that commits sees it then.
    fn watch(&self, key: UploadId, fence: u64) {
        let at = self.now().after(WATCH);
        let locks = self.clone();
        let look = move || {
            let written =
                locks.shared.with_held(&key, Fence(fence), |held| (!held.released).then_some(held.written));
            let Some(Some(written)) = written else { return };
            if locks.now().since(written) < WATCH {
                return locks.watch(key, fence);
            }
            let next = locks.clone();
            locks.shared.spawn(async move {
                // Reading tells the holder what concerns it.
                let _ = next.shared.read(&key).await;
                next.watch(key, fence);
            });
        };
        self.shared.requests.executor.at(at, Box::new(look));
    }

    /// Gives the lease back, unless the last commit has.
    async fn give_back(&self, key: &UploadId) {
        let Some(held) = lock(&self.shared.held).remove(key) else { return };
        let (owner, fence) = (self.shared.owner, held.fence);
        let ours = |lease: &Lease| lease.owner == owner && lease.fence == fence;
        let release = |document: &mut Document| {
            if !document.lease.as_ref().is_some_and(ours) {
                return Step::Leave(());
            }
            (document.lease, document.wanted) = (None, None);
            if mutation!("part-number-reused", held.dirty, false) {
                document.seal();
            }
            Step::Write(())
        };
        if !held.released
            && let Err(Trouble::Failed(failure)) = self.shared.update(key, release).await
        {
            tracing::warn!(upload = key.as_str(), ?failure, "a lease could not be given back; it runs out");
        }
        lock(&self.shared.cache).remove(key);
        self.shared.given_back.notify_waiters();
    }

    /// Shows that the holder lives, if no commit has lately.
    async fn renew(&self, key: &UploadId) -> LockReply {
        let shared = &self.shared;
        let now = self.now();
        let held = lock(&shared.held).get(key).map(|held| (held.fence, held.written, held.ttl));
        let Some((fence, written, ttl)) = held else { return LockReply::Lost };
        if now.since(written) < ttl / 4 {
            return LockReply::Renewed;
        }
        let renewed = shared
            .update(key, |document| match &mut document.lease {
                Some(lease) if lease.owner == shared.owner && lease.fence == fence => {
                    lease.beat += 1;
                    Step::Write(true)
                }
                _ => Step::Leave(false),
            })
            .await;
        match renewed {
            Ok(done) if done.value => {
                shared.with_held(key, Fence(fence), |held| held.written = done.sent.unwrap_or(held.written));
                LockReply::Renewed
            }
            Ok(_) | Err(Trouble::Missing) => LockReply::Lost,
            Err(Trouble::Failed(_)) => LockReply::Unavailable,
        }
    }

    fn release(&self, turns: &mut Turns, owner: Owner, op: OpId, key: UploadId) {
        let turn = turns.wishes.get(&owner.0).map(|wish| (wish.turn, wish.given_up.clone()));
        match turn {
            Some((Turn::Asks, given_up)) => {
                // Its turn ends once the request for the lease has.
                given_up.store(true, Ordering::Release);
                if let Some(caller) = turns.callers.get(&owner.0) {
                    caller.tell(LockEvent::Reply(op, LockReply::Released));
                }
            }
            Some((Turn::Has, _)) => {
                let locks = self.clone();
                self.shared.spawn(async move {
                    locks.give_back(&key).await;
                    locks.end_turn(owner, op, false, key);
                });
            }
            Some((Turn::Waits, _)) | None => {
                turns.wishes.remove(&owner.0);
                turns.table.call(self.now(), owner, op, LockCall::Release { key });
            }
        }
    }
}

impl LockService for LeaseLocks {
    fn start(&self, _: Fence) {
        // Numbers are the records'.
    }

    fn call(&self, caller: &Caller, op: OpId, call: LockCall) {
        let mut turns = lock(&self.turns);
        let owner = Owner(turns.number(caller));
        match call {
            LockCall::Acquire { ref key, offset, wait, ttl, preempt } => {
                let wish = Wish {
                    key: key.clone(),
                    offset,
                    until: self.now().after(wait),
                    ttl,
                    preempt,
                    turn: Turn::Waits,
                    given_up: Arc::default(),
                };
                turns.wishes.insert(owner.0, wish);
                turns.table.call(self.now(), owner, op, call);
            }
            LockCall::Release { key } => self.release(&mut turns, owner, op, key),
            LockCall::Checkpointed { ref key } => {
                if let Some(held) = lock(&self.shared.held).get_mut(key) {
                    held.asked = false;
                }
                turns.table.call(self.now(), owner, op, call);
            }
            LockCall::Checkpoint { ref key } => {
                if self.shared.options.peers.is_some() && !lock(&self.shared.held).contains_key(key) {
                    self.shared.heads.put(key);
                }
                turns.table.call(self.now(), owner, op, call);
            }
            LockCall::Renew { .. } => turns.table.call(self.now(), owner, op, call),
        }
        self.deliver(&mut turns);
    }
}

impl fmt::Debug for LeaseLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseLocks").finish_non_exhaustive()
    }
}

impl Turns {
    fn number(&mut self, caller: &Caller) -> u64 {
        if let Some(number) = self.numbers.get(caller) {
            return *number;
        }
        self.last += 1;
        self.numbers.insert(caller.clone(), self.last);
        self.callers.insert(self.last, caller.clone());
        self.last
    }

    fn forget(&mut self, number: u64) {
        if let Some(caller) = self.callers.remove(&number) {
            self.numbers.remove(&caller);
        }
    }
}
