//! The wire contract with a store in memory, over TCP and through the blocking entry: what a server answers is the same
//! whatever keeps its uploads.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{Row, client::Tcp, embed::Embedded, row, server::Running, table};
use tus_driver::MemoryStore;

fn over_tcp(row: &Row) -> Result<(), String> {
    let server = Running::start_over(MemoryStore::default(), |settings| {
        settings.protocol = row.protocol();
        if row.stalls {
            settings.http.body_timeout = Duration::from_millis(300);
        }
    });
    row::attempt(row, || Tcp::new(server.address()))
}

mod tcp {
    #[track_caller]
    fn section(name: &str) {
        tests::table::run_section(name, super::over_tcp);
    }

    tests::section_tests!(section);
}

mod blocking {
    use super::{Embedded, row, table};

    #[track_caller]
    fn section(name: &str) {
        table::run_section(name, |row| row::attempt(row, || Embedded::in_memory(row.protocol())));
    }

    tests::section_tests!(section);
}
