//! The wire contract without sockets: every row through the exchange, the lock table and the store.

use tests::{drive::Drive, row, section_tests, table};

#[track_caller]
fn section(name: &str) {
    table::run_section(name, |row| row::attempt(row, || Drive::new(row.protocol())));
}

section_tests!(section);
