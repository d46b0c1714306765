//! Who looks on, and knows what must be true: what the store has promised, what the server has told, who holds
//! which lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    time::Duration,
};

use tus_proto::{
    Completion, Fence, Instant, LockCall, LockEvent, LockReply, OpId, Owner, UploadId, WallTime,
};
use tus_redb::{Change, Durability, Store, sim::SimDisk};

use super::{choice::mix, plan::Plan};

/// A byte of a file: another one at every place of every file.
pub(super) fn content(file: usize, at: u64) -> u8 {
    (mix((at / 8) ^ ((file as u64 + 1) << 40)) >> (at % 8 * 8)) as u8
}

/// A stretch of a file.
pub(super) fn stretch(file: usize, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| content(file, at)).collect()
}

/// How many bytes of an upload are committed; none where it is not there.
type State = Option<u64>;

#[derive(Debug)]
pub(super) struct Oracle {
    eventual: bool,
    files: Vec<u64>,
    uploads: BTreeMap<UploadId, Upload>,
    locks: BTreeMap<UploadId, Lock>,
    /// Eventual durability: how many faults the disk had when the last flush was good, and whether there were
    /// more since: what they took is taken back at the next flush, whenever that is.
    faults_at_flush: u64,
    shaken: bool,
}

/// What is known about an upload.
#[derive(Debug)]
struct Upload {
    file: usize,
    /// What it may be now: one state, but where a change has failed and nobody has looked since.
    now: BTreeSet<State>,
    /// What it has been since the last flush: with eventual durability, what a power cut may leave of it.
    since_flush: BTreeSet<State>,
    /// The highest offset that was told.
    told: u64,
    /// It may have been removed: whoever has seen it before may be telling so still.
    was_gone: bool,
    completed: bool,
    fence: Fence,
    /// When it may expire at the earliest.
    expires: Option<WallTime>,
}

#[derive(Debug, Default)]
struct Lock {
    highest: Fence,
    holder: Option<(Owner, Instant)>,
    /// Whose grant ran out, and who have not released it.
    overdue: BTreeSet<Owner>,
    /// How long whoever asks wants to hold it.
    asked: BTreeMap<Owner, Duration>,
}

impl Upload {
    fn can_be(&self, state: State, what: &str, id: &UploadId) {
        assert!(self.now.contains(&state), "{what}: {id} is {state:?}, and may be {:?}", self.now);
    }

    fn settle(&mut self, state: State) {
        self.now = [state].into();
        self.since_flush.insert(state);
        self.was_gone |= state.is_none();
    }

    /// It may be this as well: nobody knows.
    fn may_be(&mut self, state: State) {
        self.now.insert(state);
        self.since_flush.insert(state);
        self.was_gone |= state.is_none();
    }
}

