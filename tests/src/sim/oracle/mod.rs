//! Who looks on, and knows what must be true: what the store has promised, what the server has told, who holds
//! which lock.

use std::collections::{BTreeMap, BTreeSet};

use tus_proto::{Completion, Fence, Record, UploadId, WallTime};
use tus_redb::{Change, Durability};

pub(super) use self::downloads::Wanted;
use self::locks::Locks;
use super::plan::Plan;

mod downloads;
mod events;
mod locks;
mod store;

/// How many bytes of an upload are committed; `None` if it is not there.
type State = Option<u64>;

#[derive(Debug)]
pub(super) struct Oracle {
    eventual: bool,
    files: Vec<u64>,
    /// Which events somebody was told of: completions, and ends.
    events: BTreeSet<(UploadId, bool)>,
    keeps_events: bool,
    uploads: BTreeMap<UploadId, Upload>,
    pub(super) locks: Locks,
    /// Eventual durability: how many faults the disk had when the last flush was good, and whether there were
    /// more since: what they took is taken back at the next flush, whenever that is.
    faults_at_flush: u64,
    /// The same when the last flush was begun.
    faults_at_flushing: u64,
    shaken: bool,
}

/// What is known about an upload.
#[derive(Debug)]
struct Upload {
    /// What it is made of: one file, or for a final those of its parts.
    files: Vec<usize>,
    /// A final's parts.
    parts: Vec<UploadId>,
    metadata: String,
    /// What it may be now: one state, but where a change has failed and nobody has looked since.
    now: BTreeSet<State>,
    /// What it has been since the last flush: with eventual durability, what a power cut may leave of it.
    since_flush: BTreeSet<State>,
    /// The same since the last flush was begun.
    since_flushing: BTreeSet<State>,
    /// The highest offset that was told.
    told: u64,
    /// It may have been removed: whoever has seen it before may be telling so still.
    was_gone: bool,
    completed: bool,
    /// It is a part of finals.
    partial: bool,
    fence: Fence,
    /// When it may expire at the earliest.
    expires: Option<WallTime>,
}

impl Upload {
    fn can_be(&self, state: State, what: &str, id: &UploadId) {
        assert!(self.now.contains(&state), "{what}: {id} is {state:?}, and may be {:?}", self.now);
    }

    fn settle(&mut self, state: State) {
        self.now = [state].into();
        self.since_flush.insert(state);
        self.since_flushing.insert(state);
        self.was_gone |= state.is_none();
    }

    /// It may be this as well: nobody knows.
    fn may_be(&mut self, state: State) {
        self.now.insert(state);
        self.since_flush.insert(state);
        self.since_flushing.insert(state);
        self.was_gone |= state.is_none();
    }
}

