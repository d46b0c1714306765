//! The lock service of a single process, pure: calls go in, events come out, one deadline.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use crate::{Fence, Instant, LockCall, LockReply, OpId, UploadId};

/// Who calls: a number that the runtime gives each exchange, never to two that live at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// What an owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEvent {
    /// A call completed: [`Input::Lock`](crate::Input::Lock).
    Reply(OpId, LockReply),
    /// A newcomer waits: [`Input::Yield`](crate::Input::Yield).
    Yield(Option<u64>),
    /// A HEAD waits: [`Input::Checkpoint`](crate::Input::Checkpoint).
    Checkpoint,
    /// The lock is somebody else's: [`Cancel::LockLost`](crate::Cancel::LockLost).
    Lost,
}

/// One writer an upload, for the exchanges of one process.
///
/// Feed it with [`call`](Self::call); after each call and each [`timeout`](Self::timeout) take what there is
/// from [`poll`](Self::poll) until it gives none, and keep [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct LockTable {
    entries: BTreeMap<UploadId, Entry>,
    /// When to look at which entry again: the one point in time that the entry itself knows.
    wakes: BTreeSet<(Instant, UploadId)>,
    next_fence: Fence,
    events: VecDeque<(Owner, LockEvent)>,
}

#[derive(Debug, Default)]
struct Entry {
    holder: Option<Holder>,
    /// There only while there is somebody, and boxed: most uploads have a writer and nobody else.
    others: Option<Box<Others>>,
}

/// Who else has to do with an upload.
#[derive(Debug, Default)]
struct Others {
    waiters: VecDeque<Waiter>,
    /// Holders whose grant ran out and who have not released yet: they may still be writing.
    lost: Vec<Owner>,
    /// HEADs that wait for the checkpoint under way, and those that came after it was asked for.
    asked: Vec<(Owner, OpId)>,
    asking_next: Vec<(Owner, OpId)>,
    /// The holder was asked for a checkpoint and has not answered, whoever may still wait for it.
    asking: bool,
    wake: Option<Instant>,
}

impl Entry {
    fn is_free(&self) -> bool {
        self.holder.is_none() && self.others.is_none()
    }

    /// Sees that the entry is looked at when its holder's time, or a waiter's, is over. A holder that nobody
    /// waits for may take its time. Forgets the others where there are none.
    fn schedule(&mut self, key: &UploadId, wakes: &mut BTreeSet<(Instant, UploadId)>) {
        let Some(others) = &mut self.others else { return };
        let expires =
            self.holder.as_ref().filter(|_| !others.waiters.is_empty()).map(|holder| holder.expires);
        let wake = others.waiters.iter().map(|waiter| waiter.until).chain(expires).min();
        if wake != others.wake {
            if let Some(old) = core::mem::replace(&mut others.wake, wake) {
                wakes.remove(&(old, key.clone()));
            }
            wakes.extend(wake.map(|at| (at, key.clone())));
        }
        self.others.take_if(|others| others.are_gone());
    }
}

impl Others {
    fn are_gone(&self) -> bool {
        let heads = self.asking || !self.asked.is_empty() || !self.asking_next.is_empty();
        self.waiters.is_empty() && self.lost.is_empty() && !heads
    }
}

#[derive(Debug)]
struct Holder {
    owner: Owner,
    expires: Instant,
}

#[derive(Debug)]
struct Waiter {
    owner: Owner,
    op: OpId,
    offset: Option<u64>,
    until: Instant,
    ttl: core::time::Duration,
}

impl Waiter {
    /// Its turn has come.
    fn granted(
        self,
        now: Instant,
        rotate: bool,
        next_fence: &mut Fence,
        events: &mut VecDeque<(Owner, LockEvent)>,
    ) -> Holder {
        let fence = core::mem::replace(next_fence, Fence(next_fence.0 + 1));
        events.push_back((self.owner, LockEvent::Reply(self.op, LockReply::Granted { fence, rotate })));
        Holder { owner: self.owner, expires: now.after(self.ttl) }
    }
}

