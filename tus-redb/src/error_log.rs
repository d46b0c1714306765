//! What went wrong, for the operator's log: each text once in a while, with how often it came.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long a text that was told is only counted when it comes again.
const COUNTED_FOR: Duration = Duration::from_secs(10);

/// So many texts are told apart; with more of them at once, all are told anew.
const TEXTS: usize = 64;

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    last: Option<String>,
    told: HashMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    since: u64,
}

impl ErrorLog {
    /// Something went wrong. Only what did last is told: what follows from it is rarely of interest.
    pub(crate) fn note(&mut self, text: String) {
        self.last = Some(text);
    }

    /// What went wrong last, if that was not just told.
    pub(crate) fn take(&mut self, now: Instant) -> Option<String> {
        let text = self.last.take()?;
        if let Some(told) = self.told.get_mut(&text) {
            if now.saturating_duration_since(told.at) < COUNTED_FOR {
                told.since += 1;
                return None;
            }
            let since = std::mem::replace(told, Told { at: now, since: 0 }).since;
            return Some(if since > 0 { format!("{text} (and {since} times before)") } else { text });
        }
        if self.told.len() >= TEXTS {
            self.told.clear();
        }
        self.told.insert(text.clone(), Told { at: now, since: 0 });
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_texts_are_counted_and_told_once_in_a_while() {
        let (mut troubles, start) = (ErrorLog::default(), Instant::now());
        let mut come = |text: &str, seconds| {
            troubles.note(text.to_owned());
            troubles.take(start + Duration::from_secs(seconds))
        };
        assert_eq!(come("a", 0).unwrap(), "a");
        assert_eq!((come("a", 1), come("a", 9)), (None, None));
        assert_eq!(come("b", 9).unwrap(), "b");
        assert_eq!(come("a", 10).unwrap(), "a (and 2 times before)");
        assert_eq!(come("a", 30).unwrap(), "a");
        assert_eq!(troubles.take(start), None);
    }

    #[test]
    fn texts_that_are_never_the_same_take_bounded_memory() {
        let (mut troubles, start) = (ErrorLog::default(), Instant::now());
        for n in 0..1000 {
            troubles.note(format!("{n}"));
            assert!(troubles.take(start).is_some());
        }
        assert!(troubles.told.len() <= TEXTS);
    }
}
