//! What a seed draws before anything happens: sizes, limits, options, who takes part, and which faults there may
//! be. Each run has its own mix, because a run with all of them never comes far enough for the rare ones.

use std::{sync::Arc, time::Duration};

use tus_mio_server::http1;
use tus_proto::{Config, Subscriptions};
use tus_redb::{Durability, Events, Options};

use crate::choice::Choice;

const MOSTLY_EVENTUAL: [Durability; 4] =
    [Durability::Eventual, Durability::Eventual, Durability::Eventual, Durability::Strict];

/// One run's mix.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    pub(super) http: Arc<http1::Settings>,
    pub(super) store: Options,
    /// How long uploads live, where they expire.
    pub(super) expiry: Option<Duration>,
    /// The most bytes of one request's body, where there is a limit.
    pub(super) max_chunk: Option<u64>,
    pub(super) files: Vec<u64>,
    /// Which files become one in the end, by their indices; that one's length stands behind theirs.
    pub(super) finals: Vec<Vec<usize>>,
    /// How many finals more than one its maker makes of the same parts.
    pub(super) more_finals: u32,
    pub(super) clients: Vec<Role>,
    pub(super) faults: Faults,
    /// Which hooks there are. They take their time, and reject or fail at times.
    pub(super) hooks: Subscriptions,
    /// Clients fetch what they have uploaded.
    pub(super) downloads: bool,
    /// How many of a hundred requests are in the IETF's protocol.
    pub(super) ietf: u64,
    /// How many steps until the faults end.
    pub(super) steps: u32,
}

/// What a client is out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// Which file it uploads, maybe together with others.
    pub(super) file: usize,
    /// It lies, at times.
    pub(super) lies: bool,
    /// It removes the upload, sooner or later.
    pub(super) terminates: bool,
    /// The file is a part of a final.
    pub(super) partial: bool,
    /// It uploads nothing, and makes this final of its parts.
    pub(super) makes: Option<usize>,
}

/// What power cuts are to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// Bytes that are on their way to the disk.
    Writes,
    /// Uploads that go, and those who tidy up after them.
    Removals,
}

/// Which faults there may be; each by how often in ten thousand steps, or in a hundred chances.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// The process, or the machine, ends between two steps.
    pub(super) crash: u64,
    /// It ends in the middle of a disk operation.
    pub(super) die: u64,
    /// Of the crashes, how many in a hundred take the machine along.
    pub(super) machine: u64,
    /// The server is asked to end, and begins anew.
    pub(super) restart: u64,
    /// Disk operations fail: one, or a row of them.
    pub(super) io: u64,
    /// Syncs of bytes fail, of a hundred.
    pub(super) syncs: u64,
    /// Single operations find no space.
    pub(super) full: u64,
    /// The disk is full for a while.
    pub(super) space: u64,
    pub(super) short_writes: bool,
    /// Connections break, of a hundred requests.
    pub(super) cut: u64,
    /// Whoever runs a request hangs for a while.
    pub(super) pause: u64,
    /// The lock service is one behind a network: it outlives the server, and what it tells unasked may be lost.
    pub(super) remote_locks: bool,
    /// It can't be reached, of a hundred calls.
    pub(super) lockless: u64,
    /// No change is committed for a while, as on a disk that is busy.
    pub(super) stall: u64,
    /// The calendar is set, by days, forward or back.
    pub(super) calendar: u64,
    /// Nothing goes wrong but that the power fails, again and again, most often when it meets these.
    pub(super) blackouts: Option<Meets>,
    /// Others fill the disk to its last byte, or make room again; but for that nothing goes wrong with it.
    pub(super) crammed: u64,
    /// There are no descriptors for more files, for a while.
    pub(super) descriptors: u64,
    /// Several want the same upload, and whoever holds its lock hangs: its grant runs out, and it does not know.
    pub(super) feud: bool,
}

impl Faults {
    /// Whether nothing at all goes wrong.
    pub(super) fn is_calm(&self) -> bool {
        let rates = [
            self.crash,
            self.die,
            self.restart,
            self.io,
            self.syncs,
            self.full,
            self.space,
            self.cut,
            self.pause,
            self.stall,
            self.crammed,
            self.descriptors,
        ];
        rates.iter().sum::<u64>() + self.lockless == 0 && !self.remote_locks
    }

    /// Whether the power fails most often when a server has ended that had nothing left to do.
    pub(super) fn ends_at_rest(&self) -> bool {
        self.blackouts.is_some() && self.restart > 0
    }

    /// Whether the disk may fail, or be full.
    pub(super) fn spare_the_disk(&self) -> bool {
        self.io + self.syncs + self.full + self.space + self.die == 0
    }