impl LockTable {
    /// An empty table whose first grant has the number `first`: above every number that was ever granted
    /// before, as the store knows them.
    pub fn new(first: Fence) -> Self {
        Self { entries: BTreeMap::new(), wakes: BTreeSet::new(), next_fence: first, events: VecDeque::new() }
    }

    /// Takes a call of `owner`. An owner holds, or waits for, at most one lock.
    pub fn call(&mut self, now: Instant, owner: Owner, op: OpId, call: LockCall) {
        match call {
            LockCall::Acquire { key, preempt: false, .. } if self.is_held(&key) => {
                self.reply(owner, op, LockReply::TimedOut);
            }
            LockCall::Acquire { key, offset, wait, ttl, .. } => {
                let waiter = Waiter { owner, op, offset, until: now.after(wait), ttl };
                self.acquire(now, key, waiter);
            }
            LockCall::Renew { key, ttl } => {
                let reply = self.renew(now.after(ttl), &key, owner);
                self.reply(owner, op, reply);
            }
            LockCall::Release { key } => {
                self.release(now, key, owner);
                self.reply(owner, op, LockReply::Released);
            }
            LockCall::Checkpoint { key } => self.checkpoint(&key, owner, op),
            LockCall::Checkpointed { key } => self.checkpointed(&key, owner),
        }
    }

    /// The next event and whom it concerns.
    pub fn poll(&mut self) -> Option<(Owner, LockEvent)> {
        self.events.pop_front()
    }

