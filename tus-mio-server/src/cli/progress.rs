//! How far a long command has come, on a terminal: one line that is written anew, and removed at the end.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often the line is written.
const PAUSE: Duration = Duration::from_millis(100);

/// The line. Nothing is written where standard error is no terminal.
pub(crate) struct Progress {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: None, is_terminal: io::stderr().is_terminal() }
    }

    /// So many uploads were looked at.
    pub(crate) fn show(&mut self, uploads: u64) {
        self.write(format_args!("{uploads} uploads checked"));
    }

    /// Of so many uploads so many bytes were read.
    pub(crate) fn show_bytes(&mut self, uploads: u64, bytes: u64) {
        self.write(format_args!("{uploads} uploads read, {} MiB", bytes >> 20));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            self.shown = Some(Instant::now());
            // A terminal that takes no more text is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
