//! The slow crowd, and an honest upload beside it.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use super::{
    Finding, Scale,
    crowd::{Crowd, Kind},
    watch,
};
use crate::{
    Trouble,
    client::{self, Client},
    contender::Running,
    process, report,
    tus::{self, Method},
    work::metered,
};

/// How many there are of each kind.
const CROWD: [(Kind, usize); 3] = [(Kind::Head, 10_000), (Kind::Body, 2_000), (Kind::Reader, 2_000)];

/// Each kind's deadline: the server's defaults.
const DEADLINE: Duration = Duration::from_secs(30);

/// How late a cut may be.
const LATE: Duration = Duration::from_secs(1);

/// What the honest send.
const HONEST: u64 = 4 << 30;

/// What the readers take: more than any socket holds.
const DOWNLOAD: u64 = 64 << 20;

/// What memory may grow by, in MiB, for all of them; for a part of them its part, but not less than this.
const GROWTH: f64 = 12.0;
const LEAST_GROWTH: f64 = 2.0;

/// How long the crowd may keep the server busy once it is complete, with filling the readers' sockets above all.
const REST: Duration = Duration::from_secs(10);

pub(super) fn run(server: &Running, scale: Scale) -> Result<Vec<Finding>, Trouble> {
    let total: usize = CROWD.iter().map(|(_, count)| count).sum();
    let scale_of_crowd = Scale(scale.0.min(fitting(total)));
    if scale_of_crowd.0 < scale.0 {
        report::say("  the limit of open files allows only a part of the crowd: see ulimit -Hn");
    }
    let honest = scale.bytes(HONEST);
    let mut client = Client::connect(&server.target)?;
    let download = client.create(&server.target, DOWNLOAD, "")?;
    send(&mut client, &download, DOWNLOAD)?;
    // The first touch of memory, of the page cache's above all, is on nobody's account.
    upload(server, honest)?;
    let alone = [upload(server, honest)?, upload(server, honest)?].map(|cpu| cpu.as_secs_f64());
    let counts = CROWD.map(|(kind, count)| (kind, scale_of_crowd.of(count)));
    // On a busy machine those take so long that an idle connection is closed meanwhile.
    let mut client = Client::connect(&server.target)?;
    // What the store keeps in memory of their uploads is on nobody's account either.
    let firsts = counts.map(|(kind, count)| {
        let firsts = (0..count).map(|_| first_bytes(kind, &mut client, server, &download));
        firsts.collect::<Result<Vec<_>, Trouble>>().map(|firsts| (kind, firsts))
    });
    let before = process::resident_memory(server.pid)?;
    let mut crowd = Crowd::new()?;
    for joining in firsts {
        let (kind, firsts) = joining?;
        for first in firsts {
            crowd.join(server.target.address, kind, &first)?;
        }
    }
    let complete = Instant::now();
    report::say(&format!("  the crowd is complete: {counts:?}"));
    come_to_rest(server, &mut crowd)?;
    let held = watch::open(server)?;
    // The crowd drips on meanwhile.
    let (beside, peak) = std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let first = upload(server, honest)?;
            // Again, where the crowd is still there by then: of two measures the lower has less of others' in it.
            if complete.elapsed() > DEADLINE / 3 {
                return Ok::<_, Trouble>(first);
            }
            Ok(first.min(upload(server, honest)?))
        });
        let mut peak = 0;
        while !honest.is_finished() {
            crowd.go_on(Duration::from_millis(100))?;
            peak = peak.max(process::resident_memory(server.pid)?);
        }
        Ok::<_, Trouble>((honest.join().map_err(|_| "the honest upload has failed")??, peak))
    })?;
    let (peak, readers_done) = wait(server, &mut crowd, &counts, peak, complete)?;
    let mut findings = vec![
        Finding::at_most(
            &format!("memory for {held} connections"),
            peak.saturating_sub(before) as f64 / f64::from(1 << 20),
            (GROWTH * scale_of_crowd.0).max(LEAST_GROWTH),
            "MiB",
        ),
        Finding::at_most(
            "processor time of an upload beside them",
            beside.as_secs_f64() / alone.iter().copied().fold(f64::MAX, f64::min),
            1.2,
            "times that of one alone",
        ),
    ];
    let bound = (DEADLINE + LATE).as_secs_f64();
    for (kind, count) in counts {
        let lives = crowd.lives(kind).filter(|_| kind != Kind::Reader);
        let longest = lives.map_or(readers_done, |(longest, _)| Some(longest));
        let all = kind == Kind::Reader || crowd.ended(kind) == count;
        let longest = longest.filter(|_| all).map_or(f64::INFINITY, |life| life.as_secs_f64());
        findings.push(Finding::at_most(&format!("life of {count} of {kind:?}"), longest, bound, "s"));
        if let Some((_, shortest)) = lives {
            let early = DEADLINE.saturating_sub(shortest).as_secs_f64();
            findings.push(Finding::at_most(&format!("{kind:?} cut before its time"), early, 0.1, "s"));
        }
    }
    Ok(findings)
}

