//! Housekeeping: what a store does beside requests, a bounded piece a call. How far each has come is in `store/progress.rs`; which
//! is due is the port's to say.

pub(crate) mod consolidate;
pub(crate) mod digest;
pub(crate) mod health;
pub(crate) mod reclaim;
pub(crate) mod sweep;
