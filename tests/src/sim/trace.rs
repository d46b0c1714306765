//! What happened in a run, line by line. It lives outside the run, so that it is still there when the run has
//! panicked.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Adds a line to the trace of this thread.
pub(super) fn add(line: &str) {
    LINES.with_borrow_mut(|lines| {
        lines.push_str(line);
        lines.push('\n');
    });
}

/// Takes the trace of this thread.
pub fn take() -> String {
    LINES.take()
}
