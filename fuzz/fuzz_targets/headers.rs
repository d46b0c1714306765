//! Heads, against a slow reading of them: see `tests::fuzz::headers`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::headers::headers, data));
