//! The program from outside: exit statuses, messages, and that nothing is touched where nothing should be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod beside;
mod config;
mod deep;
mod import;
mod limits;
mod listen;
mod logs;
mod program;
mod serve;
mod store;
mod usage;
