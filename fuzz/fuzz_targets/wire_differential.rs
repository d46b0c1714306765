//! One stream, and two readers of it: see `tests::fuzz::wire`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::wire::differential, data));
