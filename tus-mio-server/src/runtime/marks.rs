//! A small memory of many uploads: whose events were left for later.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use tus_proto::UploadId;

/// How many places for marks there are: 128 KiB of bits.
const PLACES: usize = 1 << 20;

/// A set of uploads of fixed size: what was set is there, and now and then something else as well.
pub(crate) struct Marks {
    seed: RandomState,
    bits: Vec<u64>,
}

impl Marks {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::new(), bits: Vec::new() }
    }

    fn place(&self, id: &UploadId) -> (usize, u64) {
        let hash = self.seed.hash_one(id);
        let bit = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        (bit / 64, 1 << (bit % 64))
    }

    pub(crate) fn set(&mut self, id: &UploadId) {
        // Most passes forget nothing.
        self.bits.resize(PLACES / 64, 0);
        let (word, bit) = self.place(id);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= bit;
        }
    }

    pub(crate) fn has(&self, id: &UploadId) -> bool {
        let (word, bit) = self.place(id);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_set_is_there_and_little_else() {
        let id = |number: usize| UploadId::new(&number.to_string()).unwrap();
        let mut marks = Marks::new();
        assert!(!marks.has(&id(0)));
        (0..1000).for_each(|number| marks.set(&id(number)));
        assert!((0..1000).all(|number| marks.has(&id(number))));
        // One in a thousand is to be expected.
        let others = (1000..11_000).filter(|number| marks.has(&id(*number))).count();
        assert!(others < 200, "{others}");
    }
}
