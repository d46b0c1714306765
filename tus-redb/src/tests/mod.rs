//! Tests of the store as a whole: a script that does everything, driven over a simulated disk that crashes,
//! fails or is full at every single call, against an oracle that knows what was told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod adopt;
mod batches;
mod behaviour;
mod concat;
mod consolidate;
mod costs;
mod crashes;
mod digest;
mod directory;
mod expiry;
mod explicit;
mod faults;
mod finished;
mod format;
mod hanging;
mod harness;
mod health;
mod inline;
mod inline_faults;
mod inline_full;
mod inventory;
mod late;
mod log;
mod numbers;
mod outbox;
mod repair;
mod repair_cut;
mod repair_inline;
mod rooms;
mod small_creations;
mod source;
mod stuck;
