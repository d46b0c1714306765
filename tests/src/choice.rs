//! Where every decision of a run comes from: a seed, or bytes that a fuzzer has chosen. Nothing else is random
//! in a run, so that either of them is all it takes to see the run again.

/// A source of decisions.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    state: u64,
    /// What decides before the seed does, the next one last.
    bytes: Vec<u8>,
}

impl Choice {
    /// Decisions by a seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed, bytes: Vec::new() }
    }

    /// Decisions by these bytes, and by a fixed seed behind their end.
    pub(crate) fn by(bytes: &[u8]) -> Self {
        Self { state: 0, bytes: bytes.iter().rev().copied().collect() }
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let width = if end <= 1 << 8 { 1 } else { 8 };
        if self.bytes.len() >= width {
            let rest = self.bytes.split_off(self.bytes.len() - width);
            return rest.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % end;
        }
        self.next() % end
    }

    /// An index below `end`, which is not 0.
    pub(crate) fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// A number from 1 to `most`, which is not 0: half the time all of it, else of any magnitude.
    pub(crate) fn part(&mut self, most: u64) -> u64 {
        if self.one_in(2) { most } else { self.magnitude(most) }
    }

    /// A number from 1 to `most`, which is not 0, of any magnitude.
    pub(crate) fn magnitude(&mut self, most: u64) -> u64 {
        let bits = u64::from(most.ilog2()) + 1;
        let end = 1 << (1 + self.below(bits));
        1 + self.below(most.min(end))
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

/// Spreads a number over all bits.
pub(crate) fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
