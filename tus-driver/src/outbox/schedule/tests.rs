//! Order, pauses and bounds, on a virtual clock and an outbox in memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use tus_proto::{Record, WallTime};

use super::*;

const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

/// What the hooks do with an upload's event.
type Hook = Box<dyn FnMut(&OutboxEvent) -> Told>;

/// An outbox, hooks, and a clock.
struct World {
    outbox: BTreeMap<u64, OutboxEvent>,
    last: u64,
    now: Instant,
    schedule: Schedule,
    hook: Hook,
    /// What the hooks took note of, and when, in seconds.
    told: Vec<(String, u64)>,
    calls: usize,
    /// The most events in memory at once.
    held: usize,
    acknowledging: bool,
}

fn record(id: &str, complete: bool) -> Record {
    Record {
        id: UploadId::new(id).unwrap(),
        created: WallTime::default(),
        offset: u64::from(complete),
        length: Some(1),
        metadata: String::new(),
        expires: None,
        concat: None,
        explicit: None,
    }
}

impl World {
    fn new(hook: impl FnMut(&OutboxEvent) -> Told + 'static) -> Self {
        let now = Instant::default();
        let schedule = Schedule::new(now, 0, 4, PAUSES);
        let (told, outbox, hook) = (Vec::new(), BTreeMap::new(), Box::new(hook));
        Self { outbox, last: 0, now, schedule, hook, told, calls: 0, held: 0, acknowledging: true }
    }

    fn push(&mut self, kind: EventKind, record: Record) {
        self.last += 1;
        self.outbox.insert(self.last, OutboxEvent { number: self.last, kind, record, attempts: 0 });
    }

    fn completed(&mut self, id: &str) {
        self.push(EventKind::Completed, record(id, true));
    }

    fn terminated(&mut self, id: &str, complete: bool) {
        self.push(EventKind::Terminated, record(id, complete));
    }

    /// The process ends, and begins anew on what the outbox has.
    fn restart(&mut self) {
        self.restart_without_telling();
        self.settle();
    }

    fn restart_without_telling(&mut self) {
        self.schedule = Schedule::new(self.now, self.last, 4, PAUSES);
    }

    fn news(&mut self) {
        self.schedule.on_news();
        self.settle();
    }

    /// Does what can be done without time passing.
    fn settle(&mut self) {
        while let Some(action) = self.schedule.poll(self.now) {
            match action {
                Action::Read { after, limit } => self.read(after, limit),
                Action::Tell(entry) => {
                    self.calls += 1;
                    let told = (self.hook)(&entry);
                    self.schedule.on_told(self.now, &entry.record.id, told);
                    if told == Told::Done {
                        self.told.push((name(&entry), self.now.as_micros() / 1_000_000));
                    }
                }
                Action::Acknowledge(id, number) => {
                    if self.acknowledging {
                        self.outbox.remove(&number).unwrap();
                    }
                    self.schedule.on_acknowledged(self.now, &id, self.acknowledging);
                }
            }
            self.check();
        }
    }

    /// Does what can be done while no hook returns. Tells which ones began.
    fn begin(&mut self) -> Vec<String> {
        let mut begun = Vec::new();
        while let Some(action) = self.schedule.poll(self.now) {
            match action {
                Action::Read { after, limit } => self.read(after, limit),
                Action::Tell(entry) => begun.push(name(&entry)),
                Action::Acknowledge(..) => unreachable!("nobody took note of anything"),
            }
            self.check();
        }
        begun
    }

    fn read(&mut self, after: u64, limit: usize) {
        assert!(limit > 0);
        let entries = self.outbox.range(after + 1..).map(|(_, entry)| entry.clone());
        self.schedule.on_read(self.now, after, Ok(entries.take(limit).collect()));
    }

    fn check(&mut self) {
        let schedule = &self.schedule;
        let lanes = schedule.lanes.values();
        let held: usize = lanes.clone().map(|lane| lane.entries.len()).sum();
        let waiting: usize = lanes.filter(|lane| lane.waits).map(|lane| lane.entries.len()).sum();
        assert_eq!((schedule.held, schedule.waiting), (held, waiting));
        assert!(held <= WINDOW && waiting <= WAITING, "{held} {waiting}");
        self.held = self.held.max(held);
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, seconds: u64) {
        let until = self.now.after(Duration::from_secs(seconds));
        while let Some(at) = self.schedule.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = until;
    }

