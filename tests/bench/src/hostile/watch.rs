//! What a server tells of itself: its metrics, its descriptors, its memory.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{Trouble, contender::Running};

/// All metrics, as text.
///
/// # Errors
/// The server can't be asked.
pub(super) fn metrics(server: &Running) -> Result<String, Trouble> {
    let mut stream = TcpStream::connect(server.target.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The value of a series, 0 where there is none.
pub(super) fn value(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

/// How many connections have hit a deadline for this reason.
///
/// # Errors
/// As [`metrics`].
pub(super) fn deadlines(server: &Running, reason: &str) -> Result<u64, Trouble> {
    Ok(value(&metrics(server)?, &format!("tus_deadlines_total{{reason=\"{reason}\"}}")))
}

/// How many connections are open, the one that asks included.
///
/// # Errors
/// As [`metrics`].
pub(super) fn open(server: &Running) -> Result<u64, Trouble> {
    let text = metrics(server)?;
    let state = |state| value(&text, &format!("tus_connections{{state=\"{state}\"}}"));
    Ok(state("busy") + state("idle"))
}

/// How many descriptors the server has open.
///
/// # Errors
/// There is no such process any more.
pub(super) fn descriptors(server: &Running) -> Result<usize, Trouble> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.pid))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_labels() {
        let text = "# TYPE a counter\na_total{reason=\"head\"} 12\na_total{reason=\"heads\"} 3\nb 4\n";
        assert_eq!(value(text, "a_total{reason=\"head\"}"), 12);
        assert_eq!(value(text, "b"), 4);
        assert_eq!(value(text, "c"), 0);
    }
}
