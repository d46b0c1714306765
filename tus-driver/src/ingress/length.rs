//! How much of a body is still to come.

use tus_proto::{Cut, Framing};

/// How many bytes of a body are still to come. With chunked framing it is not known until the end.
#[derive(Clone, Copy, Debug)]
pub struct BodyLength(Option<u64>);

impl BodyLength {
    /// Nothing has come yet.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        })
    }

    /// `count` bytes came. Returns how many of them belong to the body; what follows on the connection does not.
    pub fn take(&mut self, count: usize) -> usize {
        let Some(left) = &mut self.0 else { return count };
        let count = count.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= count as u64;
        count
    }

    /// How many bytes may still come.
    pub fn left(&self) -> u64 {
        self.0.unwrap_or(u64::MAX)
    }

    /// Whether all have come. Always false if the length is not known.
    pub fn is_complete(&self) -> bool {
        self.0 == Some(0)
    }

    /// The body's reader has ended.
    ///
    /// # Errors
    /// It has ended too early.
    pub fn at_end(&self) -> Result<(), Cut> {
        if self.0.is_none_or(|left| left == 0) { Ok(()) } else { Err(Cut::HalfClosed) }
    }
}
