//! What was measured, and how it is told: as a table to read, as JSON for what comes after.

mod json;
mod table;

use std::io::{self, Write};

use crate::{
    contender::Role,
    figures::{self, Figures},
    work::Work,
};

pub(crate) use json::json;
pub(crate) use table::table;

/// All that is known of one work.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) work: Work,
    pub(crate) rows: Vec<Row>,
}

/// One server in one work.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The row it is held against: its floor, or itself with the smallest store.
    pub(crate) base: Option<String>,
    pub(crate) state: State,
    /// The figures of each round.
    pub(crate) runs: Vec<Figures>,
}

/// Whether a row has figures, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Measured,
    Absent(String),
    Unsupported(String),
    Failed(String),
}

impl State {
    /// In a word, and the reason.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Measured => ("measured", ""),
            Self::Absent(reason) => ("absent", reason),
            Self::Unsupported(reason) => ("unsupported", reason),
            Self::Failed(reason) => ("failed", reason),
        }
    }
}

impl Row {
    pub(crate) fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, base: None, state: State::Measured, runs: Vec::new() }
    }

    pub(crate) fn absent(name: &str, role: Role, reason: &str) -> Self {
        Self { state: State::Absent(reason.to_owned()), ..Self::new(name, role) }
    }

    /// The medians of its rounds; `None` if it failed in one.
    pub(crate) fn medians(&self) -> Figures {
        if self.state == State::Measured { figures::medians(&self.runs) } else { Figures::new() }
    }
}

impl Sheet {
    /// A row's medians divided by those of the row it is held against; none for the floor itself.
    pub(crate) fn to_base(&self, row: &Row) -> Figures {
        let base = self.rows.iter().find(|base| row.base.as_ref() == Some(&base.name));
        let base = base.filter(|base| base.name != row.name).map(Row::medians).unwrap_or_default();
        figures::ratios(&row.medians(), &base)
    }

    /// One of our rows' medians divided by the best that any peer reached, each figure for itself.
    pub(crate) fn to_best_peer(&self, row: &Row) -> Figures {
        if !matches!(row.role, Role::Ours { .. }) {
            return Figures::new();
        }
        let peers: Vec<_> = self.rows.iter().filter(|row| row.role == Role::Peer).map(Row::medians).collect();
        figures::ratios(&row.medians(), &figures::best(peers.iter()))
    }
}

/// Tells whoever waits how it goes.
pub(crate) fn say(line: &str) {
    // Where nobody reads it, nobody misses it.
    let _ = writeln!(io::stderr(), "{line}");
}

/// # Errors
/// Nobody reads the output any more.
pub(crate) fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{args::How, figures::Measure};

    /// A sheet with a floor, ours, two peers and one that is absent.
    pub(crate) fn sheet() -> Sheet {
        let measured = |name, role, base: Option<&str>, runs: &[(f64, f64)]| Row {
            base: base.map(str::to_owned),
            runs: runs
                .iter()
                .map(|(cpu, speed)| Figures::from([(Measure::CpuPerGb, *cpu), (Measure::MbPerS, *speed)]))
                .collect(),
            ..Row::new(name, role)
        };
        let floor = Some("floor-splice");
        let rows = vec![
            measured(
                "floor-splice",
                Role::Floor(How::Splice),
                floor,
                &[(0.3, 3000.0), (0.5, 2000.0), (0.4, 2500.0)],
            ),
            measured(
                "ours-eventual",
                Role::Ours { strict: false },
                floor,
                &[(0.6, 1000.0), (0.6, 2000.0), (9.0, 2000.0)],
            ),
            measured("quick", Role::Peer, floor, &[(3.0, 1000.0)]),
            measured("frugal", Role::Peer, floor, &[(1.2, 500.0)]),
            Row::absent("gone", Role::Peer, "no such package"),
        ];
        Sheet { work: Work::Bulk, rows }
    }

    #[test]
    fn ours_is_held_against_the_floor_and_the_best_of_each_figure() {
        let sheet = sheet();
        let near = |figures: Figures, measure, wanted: f64| {
            assert!((figures[&measure] - wanted).abs() < 1e-9, "{figures:?}");
        };
        near(sheet.to_base(&sheet.rows[1]), Measure::CpuPerGb, 1.5);
        near(sheet.to_base(&sheet.rows[1]), Measure::MbPerS, 0.8);
        near(sheet.to_best_peer(&sheet.rows[1]), Measure::CpuPerGb, 0.5);
        near(sheet.to_best_peer(&sheet.rows[1]), Measure::MbPerS, 2.0);
        near(sheet.to_base(&sheet.rows[2]), Measure::CpuPerGb, 7.5);
        assert!(sheet.to_base(&sheet.rows[0]).is_empty() && sheet.to_best_peer(&sheet.rows[2]).is_empty());
    }

    #[test]
    fn a_server_that_failed_once_has_no_figures() {
        let mut sheet = sheet();
        sheet.rows[2].state = State::Failed("PATCH was answered 500".into());
        sheet.rows[3].state = State::Failed("PATCH was answered 500".into());
        assert!(sheet.rows[2].medians().is_empty() && sheet.to_best_peer(&sheet.rows[1]).is_empty());
    }
}