    fn draw(choice: &mut Choice) -> Self {
        if choice.one_in(6) {
            let short_writes = choice.one_in(2);
            // Drawn apart: the rest is what it would be without it.
            return Self { short_writes, ..Self::scarcity(&mut choice.clone()) };
        }
        if choice.one_in(5) {
            return Self::feud(choice);
        }
        if choice.one_in(2) {
            return Self::blackouts(choice);
        }
        if choice.one_in(4) {
            return Self::failing_syncs(choice);
        }
        let mut rate = |rates: &[u64]| if choice.percent(45) { choice.pick(rates) } else { 0 };
        Self {
            crash: rate(&[10, 40, 100]),
            die: rate(&[10, 40, 100]),
            machine: rate(&[20, 60, 100, 100]),
            restart: rate(&[5, 20]),
            io: rate(&[40, 150, 500]),
            syncs: rate(&[5, 20]),
            full: rate(&[10, 40, 150]),
            space: rate(&[10, 40]),
            short_writes: rate(&[0, 1]) == 1,
            cut: rate(&[10, 40, 80]),
            pause: rate(&[50, 200, 500]),
            remote_locks: rate(&[0, 1]) == 1,
            lockless: rate(&[0, 0, 3, 15]),
            stall: rate(&[20, 100]),
            calendar: rate(&[5, 20]),
            ..Self::default()
        }
    }

    /// Nothing goes wrong but that something is used up, if that.
    fn scarcity(choice: &mut Choice) -> Self {
        match choice.below(3) {
            0 => Self { crammed: choice.pick(&[40, 100, 400]), ..Self::default() },
            1 => Self { descriptors: choice.pick(&[100, 400]), ..Self::default() },
            _ => Self::default(),
        }
    }

    fn feud(choice: &mut Choice) -> Self {
        let cut = choice.pick(&[0, 10]);
        let stall = choice.pick(&[0, 100, 400]);
        Self { feud: true, remote_locks: true, pause: 800, stall, cut, ..Self::default() }
    }

    fn failing_syncs(choice: &mut Choice) -> Self {
        let (syncs, crash, short_writes) = (choice.pick(&[20, 60]), choice.pick(&[10, 40]), choice.one_in(2));
        Self { syncs, crash, machine: 100, short_writes, ..Self::default() }
    }

    fn blackouts(choice: &mut Choice) -> Self {
        let (crash, short_writes) = (choice.pick(&[10, 40]), choice.one_in(2));
        let meets = choice.pick(&[Meets::Writes, Meets::Removals]);
        // Drawn apart: the rest is what it would be without it.
        let ends = meets == Meets::Writes && choice.clone().one_in(2);
        let (meets, restart) = if ends { (Meets::Removals, 20) } else { (meets, 0) };
        Self { blackouts: Some(meets), crash, machine: 100, restart, short_writes, ..Self::default() }
    }
}

impl Plan {
    /// How many bytes must be free for everybody to get space: for the reserve, were it spent, and for bodies.
    pub(super) fn enough(&self) -> u64 {
        let largest = self.files.iter().max().copied().unwrap_or_default();
        self.store.reserve_bytes / 8 * 9 + 4 * largest + (256 << 10)
    }

    /// Whether there are hooks at all.
    pub(super) fn hooked(&self) -> bool {
        self.hooks != Subscriptions::default()
    }

