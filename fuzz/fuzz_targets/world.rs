//! The whole simulator, its schedule chosen by bytes.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::world, data));
