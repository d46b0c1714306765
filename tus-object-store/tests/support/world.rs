//! One thread, a virtual clock, and an order of events that a seed decides: the executor of every server there is, and what
//! the bucket's answers wait on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Wake, Waker},
    time::Duration,
};

use tus_driver::{
    Class, Executor, Job, Task,
    tus_proto::{Instant, Now, WallTime},
};

const START: u64 = 1_700_000_000_000_000;

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }
}

pub struct World {
    state: Mutex<State>,
}

struct State {
    now: u64,
    rng: Rng,
    tasks: BTreeMap<u64, (u64, Option<Task>)>,
    ready: Vec<Ready>,
    timers: BTreeMap<(u64, u64), (u64, Job)>,
    serial: u64,
    /// Servers that stand still, and until when.
    paused: BTreeMap<u64, u64>,
}

enum Ready {
    Task(u64),
    Job(u64, Job),
}

impl World {
    pub fn new(seed: u64) -> Arc<Self> {
        let state = State {
            now: 1_000_000,
            rng: Rng::new(seed),
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            serial: 0,
            paused: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn now(&self) -> u64 {
        self.lock().now
    }

    pub fn rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.lock().rng)
    }

    /// The executor of one life of a server. Its calendar may be wrong by so much.
    pub fn executor(self: &Arc<Self>, server: u64, skew: u64) -> Arc<dyn Executor> {
        Arc::new(On { world: self.clone(), server, skew })
    }

    /// Runs something of a server's after a time; 0 is what lies outside all servers.
    pub fn after(&self, server: u64, time: u64, job: Job) {
        let mut state = self.lock();
        state.serial += 1;
        let at = (state.now + time, state.serial);
        state.timers.insert(at, (server, job));
    }

    /// Ends a server as a power cut does: nothing of it runs any more.
    pub fn kill(&self, server: u64) {
        let mut state = self.lock();
        let dead: Vec<u64> =
            state.tasks.iter().filter(|(_, task)| task.0 == server).map(|(id, _)| *id).collect();
        let tasks: Vec<_> = dead.iter().filter_map(|id| state.tasks.remove(id)).collect();
        let timers: Vec<_> =
            state.timers.iter().filter(|(_, timer)| timer.0 == server).map(|(at, _)| *at).collect();
        let timers: Vec<_> = timers.iter().filter_map(|at| state.timers.remove(at)).collect();
        drop(state);
        drop((tasks, timers));
    }

    pub fn pause(&self, server: u64, time: u64) {
        let mut state = self.lock();
        let until = state.now + time;
        state.paused.insert(server, until);
    }

    /// Whether a server stands still.
    pub fn is_paused(&self, server: u64) -> bool {
        let state = self.lock();
        state.paused.get(&server).is_some_and(|until| *until > state.now)
    }

    /// Runs one thing that can run now. `false` if there is none.
    pub fn step(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let now = state.now;
        let runnable: Vec<usize> = (0..state.ready.len())
            .filter(|index| {
                let server = match &state.ready[*index] {
                    Ready::Task(id) => state.tasks.get(id).map_or(0, |task| task.0),
                    Ready::Job(server, _) => *server,
                };
                state.paused.get(&server).is_none_or(|until| *until <= now)
            })
            .collect();
        if runnable.is_empty() {
            return false;
        }
        let index = state.rng.below(runnable.len() as u64) as usize;
        let id = match state.ready.swap_remove(runnable[index]) {
            Ready::Task(id) => id,
            Ready::Job(_, job) => {
                drop(state);
                job();
                return true;
            }
        };
        let Some(mut task) = state.tasks.get_mut(&id).and_then(|task| task.1.take()) else { return true };
        drop(state);
        let waker = Waker::from(Arc::new(Wakes { world: self.clone(), id }));
        let ready = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.lock();
        if ready {
            state.tasks.remove(&id);
        } else if let Some(place) = state.tasks.get_mut(&id) {
            place.1 = Some(task);
            return true;
        }
        drop(state);
        true
    }

    /// Goes on to the next timer, but not past `until`. `false` if there is none before that.
    pub fn advance(&self, until: u64) -> bool {
        let mut state = self.lock();
        let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= until) else {
            state.now = state.now.max(until);
            return false;
        };
        let ((at, serial), (server, job)) = timer.remove_entry();
        state.now = state.now.max(at);
        let resumes = state.paused.get(&server).copied().filter(|resumes| *resumes > state.now);
        match resumes {
            Some(resumes) => drop(state.timers.insert((resumes, serial), (server, job))),
            None => state.ready.push(Ready::Job(server, job)),
        }
        true
    }

    /// When something happens next, if nothing can run now: a timer, or the end of a pause.
    pub fn next(&self) -> Option<u64> {
        let state = self.lock();
        let timer = state.timers.keys().next().map(|at| at.0);
        let paused = state.paused.values().copied().filter(|until| *until > state.now).min();
        timer.into_iter().chain(paused).min()
    }
}

struct Wakes {
    world: Arc<World>,
    id: u64,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let mut state = self.world.lock();
        let waits = state.ready.iter().any(|ready| matches!(ready, Ready::Task(id) if *id == self.id));
        if !waits && state.tasks.contains_key(&self.id) {
            state.ready.push(Ready::Task(self.id));
        }
    }
}

struct On {
    world: Arc<World>,
    server: u64,
    skew: u64,
}

impl Executor for On {
    fn run(&self, _: Class, job: Job) {
        self.world.lock().ready.push(Ready::Job(self.server, job));
    }

    fn at(&self, when: Instant, job: Job) {
        let time = when.since(self.now().monotonic);
        self.world.after(self.server, time.as_micros().try_into().unwrap_or(u64::MAX / 4), job);
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        let mut state = self.world.lock();
        state.serial += 1;
        let id = state.serial;
        state.tasks.insert(id, (self.server, Some(task)));
        state.ready.push(Ready::Task(id));
        Ok(())
    }

    fn now(&self) -> Now {
        let now = self.world.now();
        let wall = WallTime::from_micros(START + self.skew).after(Duration::from_micros(now));
        // Each machine's steady clock begins somewhere else.
        Now { monotonic: Instant::from_micros(now + self.skew * 3), wall, date: wall }
    }

    fn random(&self, out: &mut [u8]) -> bool {
        let mut state = self.world.lock();
        for byte in out {
            *byte = state.rng.next() as u8;
        }
        true
    }
}
