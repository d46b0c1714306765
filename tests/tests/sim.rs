//! The simulator, on the seeds that every test run replays. Longer sweeps: `tests/src/bin/sim.rs`.
#![allow(clippy::unwrap_used)]

use std::panic::catch_unwind;

use tests::sim::{self, Report};

/// How many seeds each of the tests below runs.
const SEEDS: u64 = 64;

/// Seeds that failed once. What each found has a test of its own as well, because a seed is another run when the
/// simulator learns something.
const PAST_FAILURES: &[u64] =
    &[325, 1790, 2447, 6296, 7180, 8423, 10614, 12308, 34911, 95764, 201246, 307147];

/// Runs seeds one after another; of one that fails, shows how to replay it, and what happened in it.
fn sweep(seeds: impl IntoIterator<Item = u64>) -> Report {
    let mut total = Report::default();
    for seed in seeds {
        let Ok(report) = catch_unwind(|| sim::run(seed, false)) else {
            let _ = catch_unwind(|| sim::run(seed, true));
            panic!(
                "seed {seed} failed; replay: cargo run --release -p tests --bin sim -- --seeds 1 --trace --from {seed}\n{}",
                sim::take_trace()
            );
        };
        total.add(&report);
    }
    total
}

/// Seeds are of use only where much happens. Returns how many changes came from writers that had lost their lock: they are
/// rare, and a quarter of the seeds may have none.
fn sweep_quarter(quarter: u64) -> u64 {
    let Report { requests, ietf, answers, downloads, commits, late, crashes, power_cuts, faults, .. } =
        sweep(quarter * SEEDS..(quarter + 1) * SEEDS);
    let much = requests > 1_500 && answers > 1_500 && commits > 1_000;
    assert!(downloads > 50, "nobody fetched anything");
    assert!(ietf > 300, "hardly anybody spoke the IETF's protocol");
    assert!(much && crashes > 40 && power_cuts > 15 && faults > 500, "too little happened");
    late
}

#[test]
fn the_first_quarter_of_the_seeds_holds() {
    assert!(sweep_quarter(0) > 0, "no writer came too late");
}

#[test]
fn the_second_quarter_of_the_seeds_holds() {
    sweep_quarter(1);
}

#[test]
fn the_third_quarter_of_the_seeds_holds() {
    sweep_quarter(2);
}

#[test]
fn the_fourth_quarter_of_the_seeds_holds() {
    sweep_quarter(3);
}

#[test]
fn what_failed_once_holds() {
    sweep(PAST_FAILURES.iter().copied());
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    for seed in 0..12 {
        let mut traces = (0..2).map(|_| {
            let report = sim::run(seed, true);
            (report, sim::take_trace())
        });
        let (first, second) = (traces.next().unwrap(), traces.next().unwrap());
        assert!(first.1.len() > 1_000, "the trace says what happens");
        let differs = first.1.lines().zip(second.1.lines()).find(|(one, other)| one != other);
        assert!(first == second, "seed {seed}: {differs:?}");
    }
}
