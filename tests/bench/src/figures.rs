//! What is measured: the names of the figures, their units, and which way is better.

use std::{collections::BTreeMap, time::Duration};

use crate::stats;

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Processor time of the server for a gigabyte (10^9 bytes) of bodies.
    CpuPerGb,
    /// Bodies, from the first byte sent to the last answer read.
    MbPerS,
    /// Processor time of the server for each unit of work.
    CpuEach,
    /// Units of work a second.
    Rate,
    /// How long a unit of work takes: half of them at most this.
    P50,
    /// 99 of 100 at most this.
    P99,
    /// 999 of 1000 at most this.
    P999,
    /// The most memory that was resident.
    PeakMemory,
    /// Resident memory for each connection that waits.
    MemoryEach,
}

impl Measure {
    /// Its key in JSON, which names the unit.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::CpuPerGb => "cpu_s_per_gb",
            Self::MbPerS => "mb_per_s",
            Self::CpuEach => "cpu_us_each",
            Self::Rate => "per_s",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::P999 => "p99_9_us",
            Self::PeakMemory => "peak_rss_mib",
            Self::MemoryEach => "rss_kib_each",
        }
    }

    /// Its heading in a table.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::CpuPerGb => "CPU s/GB",
            Self::MbPerS => "MB/s",
            Self::CpuEach => "CPU µs each",
            Self::Rate => "per s",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P999 => "p99.9 µs",
            Self::PeakMemory => "peak RSS MiB",
            Self::MemoryEach => "RSS KiB each",
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::MbPerS | Self::Rate)
    }

    /// Whether a single unit of work has it.
    pub(crate) fn is_of_one(self) -> bool {
        matches!(self, Self::CpuEach | Self::P50)
    }

    /// Whether the table compares it with the floor and the best peer.
    pub(crate) fn is_compared(self) -> bool {
        matches!(
            self,
            Self::CpuPerGb | Self::MbPerS | Self::CpuEach | Self::Rate | Self::P50 | Self::MemoryEach
        )
    }
}

/// The figures of one run, or their medians.
pub(crate) type Figures = BTreeMap<Measure, f64>;

/// What a run did, from which its figures follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    /// How long each unit of work took, nanoseconds, in any order.
    pub(crate) latencies: Vec<u64>,
}

impl Done {
    /// Of a run that moves bodies: how long each PATCH took says something only where there are many.
    pub(crate) fn of_bodies(mut self) -> Figures {
        let gigabytes = self.bytes as f64 / 1e9;
        let mut figures = Figures::from([
            (Measure::CpuPerGb, self.cpu.as_secs_f64() / gigabytes),
            (Measure::MbPerS, gigabytes * 1e3 / self.wall.as_secs_f64()),
        ]);
        if self.latencies.len() > 1 {
            figures.extend(self.percentiles());
        }
        figures
    }

    /// Of a run of many units.
    pub(crate) fn of_units(mut self) -> Figures {
        let count = self.latencies.len() as f64;
        let mut figures = Figures::from([
            (Measure::CpuEach, self.cpu.as_secs_f64() * 1e6 / count),
            (Measure::Rate, count / self.wall.as_secs_f64()),
        ]);
        figures.extend(self.percentiles());
        figures
    }

    fn percentiles(&mut self) -> Figures {
        self.latencies.sort_unstable();
        [(Measure::P50, 500), (Measure::P99, 990), (Measure::P999, 999)]
            .into_iter()
            .filter_map(|(measure, per_mille)| {
                let nanoseconds = stats::percentile(&self.latencies, per_mille)?;
                Some((measure, nanoseconds as f64 / 1e3))
            })
            .collect()
    }
}

/// The medians of each figure over the runs that have it.
pub(crate) fn medians(runs: &[Figures]) -> Figures {
    let mut columns: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    for (measure, value) in runs.iter().flatten() {
        columns.entry(*measure).or_default().push(*value);
    }
    columns.into_iter().filter_map(|(measure, values)| Some((measure, stats::median(&values)?))).collect()
}

/// The best of these figures, each for itself: they need not be of one server.
pub(crate) fn best<'a>(all: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut best = Figures::new();
    for (measure, value) in all.flatten() {
        let better = |held: f64| if measure.more_is_better() { value.max(held) } else { value.min(held) };
        best.entry(*measure).and_modify(|held| *held = better(*held)).or_insert(*value);
    }
    best
}

/// Each of these figures divided by the same of `base`, where that has it and is not zero.
pub(crate) fn ratios(figures: &Figures, base: &Figures) -> Figures {
    let ratio = |(measure, value): (&Measure, &f64)| {
        let base = *base.get(measure).filter(|base| **base > 0.0)?;
        Some((*measure, value / base))
    };
    figures.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_a_unit() {
        let (wall, cpu) = (Duration::from_secs(2), Duration::from_millis(500));
        let bodies = Done { wall, cpu, bytes: 1_000_000_000, latencies: vec![7] }.of_bodies();
        assert_eq!(bodies, Figures::from([(Measure::CpuPerGb, 0.5), (Measure::MbPerS, 500.0)]));
        let units = Done { wall, cpu, bytes: 0, latencies: vec![4_000, 1_000, 2_000, 3_000] }.of_units();
        assert_eq!(
            units,
            Figures::from([
                (Measure::CpuEach, 125_000.0),
                (Measure::Rate, 2.0),
                (Measure::P50, 2.0),
                (Measure::P99, 4.0),
                (Measure::P999, 4.0),
            ])
        );
    }

    #[test]
    fn medians_are_of_each_figure_for_itself() {
        let run = |rate, p50| Figures::from([(Measure::Rate, rate), (Measure::P50, p50)]);
        let runs = [run(1.0, 30.0), run(9.0, 10.0), run(2.0, 20.0)];
        assert_eq!(medians(&runs), run(2.0, 20.0));
    }

    #[test]
    fn the_best_rate_is_the_highest_and_the_best_cost_the_lowest() {
        let (slow, quick) = (
            Figures::from([(Measure::Rate, 1.0), (Measure::CpuEach, 3.0)]),
            Figures::from([(Measure::Rate, 2.0), (Measure::CpuEach, 4.0)]),
        );
        let best = best([&slow, &quick].into_iter());
        assert_eq!(best, Figures::from([(Measure::Rate, 2.0), (Measure::CpuEach, 3.0)]));
    }

    #[test]
    fn a_ratio_needs_something_to_be_compared_with() {
        let figures = Figures::from([(Measure::Rate, 1.0), (Measure::P50, 3.0), (Measure::P99, 1.0)]);
        let base = Figures::from([(Measure::Rate, 2.0), (Measure::P50, 0.0)]);
        assert_eq!(ratios(&figures, &base), Figures::from([(Measure::Rate, 0.5)]));
    }
}
