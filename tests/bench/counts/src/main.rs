//! `counts WORK TIMES`: does one thing so many times, in memory and in one thread, for valgrind to count what it
//! costs. The script `run` beside it does the sums; docs/performance.md says what they mean.

mod exchange;
mod http1;
mod whole;

use std::process::ExitCode;

use tus_proto::{Instant, Now, WallTime};

/// What is done again and again.
type Work = fn(times: u32);

/// All works, by name.
const WORKS: [(&str, Work); 9] = [
    ("exchange-post", exchange::post),
    ("exchange-patch", exchange::patch),
    ("exchange-head", exchange::head),
    ("http1-request", http1::request),
    ("http1-chunks-4096", http1::large_chunks),
    ("http1-chunks-16", http1::small_chunks),
    ("whole-post", whole::post),
    ("whole-patch", whole::patch),
    ("whole-head", whole::head),
];

const DATE: WallTime = WallTime::from_micros(1_700_000_000_000_000);
/// Time does not pass here.
const NOW: Now = Now { monotonic: Instant::from_micros(1), wall: DATE, date: DATE };

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().and_then(|name| WORKS.iter().find(|(known, _)| *known == name));
    let times = arguments.next().and_then(|times| times.parse().ok());
    let (Some((_, work)), Some(times)) = (work, times) else { return ExitCode::FAILURE };
    work(times);
    ExitCode::SUCCESS
}
