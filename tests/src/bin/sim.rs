//! Long sweeps of the simulator, and the replay of a seed:
//!
//! ```text
//! cargo run --release -p tests --bin sim -- --seeds 100000 --from 0
//! cargo run --release -p tests --bin sim -- --seeds 1 --from 4711 --trace
//! cargo run --release -p tests --bin sim -- --bytes fuzz/corpus/world/some-input
//! ```
//!
//! A seed that fails ends the sweep, and prints the line that replays it, and its trace. `--bytes` replays with its
//! trace what the fuzz target `world` has found.
#![allow(clippy::expect_used)]

use std::{
    cell::Cell,
    io::{self, Write as _},
    time::Instant,
};

use tests::sim::{self, Report};

thread_local! {
    /// The seed that is running, and whether it leaves a trace.
    static RUNNING: Cell<(u64, bool)> = const { Cell::new((0, false)) };
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| {
            let value = arguments.get(at + 1).and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("{name} needs a number"))
        })
    };
    let (seeds, from) = (number("--seeds", 1_000), number("--from", 0));
    let traced = arguments.iter().any(|argument| argument == "--trace");
    std::panic::set_hook(Box::new(|panic| tell(&panic.to_string())));
    if let Some(at) = arguments.iter().position(|argument| argument == "--bytes") {
        let path = arguments.get(at + 1).expect("--bytes needs a file");
        RUNNING.set((0, true));
        let report = sim::run_by(&std::fs::read(path)?, true);
        return writeln!(io::stdout(), "{}{report:?}", sim::take_trace());
    }
    let begun = Instant::now();
    let mut total = Report::default();
    for seed in from..from.saturating_add(seeds) {
        RUNNING.set((seed, traced));
        total.add(&sim::run(seed, traced));
    }
    let mut out = io::stdout().lock();
    if traced {
        write!(out, "{}", sim::take_trace())?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let Report {
        steps,
        requests,
        ietf,
        answers,
        downloads,
        commits,
        late,
        crashes,
        power_cuts,
        faults,
        virtual_micros,
    } = total;
    let hours = virtual_micros / 3_600_000_000;
    writeln!(
        out,
        "{seeds} seeds from {from}: {steps} steps, {requests} requests ({ietf} of the IETF's protocol), {answers} answers, {downloads} downloads, {commits} commits, \
         {late} changes of late writers, {crashes} crashes ({power_cuts} with the machine), {faults} faults, {hours} hours of virtual time, \
         in {seconds:.1} s ({:.1} ms a seed)",
        seconds * 1e3 / seeds as f64
    )
}

/// Says which seed has failed, and what happened in it.
fn tell(panic: &str) {
    let (seed, traced) = RUNNING.get();
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "seed {seed}: {panic}");
    if traced {
        let _ = write!(out, "{}", sim::take_trace());
        return;
    }
    let replay = ["--seeds", "1", "--trace", "--from", &seed.to_string()].map(str::to_owned);
    let _ = writeln!(out, "replay: cargo run --release -p tests --bin sim -- {}", replay.join(" "));
    let _ = out.flush();
    drop(out);
    if let Ok(program) = std::env::current_exe() {
        let _ = std::process::Command::new(program).args(replay).status();
    }
    std::process::exit(1);
}
