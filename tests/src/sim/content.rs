//! What the clients upload.

use crate::choice::mix;

/// A byte of a file: another one at every place of every file.
pub(super) fn content(file: usize, at: u64) -> u8 {
    (mix((at / 8) ^ ((file as u64 + 1) << 40)) >> (at % 8 * 8)) as u8
}

/// A stretch of a file.
pub(super) fn stretch(file: usize, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| content(file, at)).collect()
}
