//! Several servers over one modelled bucket, in one thread under a virtual clock.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

pub mod cluster;
pub mod model;
pub mod oracle;
pub mod world;
