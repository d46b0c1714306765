//! One exchange, and inputs in any order: see `tests::fuzz::exchange`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::exchange::exchange, data));
