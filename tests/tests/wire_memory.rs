//! The wire contract over TCP with a store in memory: what a server answers is the same whatever keeps its uploads.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{Row, client::Tcp, row, section_tests, server::Running, table};
use tus_driver::MemoryStore;

fn run(row: &Row) -> Result<(), String> {
    let server = Running::start_over(MemoryStore::default(), |settings| {
        settings.protocol = row.protocol();
        if row.stalls {
            settings.http.body_timeout = Duration::from_millis(300);
        }
    });
    row::attempt(row, || Tcp::new(server.address()))
}

#[track_caller]
fn section(name: &str) {
    table::run_section(name, run);
}

section_tests!(section);
