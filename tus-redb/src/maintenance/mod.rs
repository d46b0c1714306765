//! Housekeeping: what a store does concurrently with requests, a bounded piece a call. How far each has come is kept in
//! `store/progress.rs`; which is due is decided by the port.

pub(crate) mod consolidate;
pub(crate) mod digest;
pub(crate) mod health;
pub(crate) mod reclaim;
pub(crate) mod sweep;