    pub(super) fn draw(choice: &mut Choice) -> Self {
        let faults = Faults::draw(choice);
        let writes = faults.blackouts == Some(Meets::Writes);
        let removals = faults.blackouts == Some(Meets::Removals);
        // What is lost is to be seen.
        let much = writes || faults.syncs > 0;
        let largest = choice.pick(if much { &[3_000, 20_000] } else { &[40, 3_000, 20_000, 60_000] });
        let count = if faults.feud { 1 } else { 1 + choice.below(4) };
        let count = if faults.ends_at_rest() { 1 } else { count };
        let mut files: Vec<u64> = (0..count)
            .map(|_| match choice.one_in(12) {
                true => 0,
                // A write of a few bytes is never torn.
                false if writes => choice.part(largest),
                false => choice.magnitude(largest),
            })
            .collect();
        let downloads = choice.one_in(if removals { 2 } else { 3 }) && !faults.feud;
        let crowd = faults.feud || downloads || choice.one_in(2);
        let parallel = choice.one_in(3) && !faults.feud;
        let clients = (0..files.len()).flat_map(|file| {
            let count = if crowd { 1 + choice.below(3) + u64::from(faults.feud) } else { 1 };
            let roles: Vec<Role> = (0..count)
                .map(|_| {
                    let often = match faults.feud || downloads {
                        _ if removals => 1,
                        _ if faults.crammed > 0 => 2,
                        true => 3,
                        false => 6,
                    };
                    let (lies, terminates) = (choice.one_in(4), choice.one_in(often) && !parallel);
                    Role { file, lies, terminates, partial: parallel, makes: None }
                })
                .collect();
            roles
        });
        let mut clients: Vec<Role> = clients.collect();
        let mut finals = Vec::new();
        if parallel {
            let parts: Vec<usize> = (0..files.len()).chain(choice.one_in(4).then_some(0)).collect();
            let role =
                Role { file: files.len(), lies: false, terminates: false, partial: false, makes: Some(0) };
            clients.push(role);
            files.push(parts.iter().map(|part| files[*part]).sum());
            finals.push(parts);
        }
        let more_finals = if parallel && choice.one_in(2) { choice.pick(&[2, 12]) } else { 0 };
        let millis = |choice: &mut Choice, of: &[u64]| Duration::from_millis(choice.pick(of));
        let expiry = (choice.one_in(4) && !parallel).then(|| millis(choice, &[1_000, 5_000, 60_000]));
        // Not so small that a file takes hundreds of requests.
        let max_chunk = choice.one_in(5).then(|| largest / 16 + choice.magnitude(largest));
        let hooks = draw_hooks(choice);
        let builder = Config::builder()
            .lock_wait(millis(choice, if faults.feud { &[5_000] } else { &[0, 50, 5_000] }))
            .lock_ttl(millis(choice, if faults.feud { &[1_000] } else { &[1_000, 1_000, 10_000, 60_000] }))
            .checkpoint_bytes(choice.pick(&[1, 100, 5_000, 32 << 20]))
            .checkpoint_interval(millis(choice, &[1, 50, 2_000]))
            .upload_expiry(expiry)
            .max_chunk_size(max_chunk.unwrap_or(0))
            .downloads(downloads)
            .hooks(hooks)
            .max_size(if choice.one_in(4) && !parallel { largest } else { 0 });
        let http = http1::Settings {
            body_timeout: millis(choice, &[500, 30_000, 30_000]),
            idle_timeout: millis(choice, &[500, 60_000]),
            drain_bytes: choice.pick(&[0, 100, 256 << 10]),
            ..http1::Settings::default()
        };
        let durability = choice.pick(match faults.blackouts {
            // Both bugs that these faults are to bring out are of records that come before what they stand on.
            Some(Meets::Removals) => &MOSTLY_EVENTUAL,
            None if faults.syncs > 0 => &MOSTLY_EVENTUAL,
            Some(Meets::Writes) | None => &[Durability::Eventual, Durability::Strict],
        });
        let kept = choice.one_in(2);
        let events = Events { created: false, completed: kept, terminated: kept };
        let reserve_bytes = choice.pick(&[256 << 10, 256 << 10, 1 << 20]);
        let half = usize::try_from(largest / 2).unwrap_or_default();
        let inline_bytes = match (faults.syncs, faults.blackouts) {
            // Whoever is told of a final is told of its file: one of parts that lie in the records has a copy of its own.
            _ if more_finals > 0 && kept => 0,
            (0, None) => choice.pick(&[0, 30, 1_000, 16 << 10]),
            // Power cuts are to meet data files.
            (0, Some(Meets::Writes)) => choice.pick(&[0, 0, 30, 1_000]),
            (0, Some(Meets::Removals)) => choice.pick(&[0, 0, 0, 30]),
            // A sync that fails is to meet bodies that have just outgrown the records.
            _ => choice.pick(&[0, half / 4, half]),
        };
        let cache_bytes = 1 << 20;
        // Drawn apart: the rest is what it would be without it.
        let ietf = choice.clone().pick(&[0, 0, 10, 60]);
        Self {
            config: Arc::new(builder.build().expect("these values make sense")),
            http: Arc::new(http),
            store: Options {
                durability,
                cache_bytes,
                reserve_bytes,
                // Every other log is often full.
                log_bytes: if files.len().is_multiple_of(2) { 2 << 10 } else { 16 << 20 },
                inline_bytes,
                // A client that does not hear of its final makes another.
                max_waiting: 1_000,
                events,
                ..Options::default()
            },
            expiry,
            max_chunk,
            files,
            finals,
            more_finals,
            clients,
            faults,
            hooks,
            downloads,
            ietf,
            steps: choice.pick(&[500, 1_500, 4_000]),
        }
    }
}

fn draw_hooks(choice: &mut Choice) -> Subscriptions {
    if !choice.one_in(4) {
        return Subscriptions::default();
    }
    let mut one = || choice.one_in(2);
    Subscriptions { incoming: one(), create: one(), chunk: one(), terminate: one(), ..Subscriptions::NONE }
}
