//! Lines and the octets in them: the buffer in which heads, chunk lines and trailer sections grow until they
//! are complete. What it lets through has only CR LF as line ends and no other control character than HTAB, so
//! that no later reader can see a line where this one saw none.

/// A buffer of this capacity is kept for the next request; a larger one is given back.
const KEPT_CAPACITY: usize = 4 << 10;

/// Where to stop collecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The end of the first line.
    Line,
    /// The end of the first empty line.
    EmptyLine,
}

/// How much may be collected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes, line ends included.
    pub(super) bytes: usize,
    /// Lines that are not empty.
    pub(super) lines: usize,
}

/// Why collecting failed. All of these are the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line end other than CR LF, another control character, or a folded line.
    Malformed,
    /// More bytes than the limit.
    TooLong,
    /// More lines than the limit.
    TooManyLines,
}

/// The collected octets.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// How many lines that are not empty are complete.
    lines: usize,
    /// Where the line under way begins.
    line_start: usize,
}

impl Section {
    /// Moves bytes from the front of `input` here, until the stop or the end of the input. True at the stop:
    /// what follows it stays in `input`.
    pub(super) fn collect(&mut self, input: &mut &[u8], until: Until, limits: Limits) -> Result<bool, Fault> {
        while let Some(&first) = input.first() {
            let room = limits.bytes.saturating_sub(self.bytes.len());
            if room == 0 {
                return Err(Fault::TooLong);
            }
            if self.bytes.last() == Some(&b'\r') || is_control(first) {
                self.control(first)?;
                *input = &input[1..];
                if first == b'\n' && self.line_ended(until, limits)? {
                    return Ok(true);
                }
                continue;
            }
            // RFC 9112 section 5.2: obs-fold, which only a few proxies unfold, and differently.
            if self.lines > 0 && self.bytes.len() == self.line_start && matches!(first, b' ' | b'\t') {
                return Err(Fault::Malformed);
            }
            let run = input.iter().take(room).take_while(|byte| !is_control(**byte)).count();
            let (plain, rest) = input.split_at(run);
            self.bytes.extend_from_slice(plain);
            *input = rest;
        }
        Ok(false)
    }

    /// RFC 9112 section 2.2: a bare CR is invalid; and a bare LF, which it lets a recipient take for a line
    /// end, is rejected, as are NUL and the rest (RFC 9110 section 5.5).
    fn control(&mut self, byte: u8) -> Result<(), Fault> {
        let after_cr = self.bytes.last() == Some(&b'\r');
        if byte == if after_cr { b'\n' } else { b'\r' } {
            self.bytes.push(byte);
            return Ok(());
        }
        Err(Fault::Malformed)
    }

    fn line_ended(&mut self, until: Until, limits: Limits) -> Result<bool, Fault> {
        let empty = self.bytes.len() - self.line_start == 2;
        self.line_start = self.bytes.len();
        if !empty {
            self.lines += 1;
            if self.lines > mutation!("too-many-lines", limits.lines, limits.lines + 1) {
                return Err(Fault::TooManyLines);
            }
        }
        Ok(empty || until == Until::Line)
    }

    /// All octets so far, line ends included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many complete lines are not empty.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// How many bytes of memory are held.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether a line has begun: a CR alone may still become an empty one.
    pub(super) fn has_begun(&self) -> bool {
        self.bytes.first().is_some_and(|byte| *byte != b'\r')
    }

    /// Forgets everything, and gives the buffer back if it has grown large.
    pub(super) fn clear(&mut self) {
        recycle(&mut self.bytes);
        self.lines = 0;
        self.line_start = 0;
    }
}

/// Empties a buffer, and gives its memory back where it has grown beyond what a usual request needs.
pub(super) fn recycle(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_CAPACITY {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

fn is_control(byte: u8) -> bool {
    byte != b'\t' && byte.is_ascii_control()
}