    /// When [`timeout`](Self::timeout) must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Lets what has run out by `now` run out.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((at, _)) = self.wakes.first() {
            if *at > now {
                return;
            }
            if let Some((_, key)) = self.wakes.pop_first() {
                if let Some(others) = self.entries.get_mut(&key).and_then(|entry| entry.others.as_mut()) {
                    others.wake = None;
                }
                self.settle(now, key);
            }
        }
    }

    /// Whether nobody holds a lock or waits for one.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn reply(&mut self, owner: Owner, op: OpId, reply: LockReply) {
        self.events.push_back((owner, LockEvent::Reply(op, reply)));
    }

    fn is_held(&self, key: &UploadId) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.holder.is_some())
    }

    fn acquire(&mut self, now: Instant, key: UploadId, waiter: Waiter) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.is_free() {
            entry.holder = Some(waiter.granted(now, false, &mut self.next_fence, &mut self.events));
            return;
        }
        if let Some(holder) = &entry.holder {
            self.events.push_back((holder.owner, LockEvent::Yield(waiter.offset)));
        }
        entry.others.get_or_insert_default().waiters.push_back(waiter);
        self.settle(now, key);
    }

    fn renew(&mut self, expires: Instant, key: &UploadId, owner: Owner) -> LockReply {
        let Some(entry) = self.entries.get_mut(key) else { return LockReply::Lost };
        match &mut entry.holder {
            Some(holder) if holder.owner == owner => holder.expires = expires,
            _ => return LockReply::Lost,
        }
        entry.schedule(key, &mut self.wakes);
        LockReply::Renewed
    }

    fn release(&mut self, now: Instant, key: UploadId, owner: Owner) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(others) = &mut entry.others {
            others.lost.retain(|lost| *lost != owner);
            others.waiters.retain(|waiter| waiter.owner != owner);
            others.asked.retain(|(head, _)| *head != owner);
            others.asking_next.retain(|(head, _)| *head != owner);
        }
        if entry.holder.as_ref().is_some_and(|holder| holder.owner == owner) {
            entry.holder = None;
        }
        self.settle(now, key);
    }

    /// Brings one entry to rest: takes the lock from a holder whose time is over if somebody waits for it,
    /// grants it to the first in the queue if it is free, sends away those who have waited long enough.
    fn settle(&mut self, now: Instant, key: UploadId) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(others) = &mut entry.others {
            let expired = entry.holder.as_ref().is_some_and(|holder| holder.expires <= now);
            if let Some(holder) = entry.holder.take_if(|_| expired && !others.waiters.is_empty()) {
                mutation!("forgotten-holder", others.lost.push(holder.owner), ());
                self.events.push_back((holder.owner, LockEvent::Lost));
            }
            if mutation!(
                "two-holders",
                entry.holder.is_none(),
                entry.holder.is_none() || !others.waiters.is_empty()
            ) {
                // Nobody is left who could checkpoint: what is committed is the truth.
                let heads = others.asked.drain(..).chain(others.asking_next.drain(..));
                let told = LockReply::Checkpointed;
                self.events.extend(heads.map(|(head, op)| (head, LockEvent::Reply(op, told))));
                others.asking = false;
                if let Some(next) =
                    mutation!("jumped-line", others.waiters.pop_front(), others.waiters.pop_back())
                {
                    let rotate = mutation!("late-writer-not-told", !others.lost.is_empty(), false);
                    let owner = next.owner;
                    entry.holder = Some(next.granted(now, rotate, &mut self.next_fence, &mut self.events));
                    if let Some(waiter) = others.waiters.front() {
                        self.events.push_back((owner, LockEvent::Yield(waiter.offset)));
                    }
                }
            }
            others.waiters.retain(|waiter| {
                let waits = waiter.until > now;
                if !waits {
                    let event = LockEvent::Reply(waiter.op, LockReply::TimedOut);
                    self.events.push_back((waiter.owner, event));
                }
                waits
            });
            entry.schedule(&key, &mut self.wakes);
        }
        if entry.is_free() {
            self.entries.remove(&key);
        }
    }

    fn checkpoint(&mut self, key: &UploadId, head: Owner, op: OpId) {
        let held = self.entries.get_mut(key).and_then(|entry| {
            let holder = entry.holder.as_ref()?.owner;
            Some((holder, entry.others.get_or_insert_default()))
        });
        match held {
            None => self.reply(head, op, LockReply::Checkpointed),
            // A checkpoint under way may have begun before the bytes this HEAD asks about arrived.
            Some((_, others)) if others.asking => {
                let asking = mutation!("borrowed-checkpoint", &mut others.asking_next, &mut others.asked);
                asking.push((head, op));
            }
            Some((holder, others)) => {
                others.asked.push((head, op));
                others.asking = true;
                self.events.push_back((holder, LockEvent::Checkpoint));
            }
        }
    }

    fn checkpointed(&mut self, key: &UploadId, owner: Owner) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.holder.as_ref().is_none_or(|holder| holder.owner != owner) {
            return;
        }
        let Some(others) = &mut entry.others else { return };
        let done = core::mem::replace(&mut others.asked, core::mem::take(&mut others.asking_next));
        others.asking = !others.asked.is_empty();
        if others.asking {
            self.events.push_back((owner, LockEvent::Checkpoint));
        }
        self.events
            .extend(done.into_iter().map(|(head, op)| (head, LockEvent::Reply(op, LockReply::Checkpointed))));
        entry.schedule(key, &mut self.wakes);
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};
    use core::time::Duration;

    use super::*;

    const OP: OpId = OpId(1);

    fn key() -> UploadId {
        UploadId::generate(crate::WallTime::default(), [7; 10])
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn acquire(offset: Option<u64>) -> LockCall {
        let (wait, ttl) = (Duration::from_secs(5), Duration::from_secs(60));
        LockCall::Acquire { key: key(), offset, wait, ttl, preempt: true }
    }

    fn events(table: &mut LockTable) -> Vec<(u64, LockEvent)> {
        core::iter::from_fn(|| table.poll()).map(|(owner, event)| (owner.0, event)).collect()
    }

    fn granted(fence: u64, rotate: bool) -> LockEvent {
        LockEvent::Reply(OP, LockReply::Granted { fence: Fence(fence), rotate })
    }

    const fn reply(reply: LockReply) -> LockEvent {
        LockEvent::Reply(OP, reply)
    }

    #[test]
    fn the_holder_is_asked_to_yield_and_the_newcomer_follows_its_release() {
        let mut table = LockTable::new(Fence(10));
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        table.call(at(1), Owner(2), OP, acquire(Some(4)));
        table.call(at(1), Owner(3), OP, acquire(None));
        let asked =
            vec![(1, granted(10, false)), (1, LockEvent::Yield(Some(4))), (1, LockEvent::Yield(None))];
        assert_eq!(events(&mut table), asked);
        table.call(at(2), Owner(1), OP, LockCall::Release { key: key() });
        // The new holder learns at once that somebody waits for it, too.
        let passed =
            vec![(2, granted(11, false)), (2, LockEvent::Yield(None)), (1, reply(LockReply::Released))];
        assert_eq!(events(&mut table), passed);
        table.call(at(2), Owner(2), OP, LockCall::Release { key: key() });
        table.call(at(2), Owner(3), OP, LockCall::Release { key: key() });
        let _ = events(&mut table);
        assert!(table.is_empty());
    }

    #[test]
    fn a_waiter_is_sent_away_when_its_wait_is_over_or_when_it_gives_up() {
        let mut table = LockTable::new(Fence(0));
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        table.call(at(1), Owner(2), OP, acquire(Some(0)));
        table.call(at(2), Owner(3), OP, acquire(Some(0)));
        table.call(at(3), Owner(3), OP, LockCall::Release { key: key() });
        let _ = events(&mut table);
        assert_eq!(table.deadline(), Some(at(6)));
        table.timeout(at(5));
        assert_eq!(events(&mut table), vec![]);
        table.timeout(at(6));
        assert_eq!(events(&mut table), vec![(2, reply(LockReply::TimedOut))]);
        table.timeout(at(10));
        assert_eq!(events(&mut table), vec![]);
    }

    #[test]
    fn a_grant_that_ran_out_is_taken_away_only_for_a_newcomer_and_leaves_it_a_fresh_extent() {
        let mut table = LockTable::new(Fence(0));
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        table.call(at(100), Owner(1), OP, LockCall::Renew { key: key(), ttl: Duration::from_secs(60) });
        assert_eq!(events(&mut table), vec![(1, granted(0, false)), (1, reply(LockReply::Renewed))]);
        table.call(at(158), Owner(2), OP, acquire(Some(0)));
        table.timeout(at(160));
        let taken = vec![(1, LockEvent::Yield(Some(0))), (1, LockEvent::Lost), (2, granted(1, true))];
        assert_eq!(events(&mut table), taken);
        // As long as the lost holder may be writing, everybody after it keeps out of its way.
        table.call(at(161), Owner(2), OP, LockCall::Release { key: key() });
        table.call(at(161), Owner(3), OP, acquire(Some(0)));
        table.call(at(161), Owner(1), OP, LockCall::Renew { key: key(), ttl: Duration::from_secs(60) });
        let released =
            vec![(2, reply(LockReply::Released)), (3, granted(2, true)), (1, reply(LockReply::Lost))];
        assert_eq!(events(&mut table), released);
        table.call(at(162), Owner(1), OP, LockCall::Release { key: key() });
        table.call(at(162), Owner(3), OP, LockCall::Release { key: key() });
        table.call(at(162), Owner(4), OP, acquire(Some(0)));
        assert!(events(&mut table).contains(&(4, granted(3, false))));
    }

    #[test]
    fn a_request_that_may_not_preempt_disturbs_nobody_and_gets_what_is_free() {
        let mut table = LockTable::new(Fence(0));
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        let _ = events(&mut table);
        table.call(at(1), Owner(2), OP, acquire(Some(0)).without_preemption());
        assert_eq!(events(&mut table), vec![(2, reply(LockReply::TimedOut))]);
        assert_eq!(table.deadline(), None);
        // Who waits comes first as well.
        table.call(at(1), Owner(3), OP, acquire(Some(0)));
        let _ = events(&mut table);
        table.call(at(1), Owner(4), OP, acquire(Some(0)).without_preemption());
        assert_eq!(events(&mut table), vec![(4, reply(LockReply::TimedOut))]);
        table.call(at(2), Owner(1), OP, LockCall::Release { key: key() });
        table.call(at(2), Owner(3), OP, LockCall::Release { key: key() });
        let _ = events(&mut table);
        table.call(at(3), Owner(5), OP, acquire(Some(0)).without_preemption());
        assert_eq!(events(&mut table), vec![(5, granted(2, false))]);
    }

    #[test]
    fn a_head_that_gave_up_does_not_lend_its_checkpoint_to_the_next() {
        let mut table = LockTable::new(Fence(0));
        let told = reply(LockReply::Checkpointed);
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        table.call(at(0), Owner(8), OP, LockCall::Checkpoint { key: key() });
        table.call(at(1), Owner(8), OP, LockCall::Release { key: key() });
        let _ = events(&mut table);
        table.call(at(1), Owner(9), OP, LockCall::Checkpoint { key: key() });
        assert_eq!(events(&mut table), vec![]);
        table.call(at(2), Owner(1), OP, LockCall::Checkpointed { key: key() });
        assert_eq!(events(&mut table), vec![(1, LockEvent::Checkpoint)]);
        table.call(at(3), Owner(1), OP, LockCall::Checkpointed { key: key() });
        assert_eq!(events(&mut table), vec![(9, told)]);
    }

    #[test]
    fn contention_leaves_nothing_behind() {
        let mut table = LockTable::new(Fence(0));
        for round in 0..100 {
            table.call(at(0), Owner(round), OP, acquire(Some(0)));
            table.call(at(0), Owner(round + 1), OP, acquire(Some(0)));
            assert!(table.deadline().is_some());
            table.call(at(0), Owner(round), OP, LockCall::Release { key: key() });
            table.call(at(0), Owner(round + 1), OP, LockCall::Release { key: key() });
            assert_eq!(table.deadline(), None);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn a_writer_that_is_alone_again_is_all_that_is_remembered() {
        let mut table = LockTable::new(Fence(0));
        let alone = |table: &LockTable| table.entries.values().all(|entry| entry.others.is_none());
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        assert!(alone(&table));
        table.call(at(0), Owner(8), OP, LockCall::Checkpoint { key: key() });
        assert!(!alone(&table));
        table.call(at(0), Owner(1), OP, LockCall::Checkpointed { key: key() });
        assert!(alone(&table));
        table.call(at(0), Owner(2), OP, acquire(Some(0)));
        table.timeout(at(5));
        assert!(alone(&table) && !table.is_empty());
    }

    #[test]
    fn a_checkpoint_is_answered_by_the_holder_or_by_its_absence() {
        let mut table = LockTable::new(Fence(0));
        let ask = || LockCall::Checkpoint { key: key() };
        let told = reply(LockReply::Checkpointed);
        table.call(at(0), Owner(9), OP, ask());
        assert_eq!(events(&mut table), vec![(9, told)]);
        table.call(at(0), Owner(1), OP, acquire(Some(0)));
        table.call(at(0), Owner(8), OP, ask());
        table.call(at(0), Owner(9), OP, ask());
        assert_eq!(events(&mut table), vec![(1, granted(0, false)), (1, LockEvent::Checkpoint)]);
        // The second HEAD came after the first was asked for: it needs a checkpoint of its own.
        table.call(at(0), Owner(1), OP, LockCall::Checkpointed { key: key() });
        assert_eq!(events(&mut table), vec![(1, LockEvent::Checkpoint), (8, told)]);
        table.call(at(0), Owner(1), OP, LockCall::Release { key: key() });
        assert_eq!(events(&mut table), vec![(9, told), (1, reply(LockReply::Released))]);
        assert!(table.is_empty());
    }
}
