//! The lock table, called in any order: see `tests::fuzz::locks`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::locks::locks, data));