    fn names(&self) -> Vec<&str> {
        self.told.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn name(entry: &OutboxEvent) -> String {
    let sign = if entry.kind == EventKind::Completed { '+' } else { '-' };
    format!("{sign}{}", entry.record.id)
}

fn fine(_: &OutboxEvent) -> Told {
    Told::Done
}

#[test]
fn events_are_told_at_once_in_order_and_leave_the_outbox() {
    let mut world = World::new(fine);
    world.settle();
    world.completed("a");
    world.terminated("a", true);
    world.terminated("b", false);
    world.news();
    assert_eq!(world.told.iter().filter(|(name, _)| name.ends_with('a')).count(), 2);
    let of_a: Vec<_> = world.names().into_iter().filter(|name| name.ends_with('a')).collect();
    assert_eq!(of_a, ["+a", "-a"]);
    assert!(world.outbox.is_empty() && world.schedule.is_idle() && world.schedule.lanes.is_empty());
    assert_eq!(world.schedule.deadline(), None);
}

#[test]
fn a_failing_one_is_tried_again_with_growing_pauses_and_holds_up_no_other() {
    let mut failures = 11;
    let mut world = World::new(move |entry| {
        if name(entry) != "+bad" || failures == 0 {
            return Told::Done;
        }
        failures -= 1;
        Told::Failed
    });
    world.completed("bad");
    world.terminated("bad", true);
    world.completed("good");
    world.settle();
    assert_eq!(world.names(), ["+good"]);
    world.pass(2000);
    // 1 + 2 + 4 + … + 256, then 300 and 300.
    assert_eq!(world.told[1..], [("+bad".into(), 1111), ("-bad".into(), 1111)]);
    assert_eq!(world.calls, 3 + 11);
    assert!(world.outbox.is_empty());
}

#[test]
fn what_is_not_acknowledged_is_not_told_again_but_acknowledged_again() {
    let mut world = World::new(fine);
    world.acknowledging = false;
    world.completed("a");
    world.terminated("a", true);
    world.settle();
    world.pass(5);
    assert_eq!(world.names(), ["+a"], "the next one waits for the acknowledgement");
    world.acknowledging = true;
    world.pass(5);
    assert_eq!(world.names(), ["+a", "-a"]);
    assert!(world.outbox.is_empty());
}

#[test]
fn what_a_crash_left_is_told_after_it() {
    let mut world = World::new(fine);
    world.settle();
    world.completed("a");
    world.completed("b");
    world.terminated("a", true);
    world.restart();
    let of_a: Vec<_> = world.names().into_iter().filter(|name| name.ends_with('a')).collect();
    assert_eq!((of_a.as_slice(), world.told.len()), (&["+a", "-a"][..], 3));
    assert!(world.outbox.is_empty());
}

#[test]
fn at_most_as_many_run_at_once_as_there_are_threads_and_one_of_an_upload() {
    let mut world = World::new(fine);
    world.completed("a");
    world.terminated("a", true);
    for number in 0..9 {
        world.completed(&format!("b{number}"));
    }
    let running = world.begin();
    assert_eq!(running, ["+a", "+b0", "+b1", "+b2"]);
    assert!(!world.schedule.is_idle());
    world.schedule.stop();
    for id in ["a", "b0", "b1", "b2"] {
        world.schedule.on_told(world.now, &UploadId::new(id).unwrap(), Told::Done);
    }
    world.settle();
    assert!(world.schedule.is_idle() && world.calls == 0, "nothing new begins");
    assert_eq!(world.outbox.len(), 7);
}

#[test]
fn what_is_new_overtakes_a_flood_of_slow_failures() {
    let mut world = World::new(fine);
    for number in 0..5000 {
        world.completed(&format!("bad{number}"));
    }
    world.restart_without_telling();
    assert_eq!(world.begin(), ["+bad0", "+bad1", "+bad2", "+bad3"]);
    world.completed("good");
    world.schedule.on_news();
    assert_eq!(world.begin(), [""; 0], "all threads are taken");
    assert_eq!(world.held, OLD + 1);
    let mut begun = Vec::new();
    for id in ["bad0", "bad1"] {
        world.schedule.on_told(world.now, &UploadId::new(id).unwrap(), Told::Failed);
        begun.extend(world.begin());
    }
    begun.sort();
    assert_eq!(begun, ["+bad4", "+good"]);
}

#[test]
fn a_flood_of_failures_takes_bounded_memory_and_delays_no_other_upload() {
    let mut world =
        World::new(
            |entry| {
                if entry.record.id.as_str().starts_with("bad") { Told::Failed } else { Told::Done }
            },
        );
    for number in 0..5000 {
        world.completed(&format!("bad{number}"));
    }
    world.restart();
    for number in 0..100 {
        world.completed(&format!("good{number}"));
        world.news();
        assert_eq!(world.told.len(), number + 1, "it must not wait for anything");
        world.pass(7);
    }
    assert!(world.held <= WINDOW);
    // Every one of them is tried now and then, and no more often than that.
    world.hook = Box::new(|entry| {
        assert!(entry.record.id.as_str().starts_with("bad"));
        Told::Done
    });
    world.pass(601);
    assert!(world.outbox.is_empty(), "{} are left", world.outbox.len());
}

#[test]
fn a_flood_of_failures_never_breaks_the_order_of_an_upload() {
    let broken = std::rc::Rc::new(std::cell::Cell::new(true));
    let switch = broken.clone();
    let mut world = World::new(move |entry| {
        if entry.kind == EventKind::Completed && switch.get() { Told::Failed } else { Told::Done }
    });
    for number in 0..1000 {
        world.completed(&format!("u{number}"));
    }
    world.news();
    for number in 0..1000 {
        world.terminated(&format!("u{number}"), true);
        if number % 100 == 0 {
            world.news();
            world.pass(3);
        }
    }
    world.restart();
    world.pass(1000);
    assert_eq!(world.told, [], "nothing was told before what precedes it");
    // A termination without a predecessor waits for nobody.
    world.terminated("other", false);
    world.terminated("u5000", true);
    world.news();
    assert_eq!(world.names(), ["-other"]);
    world.pass(900);
    assert_eq!(world.names(), ["-other", "-u5000"]);
    broken.set(false);
    world.pass(1300);
    assert!(world.outbox.is_empty(), "{} are left", world.outbox.len());
    let place = |name: String| world.names().iter().position(|told| *told == name).unwrap();
    for number in 0..1000 {
        assert!(place(format!("+u{number}")) < place(format!("-u{number}")), "{number}");
    }
    assert_eq!(world.told.len(), 2002);
}

#[test]
fn an_outbox_that_cannot_be_read_is_read_later() {
    let mut world = World::new(fine);
    world.completed("a");
    while let Some(Action::Read { after, .. }) = world.schedule.poll(world.now) {
        world.schedule.on_read(world.now, after, Err(Failure::Io));
    }
    assert_eq!(world.schedule.deadline(), Some(world.now.after(PAUSES.first)));
    world.pass(1);
    assert_eq!(world.told, [("+a".into(), 1)]);
}
