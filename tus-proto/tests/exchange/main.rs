//! The behaviour of an `Exchange`, one file a behaviour. A script drives it: the test answers each output by
//! hand, on a clock of its own, so that every order of events can be had and none depends on a machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod abort;
mod buffered;
mod checkpoint;
mod checks;
mod checksum;
mod concat;
mod creation;
mod deferred;
mod download;
mod expiry;
mod failures;
mod head;
mod hooks;
mod limits;
mod lock;
mod lost;
mod patch;
mod rufh;
mod script;
mod termination;
mod yielding;
