//! The store on a disk that fails, fills up and loses its power, against a map: whatever is asked of it in any order,
//! it is what it has told, or what it was asked for and could not answer.

use std::{io::Read, sync::Arc, time::Duration};

use tus_proto::{Completion, Concat, ConcatRejection, Fence, Record, UploadId, WallTime};
use tus_redb::{
    Change, Durability, Events, Options, Sink, Store,
    sim::{Crash, Fault, SimDisk},
};

use crate::choice::Choice;
use model::{Model, State};

mod model;

const STEPS: usize = 40;
const UPLOADS: usize = 8;

/// Lets these bytes choose what is asked of a store and what becomes of its disk.
///
/// # Panics
/// If the store is not what it may be: that is the finding.
pub fn model(data: &[u8]) {
    World::new(Choice::by(data)).run();
}

/// One writer of an upload.
struct Writer {
    upload: usize,
    fence: Fence,
    sink: Sink,
    /// The committed bytes, and the staged ones after them.
    bytes: Vec<u8>,
    committed: usize,
}

struct World {
    choice: Choice,
    disk: SimDisk,
    options: Options,
    store: Option<Store>,
    model: Model,
    writers: Vec<Writer>,
    grants: u64,
    now: WallTime,
}

impl World {
    fn new(mut choice: Choice) -> Self {
        let eventual = choice.one_in(2);
        let durability = if eventual { Durability::Eventual } else { Durability::Strict };
        let events = Events { created: false, completed: true, terminated: true };
        let (cache_bytes, reserve_bytes) = (1 << 20, 256 << 10);
        let inline_bytes = choice.pick(&[0, 100, 2_000]);
        let options =
            Options { durability, cache_bytes, reserve_bytes, inline_bytes, events, ..Options::default() };
        let disk = SimDisk::new();
        disk.write_short(choice.one_in(3));
        let model = Model { eventual, ..Model::default() };
        let now = WallTime::from_micros(1);
        let (store, writers) = (None, Vec::new());
        Self { choice, disk, options, store, model, writers, grants: 0, now }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            if self.store.is_none() && !self.open() {
                self.heal();
                continue;
            }
            self.step();
        }
        self.heal();
        let crash = self.any_crash();
        self.crash(crash);
        assert!(self.open(), "it can't be opened after a crash");
        let store = self.store.take().unwrap();
        while store.reclaim(8).unwrap() > 0 {}
        while store.consolidate(1 << 20).unwrap() {}
        assert_eq!(store.verify().unwrap(), []);
    }

    /// Opens the store; whether that could be done. What is there then is what may be there.
    fn open(&mut self) -> bool {
        self.grants = 0;
        let Ok(store) = Store::open_on(Arc::new(self.disk.clone()), &self.options) else { return false };
        self.store = Some(store);
        self.disk.clone().aside(|| {
            for at in 0..self.model.uploads.len() {
                let state = self.read(at).expect("a sound disk can be read");
                self.model.see(at, state, true);
            }
        });
        self.model.flushed();
        true
    }

    fn any_crash(&mut self) -> Crash {
        let seed = self.choice.below(u64::MAX);
        if self.choice.one_in(2) { Crash::Process } else { Crash::Machine(seed) }
    }

    fn crash(&mut self, crash: Crash) {
        self.disk.crash(crash);
        self.writers.clear();
        self.store = None;
    }

    fn heal(&mut self) {
        self.disk.heal();
        self.disk.set_free(None);
    }

    fn step(&mut self) {
        match self.choice.below(32) {
            0..4 => self.create(),
            4..10 => self.begin(),
            10..20 => self.write(),
            20 => self.delete(),
            21 => self.sweep(),
            22 => self.concat(),
            23 => self.flush(),
            24 => drop(self.store().reclaim(4)),
            25 => drop(self.store().consolidate(self.choice.clone().below(5000))),
            26 => self.outbox(),
            27 => {
                let crash = self.any_crash();
                self.crash(crash);
            }
            28 => {
                let from = self.disk.calls() + self.choice.below(30);
                let fault = self.choice.pick(&[Fault::Io, Fault::Evict, Fault::Full]);
                self.disk.fail(from..from + 1 + self.choice.below(20), fault);
            }
            29 => {
                let at = self.disk.calls() + self.choice.below(60);
                self.disk.die_at(at);
            }
            30 => {
                let free = self.choice.below(64) * 4096;
                self.disk.set_free(Some(free));
            }
            _ => self.heal(),
        }
        if self.disk.has_died() {
            let seed = self.choice.below(u64::MAX);
            self.crash(Crash::Machine(seed));
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn fence(&mut self) -> Fence {
        self.grants += 1;
        Fence(self.store().first_fence().0 + self.grants)
    }

    /// What the store says an upload is; `None` if it can't be read.
    fn read(&self, at: usize) -> Option<State> {
        let id = &self.model.uploads[at].id;
        let Some(record) = self.store().load(id).ok()? else { return Some(None) };
        let mut bytes = Vec::new();
        self.store().read(id).ok()??.read_to_end(&mut bytes).ok()?;
        assert_eq!(bytes.len() as u64, record.offset, "{id} has not as many bytes as it tells");
        Some(Some((bytes, record.is_complete())))
    }

    /// Whether the disk failed, and may have lost what was told, with eventual durability.
    fn is_shaken(&self) -> bool {
        self.disk.faults_hit() > 0
    }

    /// Looks at all uploads, so that what failed is known to have happened or not; whether they could be read.
    fn look(&mut self) -> bool {
        let states: Option<Vec<_>> = (0..self.model.uploads.len()).map(|at| self.read(at)).collect();
        let Some(states) = states else { return false };
        let shaken = self.is_shaken();
        for (at, state) in states.into_iter().enumerate() {
            self.model.see(at, state, shaken);
        }
        true
    }

    /// Asks for one change.
    fn change(&mut self, change: Change, wanted: Vec<(usize, State)>) -> Completion {
        self.model.ask(&wanted);
        let completion = self.store().commit(&[change]).pop().unwrap();
        match &completion {
            Completion::Failed(_) => {}
            Completion::Created
            | Completion::Concatenated(_)
            | Completion::Committed { .. }
            | Completion::Deleted => self.model.tell(wanted),
            _ => self.model.refuse(&wanted),
        }
        completion
    }

    fn record(&self, id: &UploadId, length: Option<u64>, concat: Option<Concat>) -> Record {
        let metadata = format!("name {id}");
        let expires = self.model.uploads.last().and_then(|upload| upload.expires);
        Record {
            id: id.clone(),
            created: self.now,
            offset: 0,
            length,
            metadata,
            expires,
            concat,
            explicit: None,
        }
    }

    fn create(&mut self) {
        if self.model.uploads.len() == UPLOADS || !self.look() {
            return;
        }
        let length = self.choice.pick(&[None, Some(0), Some(600), Some(9000)]);
        let partial = self.choice.one_in(3);
        let lives = Duration::from_secs(1 + self.choice.below(100));
        // What is finished does not expire, nor, here, does a part.
        let mortal = !partial && length != Some(0) && self.choice.one_in(3);
        let expires = mortal.then(|| self.now.after(lives));
        let at = self.model.add(partial, Vec::new(), expires);
        let concat = partial.then_some(Concat::Partial);
        let record = self.record(&self.model.uploads[at].id.clone(), length, concat);
        let made = self.change(
            Change::Create { record, first: None },
            vec![(at, Some((Vec::new(), length == Some(0))))],
        );
        assert!(matches!(made, Completion::Created | Completion::Failed(_)), "{made:?}");
    }

    fn concat(&mut self) {
        if self.model.uploads.len() == UPLOADS || !self.look() {
            return;
        }
        let parts: Vec<usize> = (0..self.model.uploads.len())
            .filter(|at| self.model.uploads[*at].partial && self.model.uploads[*at].told.is_some())
            .collect();
        if parts.is_empty() {
            return;
        }
        let parts: Vec<usize> = (0..=self.choice.below(3)).map(|_| self.choice.pick(&parts)).collect();
        let at = self.model.add(false, parts.clone(), None);
        let bodies: Option<Vec<_>> = parts
            .iter()
            .map(|part| self.model.uploads[*part].told.clone().filter(|(_, complete)| *complete))
            .collect();
        let whole = bodies.map(|bodies| bodies.into_iter().flat_map(|(bytes, _)| bytes).collect());
        let wanted = whole.map_or((Vec::new(), false), |bytes| (bytes, true));
        let refused = !wanted.1 && self.model.is_crowded(&parts, self.options.max_waiting);
        let ids: Vec<_> = parts.iter().map(|part| self.model.uploads[*part].id.clone()).collect();
        let value = Concat::Final("final;/x".into());
        let record = self.record(&self.model.uploads[at].id.clone(), None, Some(value));
        let change = Change::Concat { record, parts: ids, max: None, delete_parts: false };
        match self.change(change, vec![(at, Some(wanted))]) {
            Completion::Concatenated(_) => assert!(!refused, "too many finals wait for a part"),
            Completion::Rejected(ConcatRejection::TooManyWaiting) => assert!(refused, "more finals may wait"),
            Completion::Failed(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// A writer of an upload. One that is there already may still be writing.
    fn begin(&mut self) {
        if self.model.uploads.is_empty() || !self.look() {
            return;
        }
        let upload = self.choice.index(self.model.uploads.len());
        let Some((bytes, false)) = self.model.uploads[upload].told.clone() else { return };
        if !self.model.uploads[upload].parts.is_empty() {
            return;
        }
        let (id, at) = (self.model.uploads[upload].id.clone(), bytes.len() as u64);
        let fence = self.fence();
        if self.writers.iter().any(|writer| writer.upload == upload) {
            let state = self.model.uploads[upload].told.clone();
            let fresh = self.change(Change::NewExtent { id: id.clone(), fence, at }, vec![(upload, state)]);
            if fresh != (Completion::Committed { offset: at }) {
                return;
            }
        }
        if let Ok(sink) = self.store().append(&id, fence, at) {
            let committed = bytes.len();
            self.writers.push(Writer { upload, fence, sink, bytes, committed });
        }
    }

    /// A writer stages some bytes, and may commit what it has. After a failure it is gone.
    fn write(&mut self) {
        if self.writers.is_empty() {
            return self.begin();
        }
        let at = self.choice.index(self.writers.len());
        let mut writer = self.writers.swap_remove(at);
        let count = self.choice.pick(&[0, 1, 100, 600, 5000]);
        let byte = self.choice.below(256) as u8;
        let more: Vec<u8> = (0..count).map(|at| byte ^ (at % 7) as u8).collect();
        if writer.sink.write(&more).is_err() {
            return;
        }
        writer.bytes.extend(more);
        match self.choice.below(8) {
            0 => {
                let id = self.model.uploads[writer.upload].id.clone();
                let fence = writer.fence;
                drop(writer);
                self.store().discard(&id, fence);
            }
            1 => {}
            2 | 3 => self.writers.push(writer),
            _ => {
                if self.look() && self.commit(&mut writer) {
                    self.writers.push(writer);
                }
            }
        }
    }

    /// Whether the writer may go on.
    fn commit(&mut self, writer: &mut Writer) -> bool {
        let Ok(Some(record)) = self.store().load(&self.model.uploads[writer.upload].id) else { return false };
        let to = writer.bytes.len();
        let late = record.offset as usize != writer.committed;
        let last = record.length.is_none() && self.choice.one_in(3);
        let finish = last || record.length == Some(to as u64);
        if record.length.is_some_and(|length| length < to as u64) || late {
            return false;
        }
        if writer.sink.syncer().sync(finish.then_some(to as u64)).is_err() {
            return false;
        }
        let state = Some((writer.bytes.clone(), finish));
        let mut wanted = vec![(writer.upload, state.clone())];
        if finish {
            wanted.extend(self.model.completed_by(writer.upload, &state));
        }
        let completion = self.change(
            Change::Commit {
                id: record.id.clone(),
                fence: writer.fence,
                from: writer.committed as u64,
                to: to as u64,
                length: last.then_some(to as u64),
                expires: record.expires.filter(|_| !finish),
                finish,
                syncer: Some(writer.sink.syncer()),
            },
            wanted,
        );
        writer.committed = to;
        let newest =
            self.writers.iter().all(|other| other.upload != writer.upload || other.fence < writer.fence);
        assert!(
            newest || completion != (Completion::Committed { offset: to as u64 }),
            "a fenced writer wrote"
        );
        completion == (Completion::Committed { offset: to as u64 }) && !finish
    }

    fn delete(&mut self) {
        if self.model.uploads.is_empty() || !self.look() {
            return;
        }
        let upload = self.choice.index(self.model.uploads.len());
        let (id, fence) = (self.model.uploads[upload].id.clone(), self.fence());
        let mut wanted = vec![(upload, None)];
        wanted.extend(self.model.waiting_for(upload));
        self.change(Change::Delete { id, fence }, wanted);
    }

    /// Time passes, and what expires goes: not what is written to, and nothing else.
    fn sweep(&mut self) {
        if !self.look() {
            return;
        }
        self.now = self.now.after(Duration::from_secs(self.choice.below(60)));
        let due: Vec<_> = (0..self.model.uploads.len())
            .filter(|at| {
                let upload = &self.model.uploads[*at];
                let expired = upload.expires.is_some_and(|at| at <= self.now);
                let written = self.writers.iter().any(|writer| writer.upload == *at);
                expired && !written && matches!(upload.told, Some((_, false)))
            })
            .map(|at| (at, None))
            .collect();
        self.model.ask(&due);
        let swept = self.store().sweep(self.now, 64);
        if swept.is_ok_and(|swept| swept.expired == due.len()) {
            self.model.settle_expired(due);
        }
        self.look();
    }

    fn flush(&mut self) {
        if !self.look() {
            return;
        }
        let _ = self.store().flush_data();
        let flushed = self.store().flush();
        // What could not be synced was taken back.
        if flushed.is_ok() && !self.is_shaken() {
            self.model.flushed();
        }
    }

    /// What was told has its event, until somebody was told of that.
    fn outbox(&mut self) {
        let Ok(entries) = self.store().outbox(0, 100) else { return };
        assert!(entries.is_sorted_by_key(|entry| entry.number));
        let told: Vec<_> =
            entries.iter().map(|entry| (entry.record.id.clone(), model::name(entry.kind))).collect();
        let lost = self.model.events.iter().find(|event| !told.contains(event));
        assert!(self.model.eventual || lost.is_none(), "{lost:?} is not in the outbox");
        if let Some(entry) = entries.first() {
            let (id, number, event) = (entry.record.id.clone(), entry.number, told[0].clone());
            // Whether or not it is done, nobody relies on it any more.
            self.model.events.remove(&event);
            let acknowledged = self.store().commit(&[Change::Acknowledge { id, number }]).pop();
            assert!(matches!(acknowledged, Some(Completion::Deleted | Completion::Failed(_))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_what_it_has_told() {
        for seed in 0..300 {
            let outcome = std::panic::catch_unwind(|| World::new(Choice::seeded(seed)).run());
            assert!(outcome.is_ok(), "seed {seed}");
        }
    }
}
