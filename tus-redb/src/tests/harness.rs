//! The script, and the oracle beside it.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use tus_proto::{Completion, Concat, Failure, Fence, Record, UploadId, WallTime};

use crate::{
    Change, Durability, Options, Sink, Store,
    sim::{Crash, SimDisk},
};

pub(super) fn id(name: &str) -> UploadId {
    UploadId::new(name).unwrap()
}

pub(super) fn record(name: &str, length: Option<u64>) -> Record {
    let metadata = format!("name {name}");
    Record {
        id: id(name),
        created: WallTime::from_micros(5),
        offset: 0,
        length,
        metadata,
        expires: None,
        concat: None,
        explicit: None,
    }
}

/// Each upload has a file of its own: what is to be seen of one that lies in the records has tests of its own.
pub(super) fn options(durability: Durability) -> Options {
    Options {
        durability,
        cache_bytes: 1 << 20,
        reserve_bytes: 256 << 10,
        inline_bytes: 0,
        ..Options::default()
    }
}

pub(super) fn commit(name: &str, fence: Fence, from: u64, to: u64, sink: Option<&Sink>) -> Change {
    let syncer = sink.map(Sink::syncer);
    Change::Commit { id: id(name), fence, from, to, length: None, expires: None, finish: false, syncer }
}

/// What an upload is: its bytes, or none where it is not there.
pub(super) type Body = Option<Vec<u8>>;

/// A store on a simulated disk, and what may be true of it.
pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) durability: Durability,
    inline_bytes: usize,
    pub(super) store: Option<Store>,
    /// What was told last.
    told: BTreeMap<&'static str, Body>,
    /// All that an upload may be after the power was cut: what was told since it was last made durable, and
    /// what was asked for and not rejected.
    possible: BTreeMap<&'static str, Vec<Body>>,
    /// What was asked for, and is not answered or was answered with a failure.
    unsure: BTreeMap<&'static str, Vec<Body>>,
    pattern: u8,
    leases: u64,
}

impl World {
    pub(super) fn new(durability: Durability, inline_bytes: usize) -> Self {
        Self {
            disk: SimDisk::new(),
            durability,
            inline_bytes,
            store: None,
            told: BTreeMap::new(),
            possible: BTreeMap::new(),
            unsure: BTreeMap::new(),
            pattern: 0,
            leases: 0,
        }
    }

    pub(super) fn open(&mut self) {
        self.leases = 0;
        self.store = Store::open_on(Arc::new(self.disk.clone()), &self.options()).ok();
    }

    fn options(&self) -> Options {
        Options { inline_bytes: self.inline_bytes, ..options(self.durability) }
    }

    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn fence(&mut self) -> Fence {
        self.leases += 1;
        Fence(self.store().first_fence().0 + self.leases)
    }

    pub(super) fn told(&self, name: &str) -> Body {
        self.told.get(name).cloned().flatten()
    }

    /// Asks for one change, and notes what came of it.
    fn change(&mut self, name: &'static str, change: Change, wanted: Body) -> Completion {
        self.change_all(change, vec![(name, wanted)])
    }

