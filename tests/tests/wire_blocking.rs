//! The wire contract through the blocking entry: every row, bodies that stall and writers that meet included. What
//! is left out is the framing, which a framework has done before it calls.

use tests::{embed::Embedded, row, section_tests, table};

#[track_caller]
fn section(name: &str) {
    table::run_section(name, |row| row::attempt(row, || Embedded::new(row.protocol())));
}

section_tests!(section);
