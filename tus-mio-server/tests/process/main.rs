//! The real binary as a process of the system: what it keeps when it or a connection is killed, and what memory it takes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod calendar;
mod clients;
mod cut;
mod descriptors;
mod killed;
mod line;
mod many;
mod memory;
mod publish;
mod storm;
mod support;
