//! Any bytes on a connection, however they are cut: see `tests::fuzz::http1`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::http1::chunking, data));
