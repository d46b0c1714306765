//! The wire contract through the blocking entry: every row, bodies that stall and writers that meet included. What
//! is left out is the framing, which a framework has done before it calls.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::{Row, embed::Embedded, row, table};
use tus_proto::Config;

fn run(row: &Row) -> Result<(), String> {
    let config = match row.config {
        Some(change) => change(Config::builder()).build().unwrap(),
        None => Config::default(),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| row::run(row, &mut Embedded::new(config))));
    outcome.unwrap_or_else(|_| Err(format!("{}: it panicked", row.name)))
}

#[track_caller]
fn section(name: &str) {
    let (_, rows) = table::SECTIONS.iter().find(|(section, _)| *section == name).unwrap();
    let failed: Vec<_> = rows().iter().filter_map(|row| run(row).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn requests() {
    section("requests");
}

#[test]
fn order() {
    section("order");
}

#[test]
fn options() {
    section("options");
}

#[test]
fn creation() {
    section("creation");
}

#[test]
fn head() {
    section("head");
}

#[test]
fn patch() {
    section("patch");
}

#[test]
fn writers() {
    section("writers");
}

#[test]
fn cut() {
    section("cut");
}

#[test]
fn deletion() {
    section("deletion");
}