    /// The same for a change that concerns several uploads.
    fn change_all(&mut self, change: Change, wanted: Vec<(&'static str, Body)>) -> Completion {
        for (name, body) in &wanted {
            self.unsure.entry(name).or_default().push(body.clone());
        }
        let completion = self.store().commit(&[change]).pop().unwrap();
        for (name, body) in wanted {
            match completion {
                Completion::Created
                | Completion::Concatenated(_)
                | Completion::Committed { .. }
                | Completion::Deleted => self.tell(name, body),
                Completion::Failed(_) => {}
                _ => {
                    self.unsure.get_mut(name).unwrap().pop();
                }
            }
        }
        completion
    }

    fn tell(&mut self, name: &'static str, body: Body) {
        self.unsure.remove(name);
        let possible = self.possible.entry(name).or_insert_with(|| vec![None]);
        if self.durability == Durability::Strict {
            possible.clear();
        }
        possible.push(body.clone());
        self.told.insert(name, body);
    }

    pub(super) fn create(&mut self, name: &'static str, length: Option<u64>) -> Completion {
        self.change(name, Change::Create { record: record(name, length), first: None }, Some(Vec::new()))
    }

    /// Makes an upload together with its first bytes, or one after the other where the store would have that.
    fn create_with(&mut self, name: &'static str, length: Option<u64>, n: usize) {
        if self.store().reserve(n as u64).is_none() {
            self.create(name, length);
            return drop(self.patch(name, &[n], 0, length.filter(|length| *length == n as u64)));
        }
        self.pattern = self.pattern.wrapping_add(1);
        let bytes: Vec<u8> = (0..n).map(|i| self.pattern ^ (i % 7) as u8).collect();
        let (record, first) = (record(name, length), bytes.clone().into());
        self.change(name, Change::Create { record, first: Some(first) }, Some(bytes));
    }

    pub(super) fn delete(&mut self, name: &'static str) -> Completion {
        let fence = self.fence();
        self.change(name, Change::Delete { id: id(name), fence }, None)
    }

    pub(super) fn create_part(&mut self, name: &'static str, length: Option<u64>) -> Completion {
        let record = Record { concat: Some(Concat::Partial), ..record(name, length) };
        self.change(name, Change::Create { record, first: None }, Some(Vec::new()))
    }

    /// Makes a final; `wanted` says what becomes of whom.
    pub(super) fn concat(
        &mut self,
        name: &str,
        parts: &[&str],
        delete_parts: bool,
        wanted: Vec<(&'static str, Body)>,
    ) -> Completion {
        let record = Record { concat: Some(Concat::Final("final; /x".to_owned())), ..record(name, None) };
        let parts = parts.iter().map(|part| id(part)).collect();
        self.change_all(Change::Concat { record, parts, max: None, delete_parts }, wanted)
    }

    /// Deletes an unfinished part, and with it the finals that wait for it.
    pub(super) fn delete_all(&mut self, name: &'static str, with: &[&'static str]) -> Completion {
        let fence = self.fence();
        let gone = with.iter().chain([&name]).map(|name| (*name, None)).collect();
        self.change_all(Change::Delete { id: id(name), fence }, gone)
    }

    /// Stages the last `n` bytes of an upload and commits them; `wanted` says what its body makes of whom.
    pub(super) fn finish(
        &mut self,
        name: &'static str,
        n: usize,
        wanted: impl FnOnce(&Self, Vec<u8>) -> Vec<(&'static str, Body)>,
    ) -> Option<()> {
        let fence = self.fence();
        let mut bytes = self.observe(name)?;
        let from = bytes.len() as u64;
        let mut sink = self.store().append(&id(name), fence, from).ok()?;
        self.state(&mut sink, &mut bytes, n).ok()?;
        let to = bytes.len() as u64;
        sink.syncer().sync(Some(to)).ok()?;
        let (length, expires, finish, syncer) = (Some(to), None, true, Some(sink.syncer()));
        let change = Change::Commit { id: id(name), fence, from, to, length, expires, finish, syncer };
        let wanted = wanted(self, bytes);
        self.change_all(change, wanted);
        Some(())
    }

    /// Stages `n` bytes nobody wrote before.
    pub(super) fn state(&mut self, sink: &mut Sink, bytes: &mut Vec<u8>, n: usize) -> Result<(), Failure> {
        self.pattern = self.pattern.wrapping_add(1);
        let more: Vec<u8> = (0..n).map(|i| self.pattern ^ (i % 7) as u8).collect();
        sink.write(&more).map_err(|error| error.failure)?;
        bytes.extend(more);
        Ok(())
    }

    /// One request: `parts` are staged and committed one after another, then `extra` bytes are left staged.
    /// Stops at the first failure, as a request does.
    pub(super) fn patch(
        &mut self,
        name: &'static str,
        parts: &[usize],
        extra: usize,
        end: Option<u64>,
    ) -> Option<Sink> {
        let fence = self.fence();
        // Offsets are those the store tells: after a failure it may be another than was told.
        let at = self.store().load(&id(name)).ok()??.offset;
        let mut bytes = self.observe(name)?;
        let mut sink = self.store().append(&id(name), fence, at).ok()?;
        let mut from = at;
        for (index, part) in parts.iter().enumerate() {
            self.state(&mut sink, &mut bytes, *part).ok()?;
            let to = bytes.len() as u64;
            let finish = end == Some(to) && index + 1 == parts.len();
            sink.syncer().sync(finish.then_some(to)).ok()?;
            let length = finish.then_some(to);
            let syncer = Some(sink.syncer());
            let change =
                Change::Commit { id: id(name), fence, from, to, length, expires: None, finish, syncer };
            let completion = self.change(name, change, Some(bytes.clone()));
            if completion != (Completion::Committed { offset: to }) {
                return None;
            }
            from = to;
        }
        self.state(&mut sink, &mut bytes, extra).ok()?;
        Some(sink)
    }

    /// A new writer where the old one may still be writing, and is.
    fn patch_fresh(&mut self, name: &'static str, mut zombie: Sink) -> Option<()> {
        let fence = self.fence();
        let body = self.observe(name)?;
        let at = body.len() as u64;
        let change = Change::NewExtent { id: id(name), fence, at };
        if self.change(name, change, Some(body)) != (Completion::Committed { offset: at }) {
            return None;
        }
        let _ = zombie.write(&[0xee; 300]);
        drop(self.patch(name, &[900], 0, None)?);
        let _ = zombie.write(&[0xee; 3000]);
        let _ = zombie.syncer().sync(None);
        let late = commit(name, Fence(fence.0 - 1), at, at + 300, Some(&zombie));
        let answer = self.store().commit(&[late]).pop();
        assert!(matches!(answer, Some(Completion::Conflict { .. } | Completion::Failed(_))), "{answer:?}");
        Some(())
    }

    /// What the store says an upload is; must be what was told, or what was asked for and failed.
    fn observe(&mut self, name: &'static str) -> Body {
        let body = read(self.store(), name)?;
        let unsure = self.unsure.remove(name).unwrap_or_default();
        if body != self.told(name) {
            let known = unsure.contains(&body);
            assert!(known || self.was_possible(name, &body), "{name} is what nobody asked for");
            self.tell(name, body.clone());
        }
        body
    }

    /// With eventual durability, and where a sync failed, an upload may fall back.
    fn was_possible(&self, name: &'static str, body: &Body) -> bool {
        self.durability == Durability::Eventual && self.possible.get(name).is_some_and(|p| p.contains(body))
    }

    pub(super) fn flush(&mut self) {
        let _ = self.store().flush_data();
        let whole = self.disk.faults_hit();
        if self.store().flush().is_ok() && whole == 0 {
            for (name, body) in &self.told {
                self.possible.insert(name, vec![body.clone()]);
            }
        }
    }

    /// Everything a store is asked to do in its life. Goes on after failures.
    pub(super) fn run_script(&mut self) {
        if self.store.is_none() {
            self.open();
        }
        if self.store.is_none() {
            return;
        }
        self.create("a", Some(10_000));
        self.create("b", None);
        self.create("empty", Some(0));
        self.create("gone", Some(600));
        drop(self.patch("gone", &[100], 50, None));
        drop(self.patch("a", &[3_000, 2_000], 700, None));
        self.create_with("whole", Some(70), 70);
        self.create_with("begun", None, 90);
        self.flush();
        let zombie = self.patch("b", &[400, 5_000], 600, None);
        drop(self.patch("a", &[1_000], 0, None));
        if let Some(zombie) = zombie {
            self.patch_fresh("b", zombie);
        }
        self.delete("gone");
        let _ = self.store().reclaim(8);
        let fence = self.fence();
        self.store().discard(&id("b"), fence);
        drop(self.patch("b", &[300], 2_000, None));
        self.flush();
        let _ = self.store().reclaim(8);
        drop(self.patch("a", &[4_000], 0, Some(10_000)));
        drop(self.patch("b", &[100], 0, None));
        self.delete("empty");
        self.create("late", Some(80));
        drop(self.patch("late", &[80], 0, Some(80)));
        drop(self.patch("begun", &[1_500], 0, Some(1_590)));
        self.create_with("last", Some(3_000), 60);
        self.delete("whole");
        self.delete("a");
        self.flush();
        let _ = self.store().reclaim(8);
    }

    /// Crashes, opens the store again, and checks it against what was told.
    pub(super) fn crash_and_check(&mut self, crash: Crash, context: &str) {
        self.disk.crash(crash);
        self.store = None;
        self.leases = 0;
        let opened = Store::open_on(Arc::new(self.disk.clone()), &self.options());
        self.store = Some(opened.unwrap_or_else(|error| panic!("{context}: {error}")));
        let fall_back = self.durability == Durability::Eventual && crash != Crash::Process;
        let names: Vec<_> = self.told.keys().chain(self.unsure.keys()).copied().collect();
        for name in names {
            let body = read(self.store(), name).unwrap_or_else(|| panic!("{context}: {name} can't be read"));
            let mut allowed = vec![self.told(name)];
            allowed.extend(self.unsure.get(name).cloned().unwrap_or_default());
            if fall_back {
                allowed.extend(self.possible.get(name).cloned().unwrap_or(vec![None]));
            }
            let lens =
                |bodies: &[Body]| bodies.iter().map(|body| body.as_ref().map(Vec::len)).collect::<Vec<_>>();
            assert!(
                allowed.contains(&body),
                "{context}: {name} is {:?}, and may be {:?}",
                body.as_ref().map(Vec::len),
                lens(&allowed)
            );
            self.possible.insert(name, vec![body.clone()]);
            self.told.insert(name, body);
            self.unsure.remove(name);
        }
        while self.store().reclaim(8).unwrap() > 0 {}
        assert_eq!(self.store().verify().unwrap(), [], "{context}");
    }

    /// Checks that the store carries out everything again.
    pub(super) fn check_works(&mut self, context: &str) {
        let created = self.create("again", Some(9));
        assert_eq!(created, Completion::Created, "{context}: {:?}", self.store().trouble());
        assert!(self.patch("again", &[4, 5], 0, Some(9)).is_some(), "{context}");
        assert_eq!(self.delete("again"), Completion::Deleted, "{context}");
        self.store().flush().unwrap();
        let names: Vec<_> = self.told.keys().copied().collect();
        for name in names {
            self.observe(name);
            let body = self.told(name);
            self.possible.insert(name, vec![body]);
        }
    }
}

/// The bytes of an upload; the outer none where they can't be read.
fn read(store: &Store, name: &str) -> Option<Body> {
    let Some(record) = store.load(&id(name)).ok()? else { return Some(None) };
    let mut bytes = Vec::new();
    store.read(&id(name)).ok()??.read_to_end(&mut bytes).ok()?;
    assert_eq!(bytes.len() as u64, record.offset);
    Some(Some(bytes))
}
