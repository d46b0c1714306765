//! Random bytes for new ids, fetched from the system in batches.

/// Random bytes in stock.
#[derive(Debug)]
pub(super) struct Entropy {
    stock: [u8; 1000],
    used: usize,
}

impl Entropy {
    pub(super) fn new() -> Self {
        Self { stock: [0; 1000], used: 1000 }
    }

    /// Ten fresh bytes. Fails where the system's source does: the environment's fault.
    pub(super) fn draw(&mut self) -> Result<[u8; 10], getrandom::Error> {
        if self.used >= self.stock.len() {
            getrandom::fill(&mut self.stock)?;
            self.used = 0;
        }
        let mut drawn = [0; 10];
        if let Some(fresh) = self.stock.get(self.used..self.used + 10) {
            drawn.copy_from_slice(fresh);
        }
        self.used += 10;
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_drawn_twice() {
        let mut entropy = Entropy::new();
        let drawn: std::collections::BTreeSet<_> = (0..300).filter_map(|_| entropy.draw().ok()).collect();
        assert_eq!(drawn.len(), 300);
    }
}
