//! Connections that have asked once and wait: what memory they hold.

use super::Outcome;
use crate::{
    Trouble,
    client::Client,
    contender::Running,
    figures::{Figures, Measure},
    process,
};

/// Opens `count` connections, one after the other.
pub(super) fn run(server: &Running, count: u64) -> Result<Outcome, Trouble> {
    let mut one = Client::connect(&server.target)?;
    one.abilities(&server.target)?;
    let before = process::resident_memory(server.pid)?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(&server.target)?;
        client.abilities(&server.target)?;
        held.push(client);
    }
    let grown = process::resident_memory(server.pid)?.saturating_sub(before);
    drop(held);
    Ok(Outcome::Measured(Figures::from([(Measure::MemoryEach, grown as f64 / 1024.0 / count as f64)])))
}
