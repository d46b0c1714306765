//! What the fuzz targets drive. It lives here, and `cargo test` runs it on generated input, so that it can't
//! rot; the targets in `fuzz/` only hand bytes over.

pub mod http1;
