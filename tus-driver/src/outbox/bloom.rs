//! A Bloom filter over uploads: the schedule remembers in it whose events a pass has left for later.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use tus_proto::UploadId;

/// How many bits there are: 128 KiB.
const PLACES: usize = 1 << 20;

/// A set of uploads of fixed size. What was put into it is found; now and then something else is, too.
pub(super) struct Bloom {
    seed: RandomState,
    bits: Vec<u64>,
}

impl Bloom {
    pub(super) fn new() -> Self {
        Self { seed: RandomState::new(), bits: Vec::new() }
    }

    fn place(&self, id: &UploadId) -> (usize, u64) {
        let hash = self.seed.hash_one(id);
        let bit = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        (bit / 64, 1 << (bit % 64))
    }

    pub(super) fn set(&mut self, id: &UploadId) {
        // Most passes forget nothing.
        self.bits.resize(PLACES / 64, 0);
        let (word, bit) = self.place(id);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn has(&self, id: &UploadId) -> bool {
        let (word, bit) = self.place(id);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl fmt::Debug for Bloom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bloom").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_set_is_there_and_little_else() {
        let id = |number: usize| UploadId::new(&number.to_string()).unwrap();
        let mut bloom = Bloom::new();
        assert!(!bloom.has(&id(0)));
        (0..1000).for_each(|number| bloom.set(&id(number)));
        assert!((0..1000).all(|number| bloom.has(&id(number))));
        // One in a thousand is to be expected.
        let others = (1000..11_000).filter(|number| bloom.has(&id(*number))).count();
        assert!(others < 200, "{others}");
    }
}
