//! The kinds of work, and which floor each is held against.

mod bodies;
mod concat;
mod idle;
mod requests;

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::{
    Trouble,
    args::How,
    contender::{Contender, Role, Running},
    figures::{Figures, Measure},
    process,
};
use bodies::{Algorithm, Bodies};
pub(crate) use requests::{Fill, Small};

/// A kind of work. What one unit of it is stands in docs/performance.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// 512 MiB in one PATCH
    Bulk,
    /// 4 uploads at once of 256 MiB, in PATCHes of 8 MiB
    Chunks,
    /// 512 MiB in one PATCH with its SHA-1
    Sha1,
    /// 512 MiB in one PATCH with its SHA-256
    Sha256,
    /// POST, PATCH of 4 KiB and HEAD, over 8 connections
    #[value(name = "small-8")]
    Small8,
    /// The same over 64 connections
    #[value(name = "small-64")]
    Small64,
    /// POST, over 8 connections
    Create,
    /// POST of an upload with its 4 KiB, over 8 connections
    CreateWhole,
    /// HEAD, over 8 connections
    Head,
    /// The final POST over 16 parts of 64 MiB
    Concat,
    /// The final POST over 16 parts of 64 KiB
    ConcatSmall,
    /// Memory for each of 4000 idle connections
    Idle,
    /// POST, PATCH of 4 KiB and HEAD of an older upload, with 1 k, 100 k and 1 M uploads in the store
    Growth,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) factor: f64,
    /// How long many small requests are made.
    pub(crate) time: Duration,
}

impl Scale {
    /// So many, or so many bytes, but one at least.
    pub(crate) fn count(self, full: u64) -> u64 {
        ((full as f64 * self.factor) as u64).max(1)
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) enum Outcome {
    Measured(Figures),
    /// The server says that it can't.
    Unsupported(&'static str),
}

const MIB: u64 = 1 << 20;

impl Work {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What the work is, in a line.
    pub(crate) fn description(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// The floor that a server is held against in this work.
    fn floor(self, role: Role) -> Option<How> {
        match self {
            Self::Bulk | Self::Chunks if role == (Role::Ours { strict: true }) => Some(How::SpliceSync),
            Self::Bulk | Self::Chunks => Some(How::Splice),
            Self::Sha1 | Self::Sha256 => Some(How::Copy),
            Self::Small8 | Self::Small64 | Self::Create | Self::CreateWhole
                if role == (Role::Ours { strict: true }) =>
            {
                Some(How::Log)
            }
            Self::Small8 | Self::Small64 | Self::Create | Self::CreateWhole | Self::Head | Self::Idle => {
                Some(How::Loop)
            }
            Self::Concat | Self::ConcatSmall | Self::Growth => None,
        }
    }

    /// The name of that floor among these servers.
    pub(crate) fn floor_of(self, one: &Contender, all: &[Contender]) -> Option<String> {
        let floor = Role::Floor(self.floor(one.role)?);
        all.iter().find(|other| other.role == floor).map(|floor| floor.name.clone())
    }

    /// Whether the server takes part: a floor does where something is held against it. Growth is compared with itself
    /// alone, and filling a peer takes hours.
    pub(crate) fn suits(self, role: Role) -> bool {
        let Role::Floor(how) = role else { return self != Self::Growth || role != Role::Peer };
        let both = [Role::Ours { strict: true }, Role::Ours { strict: false }];
        both.into_iter().any(|ours| self.floor(ours) == Some(how))
            || (how == How::Copy && matches!(self, Self::Bulk | Self::Chunks))
    }

    /// Does the work once.
    ///
    /// # Errors
    /// The server does not do what is asked of it.
    pub(crate) fn run(self, server: &Running, scale: Scale) -> Result<Outcome, Trouble> {
        let bulk = |algorithm| Bodies {
            uploads: 1,
            length: scale.count(512 * MIB),
            patch: scale.count(512 * MIB),
            algorithm,
        };
        let outcome = match self {
            Self::Bulk => bulk(None).run(server),
            Self::Chunks => {
                let length = scale.count(256 * MIB);
                Bodies { uploads: 4, length, patch: length.min(8 * MIB), algorithm: None }.run(server)
            }
            Self::Sha1 => bulk(Some(Algorithm::Sha1)).run(server),
            Self::Sha256 => bulk(Some(Algorithm::Sha256)).run(server),
            Self::Small8 => requests::small(server, 8, scale),
            Self::Small64 => requests::small(server, 64, scale),
            Self::Create => requests::create(server, scale),
            Self::CreateWhole => requests::create_whole(server, scale),
            Self::Head => requests::head(server, scale),
            Self::Concat => concat::run(server, scale.count(64 * MIB)),
            Self::ConcatSmall => concat::run(server, 64 << 10),
            Self::Idle => idle::run(server, scale.count(4000)),
            Self::Growth => Err("growth is measured over several stores".into()),
        };
        let mut outcome = outcome?;
        if let Outcome::Measured(figures) = &mut outcome {
            let peak = process::peak_memory(server.pid)? as f64 / MIB as f64;
            figures.insert(Measure::PeakMemory, peak);
        }
        Ok(outcome)
    }
}

/// Runs `work` and tells what it cost the server, and how long it took.
pub(crate) fn metered<T>(
    server: &Running,
    work: impl FnOnce() -> Result<T, Trouble>,
) -> Result<(T, Duration, Duration), Trouble> {
    let before = process::cpu(server.pid)?;
    let start = Instant::now();
    let done = work()?;
    let wall = start.elapsed();
    Ok((done, wall, process::cpu(server.pid)?.since(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_floor_takes_part_where_something_is_held_against_it() {
        assert!(Work::Bulk.suits(Role::Floor(How::Splice)));
        assert!(Work::Bulk.suits(Role::Floor(How::SpliceSync)));
        assert!(!Work::Bulk.suits(Role::Floor(How::Loop)));
        assert!(Work::Sha256.suits(Role::Floor(How::Copy)));
        assert!(!Work::Sha256.suits(Role::Floor(How::Splice)));
        assert!(Work::Head.suits(Role::Floor(How::Loop)));
        for work in Work::value_variants() {
            assert!(work.suits(Role::Ours { strict: true }));
            assert_eq!(work.suits(Role::Peer), *work != Work::Growth);
            assert!(!work.description().is_empty());
        }
    }

    #[test]
    fn only_what_syncs_is_held_against_a_floor_that_syncs() {
        assert_eq!(Work::Bulk.floor(Role::Ours { strict: true }), Some(How::SpliceSync));
        assert_eq!(Work::Bulk.floor(Role::Ours { strict: false }), Some(How::Splice));
        assert_eq!(Work::Bulk.floor(Role::Peer), Some(How::Splice));
    }

    #[test]
    fn a_scale_never_comes_to_nothing() {
        let scale = Scale { factor: 0.001, time: Duration::ZERO };
        assert_eq!((scale.count(4000), scale.count(10)), (4, 1));
    }
}