impl Oracle {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            eventual: plan.store.durability == Durability::Eventual,
            files: plan.files.clone(),
            uploads: BTreeMap::new(),
            locks: BTreeMap::new(),
            faults_at_flush: 0,
            shaken: false,
        }
    }

    /// A client of this file's is about to have this upload made.
    pub(super) fn on_create(&mut self, id: &UploadId, file: usize, expires: Option<WallTime>) {
        let new = Upload {
            file,
            now: [None].into(),
            since_flush: [None].into(),
            told: 0,
            was_gone: false,
            completed: false,
            fence: Fence(0),
            expires,
        };
        assert!(self.uploads.insert(id.clone(), new).is_none(), "{id} was given out twice");
    }

    /// The store has told what became of a change.
    pub(super) fn on_change(&mut self, change: &Change, completion: &Completion) {
        let id = match change {
            Change::Create(record) => &record.id,
            Change::Commit { id, .. } | Change::Fresh { id, .. } | Change::Delete { id, .. } => id,
            _ => return,
        };
        let Some(upload) = self.uploads.get_mut(id) else { panic!("{change:?} of an upload nobody made") };
        match (change, completion) {
            (_, Completion::Missing) => {
                upload.can_be(None, "Missing", id);
                upload.settle(None);
            }
            (_, Completion::Conflict { offset }) => {
                upload.can_be(Some(*offset), "Conflict", id);
                upload.settle(Some(*offset));
            }
            (Change::Create(_), Completion::Created) => {
                upload.can_be(None, "Created", id);
                upload.settle(Some(0));
            }
            (Change::Create(_), Completion::Failed(_)) => upload.may_be(Some(0)),
            (Change::Commit { fence, from, to, finish, expires, .. }, Completion::Committed { offset }) => {
                upload.can_be(Some(*from), "Committed from", id);
                assert_eq!(offset, to, "{id}: another offset than was asked for");
                assert!(*fence >= upload.fence, "{id}: a writer that lost its lock has committed");
                let length = self.files[upload.file];
                assert!(*to <= length, "{id}: more bytes than the upload has");
                assert!(!(*finish && upload.completed), "{id}: completed twice");
                upload.completed |= *finish;
                upload.fence = *fence;
                upload.expires = *expires;
                upload.settle(Some(*to));
            }
            (Change::Commit { from, to, expires, .. }, Completion::Failed(_)) => {
                if upload.now.contains(&Some(*from)) {
                    upload.may_be(Some(*to));
                }
                upload.expires = upload.expires.zip(*expires).map(|(a, b)| a.min(b)).or(upload.expires);
            }
            (Change::Fresh { fence, at, .. }, Completion::Committed { offset }) => {
                upload.can_be(Some(*at), "a new extent", id);
                assert!(offset == at && *fence >= upload.fence, "{id}: a new extent out of place");
                upload.fence = *fence;
                upload.settle(Some(*at));
            }
            (Change::Fresh { .. }, Completion::Failed(_)) => {}
            (Change::Delete { fence, .. }, Completion::Deleted) => {
                assert!(upload.now.iter().any(Option::is_some), "{id}: deleted twice");
                assert!(*fence >= upload.fence, "{id}: deleted by one who lost its lock");
                upload.settle(None);
            }
            (Change::Delete { .. }, Completion::Failed(_)) => upload.may_be(None),
            _ => panic!("{change:?} completed as {completion:?}"),
        }
    }

    /// Uploads whose time was over may be gone now.
    pub(super) fn on_sweep(&mut self, wall: WallTime) {
        for upload in self.uploads.values_mut() {
            if upload.expires.is_some_and(|expires| expires <= wall) {
                upload.may_be(None);
            }
        }
    }

    /// All that was committed is durable, so says the store.
    pub(super) fn on_flush(&mut self, store: &Store, disk: &SimDisk) {
        self.look_at_faults(disk);
        if !self.eventual {
            return;
        }
        if disk.faults_hit() > self.faults_at_flush {
            self.faults_at_flush = disk.faults_hit();
            self.check_store(store, disk, false);
        }
        self.shaken = false;
        for upload in self.uploads.values_mut() {
            upload.since_flush = upload.now.clone();
            upload.told = upload.told.min(upload.now.iter().min().copied().flatten().unwrap_or_default());
        }
    }

    /// Eventual durability: what a failing sync has lost is taken back at some flush.
    pub(super) fn look_at_faults(&mut self, disk: &SimDisk) {
        if self.eventual && disk.faults_hit() > self.faults_at_flush {
            self.shaken = true;
            self.fall_back();
        }
    }

    /// The process has ended, or the machine with it.
    pub(super) fn on_crash(&mut self, disk: &SimDisk, machine: bool) {
        self.look_at_faults(disk);
        if machine && self.eventual {
            self.fall_back();
        }
    }

    fn fall_back(&mut self) {
        for upload in self.uploads.values_mut() {
            let lowest = upload.since_flush.iter().min().copied().flatten().unwrap_or_default();
            for state in upload.since_flush.clone() {
                upload.may_be(state);
            }
            upload.told = upload.told.min(lowest);
            upload.completed = false;
        }
    }

    /// Holds what the store has against what it must have. `whole` says that everything must be readable.
    pub(super) fn check_store(&mut self, store: &Store, disk: &SimDisk, whole: bool) {
        for (id, upload) in &mut self.uploads {
            let looked = disk.aside(|| store.load(id));
            let record = match looked {
                Ok(record) => record,
                Err(failure) => {
                    assert!(!whole, "{id} can't be read: {failure:?}");
                    continue;
                }
            };
            let state = record.as_ref().map(|record| record.offset);
            upload.can_be(state, "the store", id);
            upload.settle(state);
            let Some(record) = record else { continue };
            let length = self.files[upload.file];
            assert!(record.length.is_none_or(|told| told == length), "{id} has another length");
            upload.expires = record.expires;
            let body = disk.aside(|| {
                let mut bytes = Vec::new();
                let read = store.read(id).map(|body| body.map(|mut body| body.read_to_end(&mut bytes)));
                read.map(|read| read.map(|read| read.map(|_| bytes)))
            });
            let Ok(Some(Ok(bytes))) = body else {
                assert!(!whole, "the bytes of {id} can't be read");
                continue;
            };
            assert!(
                bytes == stretch(upload.file, 0, record.offset),
                "{id} has bytes that are not the client's"
            );
        }
        let listed = disk.aside(|| store.list(None, usize::MAX));
        for record in listed.unwrap_or_default() {
            assert!(self.uploads.contains_key(&record.id), "{} was never asked for", record.id);
        }
    }

    /// The highest offset that was told of an upload so far.
    pub(super) fn told(&self, id: &UploadId) -> u64 {
        self.uploads.get(id).map_or(0, |upload| upload.told)
    }

    /// The server tells an offset; `before` is the highest one told when the request came.
    pub(super) fn on_told(&mut self, id: &UploadId, offset: u64, before: u64) {
        let Some(upload) = self.uploads.get_mut(id) else { panic!("{id} is told of, and nobody made it") };
        let most = upload.now.iter().max().copied().flatten();
        // What a flush takes back may be on its way to be told.
        let fell = upload.was_gone || self.faults_at_flush > 0;
        assert!(Some(offset) <= most || fell, "{id}: {offset} told, and {most:?} committed");
        assert!(self.shaken || offset >= before.min(upload.told), "{id}: {offset} told, and {before} before");
        // What was taken back in between is told no more.
        upload.told = upload.told.max(offset.min(most.unwrap_or_default()));
    }

    /// Whether the upload may be gone, or was once.
    pub(super) fn may_be_gone(&self, id: &UploadId, wall: WallTime) -> bool {
        self.uploads.get(id).is_none_or(|upload| {
            upload.now.contains(&None) || upload.expires.is_some_and(|expires| expires <= wall)
        })
    }

    /// The uploads of a file that are complete.
    pub(super) fn complete(&self, file: usize) -> usize {
        let whole = [Some(self.files[file])].into();
        self.uploads.values().filter(|upload| upload.file == file && upload.now == whole).count()
    }

    pub(super) fn on_lock_call(&mut self, now: Instant, owner: Owner, _op: OpId, call: &LockCall) {
        match call {
            LockCall::Acquire { key, ttl, .. } => {
                self.locks.entry(key.clone()).or_default().asked.insert(owner, *ttl);
            }
            LockCall::Release { key } => {
                let lock = self.locks.entry(key.clone()).or_default();
                lock.asked.remove(&owner);
                lock.overdue.remove(&owner);
                lock.holder.take_if(|(holder, _)| *holder == owner);
            }
            LockCall::Renew { key, ttl } => {
                if let Some((holder, until)) = &mut self.locks.entry(key.clone()).or_default().holder
                    && *holder == owner
                {
                    *until = now.after(*ttl);
                }
            }
            LockCall::Checkpoint { .. } | LockCall::Checkpointed { .. } => {}
        }
    }

    pub(super) fn on_lock_event(&mut self, now: Instant, owner: Owner, event: &LockEvent) {
        let LockEvent::Reply(_, LockReply::Granted { fence, fresh }) = event else { return };
        let asked = self.locks.iter_mut().find_map(|(key, lock)| Some((key, lock.asked.remove(&owner)?)));
        let Some((key, ttl)) = asked else { panic!("{owner:?} was granted what it did not ask for") };
        let key = key.clone();
        let Some(lock) = self.locks.get_mut(&key) else { return };
        if let Some((holder, until)) = lock.holder.take() {
            assert!(until <= now, "{key}: {holder:?} and {owner:?} hold the same lock");
            lock.overdue.insert(holder);
        }
        assert!(*fresh || lock.overdue.is_empty(), "{key}: {:?} may still be writing", lock.overdue);
        assert!(*fence > lock.highest || lock.highest == Fence(0), "{key}: a fencing number came again");
        lock.highest = *fence;
        lock.holder = Some((owner, now.after(ttl)));
    }

    /// The lock service begins anew, with numbers above all others.
    pub(super) fn on_new_locks(&mut self) {
        for lock in self.locks.values_mut() {
            *lock = Lock { highest: lock.highest, ..Lock::default() };
        }
    }
}
