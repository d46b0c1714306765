//! The simulator: the real HTTP, exchange, lock table and store, on a simulated disk and a simulated network,
//! with simulated clients, one step after another in one thread. Time is virtual, and every decision comes from
//! a seed: the same seed is the same run, to the byte.
//!
//! Each seed draws its own mix of sizes, limits, options and faults (`plan`). Who looks on knows what was
//! promised and told (`oracle`), and panics where it is not kept. In the end the faults stop, and every honest
//! client must finish, and nothing may be left behind.

mod client;
mod content;
mod env;
mod network;
mod oracle;
mod plan;
mod server;
mod trace;
mod world;

pub use trace::take as take_trace;

use self::world::World;
use crate::choice::{self, Choice};

/// What runs held, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps.
    pub steps: u64,
    /// Requests that reached the server.
    pub requests: u64,
    /// How many requests clients meant in the IETF's protocol.
    pub ietf: u64,
    /// Answers that it gave.
    pub answers: u64,
    /// Answers to clients that bore an upload, or a range of one.
    pub downloads: u64,
    /// Groups that were committed, or tried.
    pub commits: u64,
    /// How many changes in them were of a writer that had lost its lock to another one.
    pub late: u64,
    /// Ends of the process.
    pub crashes: u64,
    /// How many of those took the machine along.
    pub power_cuts: u64,
    /// Faults of disk, network and lock service that were met.
    pub faults: u64,
    /// Microseconds of virtual time.
    pub virtual_micros: u64,
}

impl Report {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.requests += other.requests;
        self.ietf += other.ietf;
        self.answers += other.answers;
        self.downloads += other.downloads;
        self.commits += other.commits;
        self.late += other.late;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.faults += other.faults;
        self.virtual_micros += other.virtual_micros;
    }
}

/// The run of a seed. With `traced` it leaves a trace, for [`take_trace`].
///
/// # Panics
/// If a promise is not kept: that is the finding.
pub fn run(seed: u64, traced: bool) -> Report {
    World::new(Choice::seeded(choice::mix(seed)), traced).run()
}

/// The run that these bytes choose. With `traced` it leaves a trace, for [`take_trace`].
///
/// # Panics
/// If a promise is not kept: that is the finding.
pub fn run_by(bytes: &[u8], traced: bool) -> Report {
    World::new(Choice::by(bytes), traced).run()
}
