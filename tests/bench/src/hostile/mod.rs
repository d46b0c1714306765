//! `bench hostile`: what the server stands, and what the honest notice of it. Each promise is measured, and held
//! against its bound; the command fails where one is not kept. Bounded in time, traffic on loopback only.

mod crowd;
mod fair;
mod mess;
mod slow;
mod watch;

use std::fs;

use clap::ValueEnum;

use crate::{
    Trouble,
    args::HostileArgs,
    contender::{Contender, Places, Running},
    report, rounds,
};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trial {
    /// Thousands of heads, bodies and downloads at a byte every 5 s, and an honest upload beside them
    Slow,
    /// Many requests, good, malformed and aborted: nothing may be left of them
    Mess,
    /// Many uploads at once, and questions beside them
    Fair,
}

/// A promise, and what became of it.
#[derive(Debug)]
struct Finding {
    promise: String,
    measured: String,
    kept: bool,
}

impl Finding {
    /// `measured` is to be at most `bound`.
    fn at_most(promise: &str, measured: f64, bound: f64, unit: &str) -> Self {
        let promise = format!("{promise}: at most {bound:.1} {unit}");
        Self { promise, measured: format!("{measured:.2} {unit}"), kept: measured <= bound }
    }
}

/// How much of everything there is to be.
#[derive(Clone, Copy, Debug)]
struct Scale(f64);

impl Scale {
    fn of(self, whole: usize) -> usize {
        ((whole as f64 * self.0) as usize).max(1)
    }

    fn bytes(self, whole: u64) -> u64 {
        ((whole as f64 * self.0) as u64).max(1 << 20)
    }
}

/// Tries what was asked for, and tells which promises were kept.
///
/// # Errors
/// One was not, or it could not be tried.
pub(crate) fn run(args: &HostileArgs) -> Result<(), Trouble> {
    let places = Places::of(args.program.as_deref(), None)?;
    let data_dir = rounds::data_dir(args.data_dir.as_deref())?;
    rounds::allow_many_files();
    let trials = if args.trials.is_empty() { Trial::value_variants() } else { &args.trials[..] };
    let scale = Scale(args.scale);
    let mut broken = 0;
    for trial in trials {
        rounds::settle(&data_dir)?;
        let server = Contender::ours_with(&places, &["--enable-downloads"]).start(&data_dir)?;
        let findings = match trial {
            Trial::Slow => slow::run(&server, scale),
            Trial::Mess => mess::run(&server, scale),
            Trial::Fair => fair::run(&server, scale),
        };
        for finding in findings.and_then(|findings| alive(&server, findings))? {
            broken += usize::from(!finding.kept);
            let word = if finding.kept { "kept  " } else { "BROKEN" };
            report::say(&format!("  {word}  {}: {}", finding.promise, finding.measured));
        }
    }
    if broken == 0 { Ok(()) } else { Err(format!("{broken} promises were not kept").into()) }
}

/// A server that has ended has kept nothing.
fn alive(server: &Running, mut findings: Vec<Finding>) -> Result<Vec<Finding>, Trouble> {
    let kept = fs::metadata(format!("/proc/{}/fd", server.pid)).is_ok() && watch::open(server).is_ok();
    let measured = if kept { "it does" } else { "it does not" }.to_owned();
    findings.push(Finding { promise: "the server still answers".into(), measured, kept });
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_up_to_its_bound_and_not_by_a_figure_that_is_none() {
        for (measured, kept) in [(1.2, true), (1.21, false), (f64::INFINITY, false), (f64::NAN, false)] {
            assert_eq!(Finding::at_most("it", measured, 1.2, "times").kept, kept, "{measured}");
        }
    }

    #[test]
    fn a_scale_leaves_something_of_everything() {
        assert_eq!((Scale(0.01).of(2000), Scale(0.01).of(3), Scale(1.0).of(3)), (20, 1, 3));
        assert_eq!((Scale(0.5).bytes(8 << 20), Scale(0.01).bytes(8 << 20)), (4 << 20, 1 << 20));
    }
}