/// Goes on until the server has next to nothing to do.
fn come_to_rest(server: &Running, crowd: &mut Crowd) -> Result<(), Trouble> {
    let (step, until) = (Duration::from_millis(250), Instant::now() + REST);
    while Instant::now() < until {
        let ((), time, cpu) = metered(server, || crowd.go_on(step))?;
        if cpu < time / 20 {
            let share = cpu.as_secs_f64() / time.as_secs_f64() * 100.0;
            report::say(&format!("  at rest it takes {share:.1} % of a core"));
            break;
        }
    }
    Ok(())
}

/// Goes on until all were cut, or could have been. Tells the most memory seen, and how long the last reader lived at
/// the most.
fn wait(
    server: &Running,
    crowd: &mut Crowd,
    counts: &[(Kind, usize)],
    mut peak: u64,
    complete: Instant,
) -> Result<(u64, Option<Duration>), Trouble> {
    let readers = counts.iter().find(|(kind, _)| *kind == Kind::Reader).map_or(0, |(_, count)| *count);
    let mut readers_done = None;
    while complete.elapsed() < DEADLINE + LATE + LATE {
        crowd.go_on(Duration::from_millis(100))?;
        peak = peak.max(process::resident_memory(server.pid)?);
        if readers_done.is_none() && watch::deadlines(server, "response")? >= readers as u64 {
            readers_done = Some(complete.elapsed());
        }
        let seen = |kind, count| kind == Kind::Reader || crowd.ended(kind) == count;
        if readers_done.is_some() && counts.iter().all(|(kind, count)| seen(*kind, *count)) {
            break;
        }
    }
    Ok((peak, readers_done))
}

/// What part of the crowd the limit of open files allows: in the server each may take two, and so many are admitted.
fn fitting(total: usize) -> f64 {
    let files = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |files| files as f64);
    (files / 2.0 - 200.0).max(1.0) / total as f64
}

fn first_bytes(
    kind: Kind,
    client: &mut Client,
    server: &Running,
    download: &str,
) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    match kind {
        Kind::Head => bytes.extend_from_slice(b"G"),
        Kind::Body => {
            let path = client.create(&server.target, 1 << 20, "")?;
            tus::patch(&mut bytes, &path, 0, 1 << 20, "");
        }
        Kind::Reader => bytes.extend(format!("GET {download} HTTP/1.1\r\nHost: localhost\r\n\r\n").bytes()),
    }
    Ok(bytes)
}

/// What an upload costs the server.
fn upload(server: &Running, length: u64) -> Result<Duration, Trouble> {
    let mut client = Client::connect(&server.target)?;
    let path = client.create(&server.target, length, "")?;
    let ((), _, cpu) = metered(server, || send(&mut client, &path, length))?;
    client.delete(&path);
    Ok(cpu)
}

fn send(client: &mut Client, path: &str, length: u64) -> Result<(), Trouble> {
    let mut head = Vec::new();
    tus::patch(&mut head, path, 0, length, "");
    client.send(Method::Patch, &head, &client::noise(), length)
}
