//! What each owner is to the table by what it has asked and was told, held against what the table promises.

use std::collections::BTreeMap;

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockReply, LockTable, OpId, Owner, UploadId};

/// What an owner is. Who is nothing is not there.
#[derive(Debug)]
pub(super) enum Role {
    Waits {
        key: UploadId,
        op: OpId,
        offset: Option<u64>,
        until: Instant,
        ttl: std::time::Duration,
        /// When it came.
        turn: u64,
    },
    Holds {
        key: UploadId,
        expires: Instant,
        /// It knows that somebody waits.
        yields: bool,
        /// When it was asked to commit what had arrived, if it was and has not answered.
        asked: Option<u64>,
    },
    /// It held, was told that it does no more, and has not released: it may still be writing.
    Lost { key: UploadId },
    /// A HEAD wants to know what has arrived.
    Asks { key: UploadId, op: OpId, turn: u64 },
}

impl Role {
    fn key(&self) -> &UploadId {
        match self {
            Self::Waits { key, .. }
            | Self::Holds { key, .. }
            | Self::Lost { key }
            | Self::Asks { key, .. } => key,
        }
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) granted: u32,
    /// Holders that held for too long.
    pub(super) taken_away: u32,
    /// Who has waited long enough.
    pub(super) sent_away: u32,
    /// HEADs that were answered,
    pub(super) checkpoints: u32,
    /// because a holder has committed for them.
    pub(super) of_holders: u32,
}

/// What has happened so far.
pub(super) struct Seen {
    roles: BTreeMap<Owner, Role>,
    /// Counts calls and timeouts.
    turn: u64,
    first: Fence,
    last: Option<Fence>,
    /// What the call of this turn is answered at once.
    due: Option<(Owner, OpId, LockReply)>,
    /// The holder must learn in this turn that somebody new waits, and with which offset.
    newcomer: Option<(Owner, Option<u64>)>,
    /// A holder has answered in this turn: what had arrived by then is committed.
    committed: Option<(UploadId, u64)>,
    timed_out: bool,
    pub(super) told: Told,
}

impl Seen {
    pub(super) fn new(first: Fence) -> Self {
        Self {
            roles: BTreeMap::new(),
            turn: 0,
            first,
            last: None,
            due: None,
            newcomer: None,
            committed: None,
            timed_out: false,
            told: Told::default(),
        }
    }

    pub(super) fn role(&self, owner: Owner) -> Option<&Role> {
        self.roles.get(&owner)
    }

    pub(super) fn key(&self, owner: Owner) -> Option<UploadId> {
        self.role(owner).map(|role| role.key().clone())
    }

    /// Somebody who has not left.
    pub(super) fn anybody(&self) -> Option<(Owner, UploadId)> {
        self.roles.iter().next().map(|(owner, role)| (*owner, role.key().clone()))
    }