impl Oracle {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            eventual: plan.store.durability == Durability::Eventual,
            files: plan.files.clone(),
            events: BTreeSet::new(),
            keeps_events: plan.store.events.completed,
            uploads: BTreeMap::new(),
            locks: Locks::default(),
            faults_at_flush: 0,
            faults_at_flushing: 0,
            shaken: false,
        }
    }

    /// A client of this file's is about to have this upload made.
    pub(super) fn on_create(&mut self, record: &Record, file: usize) {
        self.insert(&record.id, vec![file], Vec::new(), record.expires);
        if let Some(upload) = self.uploads.get_mut(&record.id) {
            upload.metadata.clone_from(&record.metadata);
        }
    }

    /// A final of these parts is about to be made.
    pub(super) fn on_concat(&mut self, id: &UploadId, parts: &[UploadId]) {
        let known = |part: &UploadId| self.uploads.get(part).map(|upload| upload.files.clone());
        let files = parts.iter().filter_map(known).flatten().collect();
        self.insert(id, files, parts.to_vec(), None);
    }

    fn insert(&mut self, id: &UploadId, files: Vec<usize>, parts: Vec<UploadId>, expires: Option<WallTime>) {
        let new = Upload {
            files,
            parts,
            metadata: String::new(),
            now: [None].into(),
            since_flush: [None].into(),
            since_flushing: [None].into(),
            told: 0,
            was_gone: false,
            completed: false,
            partial: false,
            fence: Fence(0),
            expires,
        };
        assert!(self.uploads.insert(id.clone(), new).is_none(), "{id} was given out twice");
    }

    /// Whether a change is of a writer that has lost its lock to another one.
    pub(super) fn is_late(&self, change: &Change) -> bool {
        match change {
            Change::Commit { id, fence, .. }
            | Change::NewExtent { id, fence, .. }
            | Change::Delete { id, fence } => {
                self.uploads.get(id).is_some_and(|upload| *fence < upload.fence)
            }
            _ => false,
        }
    }

    /// The store has told what became of a change.
    pub(super) fn on_change(&mut self, change: &Change, completion: &Completion) {
        let id = match change {
            Change::Create { record, .. } | Change::Concat { record, .. } => &record.id,
            Change::Commit { id, .. } | Change::NewExtent { id, .. } | Change::Delete { id, .. } => id,
            _ => return,
        };
        let whole = self.length(id);
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
            (Change::Create { record, first: None }, Completion::Created) => {
                upload.can_be(None, "Created", id);
                upload.partial = record.is_partial();
                upload.settle(Some(0));
            }
            (Change::Create { record, first: Some(first) }, Completion::Created) => {
                upload.can_be(None, "Created", id);
                upload.partial = record.is_partial();
                assert!(first.len() <= whole, "{id}: more bytes than the upload has");
                upload.completed = record.length == Some(first.len());
                assert!(
                    !upload.completed || upload.partial || record.expires.is_none(),
                    "{id}: complete, and to expire"
                );
                upload.expires = record.expires;
                upload.settle(Some(first.len()));
            }
            (Change::Create { first: None, .. }, Completion::Failed(_)) => upload.may_be(Some(0)),
            // The record and its bytes are there together, or not at all.
            (Change::Create { first: Some(first), .. }, Completion::Failed(_)) => {
                upload.may_be(Some(first.len()))
            }
            (Change::Concat { .. }, Completion::Concatenated(record)) => {
                upload.can_be(None, "Concatenated", id);
                assert!([0, whole].contains(&record.offset), "{id}: a final neither pending nor complete");
                upload.settle(Some(record.offset));
            }
            (Change::Concat { .. }, Completion::Failed(_)) => {
                upload.may_be(Some(0));
                upload.may_be(Some(whole));
            }
            (Change::Concat { .. }, Completion::Rejected(_)) => {}
            (Change::Commit { fence, from, to, finish, expires, .. }, Completion::Committed { offset }) => {
                upload.can_be(Some(*from), "Committed from", id);
                assert_eq!(offset, to, "{id}: another offset than was asked for");
                assert!(*fence >= upload.fence, "{id}: a writer that lost its lock has committed");
                assert!(*to <= whole, "{id}: more bytes than the upload has");
                assert!(!(*finish && upload.completed), "{id}: completed twice");
                assert!(!*finish || expires.is_none(), "{id}: complete, and to expire");
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
            (Change::NewExtent { fence, at, .. }, Completion::Committed { offset }) => {
                upload.can_be(Some(*at), "a new extent", id);
                assert!(offset == at && *fence >= upload.fence, "{id}: a new extent out of place");
                upload.fence = *fence;
                upload.settle(Some(*at));
            }
            (Change::NewExtent { .. }, Completion::Failed(_)) => {}
            (Change::Delete { fence, .. }, Completion::Deleted) => {
                assert!(upload.now.iter().any(Option::is_some), "{id}: deleted twice");
                assert!(*fence >= upload.fence, "{id}: deleted by one who lost its lock");
                upload.settle(None);
                self.lose_finals(id);
            }
            (Change::Delete { .. }, Completion::Failed(_)) => {
                upload.may_be(None);
                self.lose_finals(id);
            }
            _ => panic!("{change:?} completed as {completion:?}"),
        }
        self.complete_finals(&id.clone());
    }

    /// A part may be gone: one that is not finished takes the finals along that wait for it.
    fn lose_finals(&mut self, part: &UploadId) {
        for upload in self.uploads.values_mut().filter(|upload| upload.parts.contains(part)) {
            if upload.now != [None].into() {
                upload.may_be(None);
            }
        }
    }

    /// How many bytes the whole of an upload is.
    fn length(&self, id: &UploadId) -> u64 {
        let files = self.uploads.get(id).map(|upload| upload.files.as_slice()).unwrap_or_default();
        files.iter().map(|file| self.files[*file]).sum()
    }

    /// A part has changed, or a final was made: a final is complete when all of its parts are, and not before.
    fn complete_finals(&mut self, changed: &UploadId) {
        let concerned = |(id, upload): &(&UploadId, &Upload)| {
            !upload.parts.is_empty() && (*id == changed || upload.parts.contains(changed))
        };
        let finals: Vec<UploadId> = self.uploads.iter().filter(concerned).map(|(id, _)| id.clone()).collect();
        for id in finals {
            let Some(upload) = self.uploads.get(&id) else { continue };
            let parts = upload.parts.iter().filter_map(|part| Some((part, self.uploads.get(part)?)));
            let could = parts.clone().all(|(part, upload)| upload.now.contains(&Some(self.length(part))));
            // One whose length is deferred is not complete before that is told, either.
            let must = parts
                .clone()
                .all(|(part, upload)| upload.completed && upload.now == [Some(self.length(part))].into());
            let whole = Some(self.length(&id));
            let Some(upload) = self.uploads.get_mut(&id) else { continue };
            if must && upload.now.iter().all(Option::is_some) {
                upload.settle(whole);
            } else if could && upload.now != [None].into() {
                upload.may_be(whole);
            }
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
        let length = self.files[file];
        let of_file = |upload: &&Upload| upload.files == [file] || !upload.parts.is_empty();
        self.uploads.values().filter(of_file).filter(|upload| upload.now == [Some(length)].into()).count()
    }
}
