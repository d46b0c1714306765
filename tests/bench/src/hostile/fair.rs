//! Whether many uploads share the server, and whether a question waits for them.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Finding, Scale};
use crate::{
    Trouble,
    client::{self, Client},
    contender::Running,
    stats,
    tus::{self, Method},
};

/// How many share, and how many bytes each.
const SHARERS: usize = 64;
const SHARE: u64 = 64 << 20;

/// How many are in the way of the questions, and how many bytes each.
const FAST: usize = 8;
const FAST_BYTES: u64 = 1 << 30;

/// How often is asked.
const PACE: Duration = Duration::from_millis(2);

pub(super) fn run(server: &Running, scale: Scale) -> Result<Vec<Finding>, Trouble> {
    let times = uploads(server, SHARERS, scale.bytes(SHARE), || Ok(()))?;
    let mean = times.iter().map(Duration::as_secs_f64).sum::<f64>() / times.len() as f64;
    let slowest = times.iter().max().map_or(f64::INFINITY, Duration::as_secs_f64);
    let mut asking = Client::connect(&server.target)?;
    let path = asking.create(&server.target, 1, "")?;
    let mut request = Vec::new();
    tus::head(&mut request, &path);
    let mut waits = Vec::new();
    let ask = || {
        let start = Instant::now();
        asking.ask(Method::Head, &request, |_| Ok(()))?;
        waits.push(u64::try_from(start.elapsed().as_nanos())?);
        Ok(())
    };
    uploads(server, FAST, scale.bytes(FAST_BYTES), ask)?;
    waits.sort_unstable();
    let p99 = stats::percentile(&waits, 990).map_or(f64::INFINITY, |nanos| nanos as f64 / 1e6);
    Ok(vec![
        Finding::at_most(&format!("the slowest of {SHARERS} uploads"), slowest / mean, 1.5, "times the mean"),
        Finding::at_most(&format!("p99 of {} HEAD beside {FAST} uploads", waits.len()), p99, 5.0, "ms"),
    ])
}

/// So many uploads at once; what is to be done meanwhile is repeated until they are through. Tells how long each took.
fn uploads(
    server: &Running,
    count: usize,
    length: u64,
    mut meanwhile: impl FnMut() -> Result<(), Trouble>,
) -> Result<Vec<Duration>, Trouble> {
    let piece = client::noise();
    let mut ready = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(&server.target)?;
        let path = client.create(&server.target, length, "")?;
        ready.push((client, path));
    }
    let start = Instant::now();
    let send = |(mut client, path): (Client, String)| {
        let mut head = Vec::new();
        tus::patch(&mut head, &path, 0, length, "");
        client.send(Method::Patch, &head, &piece, length)?;
        let time = start.elapsed();
        client.delete(&path);
        Ok::<_, Trouble>(time)
    };
    thread::scope(|scope| {
        let send = &send;
        let threads: Vec<_> = ready.into_iter().map(|one| scope.spawn(move || send(one))).collect();
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            meanwhile()?;
            thread::sleep(PACE);
        }
        threads.into_iter().map(|thread| thread.join().map_err(|_| "an upload has failed")?).collect()
    })
}