    fn on<'a>(&'a self, key: &'a UploadId) -> impl Iterator<Item = (Owner, &'a Role)> {
        self.roles.iter().filter(move |(_, role)| role.key() == key).map(|(owner, role)| (*owner, role))
    }

    fn holder(&self, key: &UploadId) -> Option<Owner> {
        self.on(key).find(|(_, role)| matches!(role, Role::Holds { .. })).map(|(owner, _)| owner)
    }

    /// Who waits, in order.
    fn line(&self, key: &UploadId) -> Vec<Owner> {
        let waiting = |(owner, role): (Owner, &Role)| match role {
            Role::Waits { turn, .. } => Some((*turn, owner)),
            _ => None,
        };
        let mut line: Vec<_> = self.on(key).filter_map(waiting).collect();
        line.sort_unstable();
        line.into_iter().map(|(_, owner)| owner).collect()
    }

    fn turns(&mut self) {
        self.turn += 1;
        (self.newcomer, self.committed, self.timed_out) = (None, None, false);
    }

    pub(super) fn timeout(&mut self) {
        self.turns();
        self.timed_out = true;
    }

    /// The table is about to be called.
    pub(super) fn called(&mut self, now: Instant, owner: Owner, op: OpId, call: &LockCall) {
        self.turns();
        let turn = self.turn;
        let held = self.holder(key_of(call)).is_some();
        let role = self.roles.get_mut(&owner).filter(|role| role.key() == key_of(call));
        match call {
            LockCall::Acquire { preempt: false, .. } if held => {
                self.due = Some((owner, op, LockReply::TimedOut));
            }
            LockCall::Acquire { key, offset, wait, ttl, .. } => {
                self.newcomer = self.holder(key).map(|holder| (holder, *offset));
                let (key, until) = (key.clone(), now.after(*wait));
                let waits = Role::Waits { key, op, offset: *offset, until, ttl: *ttl, turn };
                assert!(self.roles.insert(owner, waits).is_none());
            }
            LockCall::Renew { ttl, .. } => {
                let mut reply = LockReply::Lost;
                if let Some(Role::Holds { expires, .. }) = role {
                    (*expires, reply) = (now.after(*ttl), LockReply::Renewed);
                }
                self.due = Some((owner, op, reply));
            }
            LockCall::Release { .. } => {
                if role.is_some() {
                    self.roles.remove(&owner);
                }
                self.due = Some((owner, op, LockReply::Released));
            }
            LockCall::Checkpoint { key } => {
                let key = key.clone();
                assert!(self.roles.insert(owner, Role::Asks { key, op, turn }).is_none());
            }
            LockCall::Checkpointed { key } => {
                if let Some(Role::Holds { asked, .. }) = role {
                    self.committed = asked.take().map(|asked| (key.clone(), asked));
                }
            }
        }
    }

    /// The table tells an owner this.
    pub(super) fn see(&mut self, now: Instant, owner: Owner, event: LockEvent) {
        match event {
            LockEvent::Reply(op, reply) if self.due == Some((owner, op, reply)) => self.due = None,
            LockEvent::Reply(op, LockReply::Granted { fence, rotate }) => {
                self.granted(now, owner, op, (fence, rotate))
            }
            LockEvent::Reply(op, LockReply::TimedOut) => {
                let Some(Role::Waits { key, op: due, until, .. }) = self.roles.remove(&owner) else {
                    panic!("{owner:?} does not wait")
                };
                assert!(op == due && until <= now, "{owner:?} is sent away too early");
                assert!(self.holder(&key).is_some(), "the lock is free, and {owner:?} does not get it");
                self.told.sent_away += 1;
            }
            LockEvent::Reply(op, LockReply::Checkpointed) => self.checkpointed(owner, op),
            LockEvent::Reply(_, reply) => panic!("{owner:?} gets {reply:?}, and has not asked for it"),
            LockEvent::Yield(offset) => self.yields(owner, offset),
            LockEvent::Checkpoint => {
                let key = self.key(owner).unwrap();
                let turn = self.turn;
                assert!(self.on(&key).any(|(_, role)| matches!(role, Role::Asks { .. })), "for nobody");
                let Some(Role::Holds { asked, .. }) = self.roles.get_mut(&owner) else {
                    panic!("{owner:?} has nothing to commit")
                };
                assert_eq!(asked.replace(turn), None, "asked again before it has answered");
            }
            LockEvent::Lost => {
                let Some(Role::Holds { key, expires, .. }) = self.roles.remove(&owner) else {
                    panic!("{owner:?} has nothing to lose")
                };
                assert!(expires <= now, "taken away before its time was over");
                assert!(!self.line(&key).is_empty(), "taken away for nobody");
                self.roles.insert(owner, Role::Lost { key });
                self.told.taken_away += 1;
            }
        }
    }

    fn granted(&mut self, now: Instant, owner: Owner, op: OpId, (fence, rotate): (Fence, bool)) {
        let key = self.key(owner).unwrap();
        assert_eq!(self.holder(&key), None, "two hold {key}");
        assert_eq!(self.line(&key).first(), Some(&owner), "not the first in line");
        let unsure = self.on(&key).any(|(_, role)| matches!(role, Role::Lost { .. }));
        assert_eq!(rotate, unsure, "whether another may still be writing");
        assert!(
            fence >= self.first && self.last.is_none_or(|last| fence > last),
            "{fence:?} after {:?}",
            self.last
        );
        self.last = Some(fence);
        let Some(Role::Waits { op: due, ttl, .. }) = self.roles.remove(&owner) else { unreachable!() };
        assert_eq!(op, due);
        let holds = Role::Holds { key, expires: now.after(ttl), yields: false, asked: None };
        self.roles.insert(owner, holds);
        self.told.granted += 1;
    }

    fn yields(&mut self, owner: Owner, told: Option<u64>) {
        let key = self.key(owner).unwrap();
        let theirs = |role: &Role| matches!(role, Role::Waits { offset, .. } if *offset == told);
        assert!(self.on(&key).any(|(_, role)| theirs(role)), "{owner:?} should yield to nobody");
        let Some(Role::Holds { yields, .. }) = self.roles.get_mut(&owner) else {
            panic!("{owner:?} has nothing to yield")
        };
        *yields = true;
        if self.newcomer == Some((owner, told)) {
            self.newcomer = None;
        }
    }

    /// What had arrived when this HEAD came is committed: nobody writes, or who does has begun to commit after that.
    fn checkpointed(&mut self, owner: Owner, op: OpId) {
        let Some(Role::Asks { key, op: due, turn }) = self.roles.remove(&owner) else {
            panic!("{owner:?} has not asked")
        };
        assert_eq!(op, due);
        let holders = self.committed.as_ref().is_some_and(|(of, since)| *of == key && turn <= *since);
        assert!(holders || self.holder(&key).is_none(), "{owner:?} is told of what is not committed");
        self.told.checkpoints += 1;
        self.told.of_holders += u32::from(holders);
    }

    /// All that the table had to tell is told: nobody waits for what is there already, and it wakes in time.
    pub(super) fn rest(&self, now: Instant, table: &LockTable) {
        assert_eq!(self.due, None, "a call is not answered");
        assert_eq!(self.newcomer, None, "the holder does not know of who came");
        assert_eq!(table.is_empty(), self.roles.is_empty());
        let mut wake = None;
        for role in self.roles.values() {
            let Some(holder) = self.holder(role.key()) else {
                assert!(matches!(role, Role::Lost { .. }), "nobody holds, and {role:?}");
                continue;
            };
            let Some(Role::Holds { expires, yields, asked, .. }) = self.role(holder) else { unreachable!() };
            match role {
                Role::Waits { until, .. } => {
                    assert!(yields, "{holder:?} does not know of {role:?}");
                    assert!(!self.timed_out || *until > now && *expires > now, "{role:?} still waits");
                    wake = [wake, Some(*until), Some(*expires)].into_iter().flatten().min();
                }
                Role::Asks { key, turn, .. } => {
                    assert!(asked.is_some(), "nobody has asked {holder:?} for {role:?}");
                    let answered = self.committed.as_ref().filter(|(of, _)| of == key);
                    assert!(answered.is_none_or(|(_, since)| turn > since), "{role:?} is not told");
                }
                Role::Holds { .. } | Role::Lost { .. } => {}
            }
        }
        assert_eq!(table.deadline(), wake, "when something is over");
    }
}

impl Told {
    #[cfg(test)]
    pub(super) fn add(&mut self, more: Self) {
        self.granted += more.granted;
        self.taken_away += more.taken_away;
        self.sent_away += more.sent_away;
        self.checkpoints += more.checkpoints;
        self.of_holders += more.of_holders;
    }
}

fn key_of(call: &LockCall) -> &UploadId {
    let (LockCall::Acquire { key, .. }
    | LockCall::Renew { key, .. }
    | LockCall::Release { key }
    | LockCall::Checkpoint { key }
    | LockCall::Checkpointed { key }) = call;
    key
}
