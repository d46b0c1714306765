//! A store on a disk that fails, against a map: see `tests::fuzz::store`.
#![no_main]

use tests::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run(fuzz::store::model, data));
