//! Random bytes for new ids, fetched from the system in batches.

/// Random bytes in stock.
#[derive(Debug)]
pub struct Entropy {
    stock: [u8; 1000],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy {
    /// With nothing in stock yet.
    pub fn new() -> Self {
        Self { stock: [0; 1000], used: 1000 }
    }

    /// Takes ten fresh bytes, as [`Session::new`](crate::Session::new) wants them. `None` if the system has none to give.
    pub fn draw(&mut self) -> Option<[u8; 10]> {
        if self.used >= self.stock.len() {
            getrandom::fill(&mut self.stock).ok()?;
            self.used = 0;
        }
        let mut drawn = [0; 10];
        if let Some(fresh) = self.stock.get(self.used..self.used + 10) {
            drawn.copy_from_slice(fresh);
        }
        self.used += 10;
        Some(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_drawn_twice() {
        let mut entropy = Entropy::new();
        let drawn: std::collections::BTreeSet<_> = (0..300).filter_map(|_| entropy.draw()).collect();
        assert_eq!(drawn.len(), 300);
    }
}
