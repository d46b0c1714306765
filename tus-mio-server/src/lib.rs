//! Placeholder.

pub mod http1;
