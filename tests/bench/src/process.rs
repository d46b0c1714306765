//! What a server has used, as /proc tells it: the process and its descendants together.

use std::{fs, io, time::Duration};

use rustix::param::clock_ticks_per_second;

/// Processor time used so far, user and system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// In clock ticks, of all threads that ever were, and of children that have been waited for.
    ticks: u64,
    /// In nanoseconds, of the threads that are.
    live: u64,
}

impl Cpu {
    /// How much was used since `earlier`. A tick is 10 ms: where no thread with time of its own has ended in
    /// between, the finer sum is taken.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let tick = 1_000_000_000 / clock_ticks_per_second();
        let coarse = self.ticks.saturating_sub(earlier.ticks).saturating_mul(tick);
        let fine = self.live.saturating_sub(earlier.live);
        Duration::from_nanos(if fine.abs_diff(coarse) <= 3 * tick { fine } else { coarse })
    }
}

/// What the process and its descendants have used.
///
/// # Errors
/// There is no such process, or no /proc.
pub(crate) fn cpu(pid: u32) -> io::Result<Cpu> {
    let (mut ticks, mut live) = (0, 0);
    for pid in tree(pid)? {
        // A descendant may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        ticks += Stat::parse(&stat).ok_or_else(malformed)?.ticks;
        live += threads(pid);
    }
    Ok(Cpu { ticks, live })
}

/// The most memory they have had resident, each at its own time; bytes.
///
/// # Errors
/// As [`cpu`].
pub(crate) fn peak_memory(pid: u32) -> io::Result<u64> {
    memory(pid, "VmHWM:")
}

/// The memory they have resident now; bytes.
///
/// # Errors
/// As [`cpu`].
pub(crate) fn resident_memory(pid: u32) -> io::Result<u64> {
    memory(pid, "VmRSS:")
}

/// Forgets the peak so far. Where the system does not allow it, the peak is that of the process's life.
pub(crate) fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn memory(pid: u32, field: &str) -> io::Result<u64> {
    let all = tree(pid)?;
    Ok(all
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|status| kibibytes(&status, field))
        .sum::<u64>()
        * 1024)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn threads(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The process and all that descend from it.
fn tree(root: u32) -> io::Result<Vec<u32>> {
    fs::metadata(format!("/proc/{root}"))?;
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, Stat::parse(&stat)?.parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        let children = parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        found.extend(children.collect::<Vec<_>>());
    }
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    /// Parses /proc/PID/stat. The name stands in parentheses and may hold anything, parentheses too.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // From the state on, field 3 of proc(5): ppid is field 4, utime to cstime are 14 to 17.
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { parent, ticks })
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc has another form than expected")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        process::{Command, Stdio, id},
        time::Instant,
    };

    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let text = "42 (a) (b c) S 7 1 1 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 7, ticks: 37 }));
        assert_eq!(Stat::parse("42 (a) S 7 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let status = "Name:\tx\nVmHWM:\t    1824 kB\nVmRSS:\t    1700 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(1824));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1700));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn the_finer_clock_counts_unless_it_lost_a_thread() {
        let start = Cpu { ticks: 100, live: 5_000_000_000 };
        let close = Cpu { ticks: 110, live: 5_093_000_000 };
        assert_eq!(close.since(start), Duration::from_millis(93));
        let lost = Cpu { ticks: 110, live: 4_000_000_000 };
        assert_eq!(lost.since(start), Duration::from_millis(100));
    }

    #[test]
    fn work_that_was_done_is_seen() {
        let before = cpu(id()).unwrap();
        let start = Instant::now();
        while cpu(id()).unwrap().since(before) < Duration::from_millis(1) {
            assert!(start.elapsed() < Duration::from_secs(20), "no work is seen");
        }
        assert!(resident_memory(id()).unwrap() > 100_000);
        assert!(peak_memory(id()).unwrap() > 100_000);
    }

    #[test]
    fn children_belong_to_the_process() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let all = tree(id()).unwrap();
        assert!(all.contains(&id()) && all.contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!tree(id()).unwrap().contains(&child.id()));
    }

    #[test]
    fn a_process_that_is_not_is_an_error() {
        assert!(cpu(u32::MAX).is_err());
    }
}
