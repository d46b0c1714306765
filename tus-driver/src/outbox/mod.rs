//! The outbox: which of its events are delivered when, for runtimes that deliver them one after another and each at
//! least once.

mod bloom;
mod schedule;

use tus_proto::Failure;

pub use schedule::{Action, Pauses, Schedule, Told};

use crate::OutboxEvent;

/// The highest number in an outbox, 0 if it is empty: where a [`Schedule`] begins. `read` reads at most so many events
/// after a number, as [`Store::outbox`](crate::Store::outbox) does.
///
/// # Errors
/// Those of `read`.
pub fn last_number(
    mut read: impl FnMut(u64, usize) -> Result<Vec<OutboxEvent>, Failure>,
) -> Result<u64, Failure> {
    // Past the highest there is none: it is found by halving, not by reading what may be a million entries.
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(middle, 1)?.first() {
            Some(event) => low = event.number,
            None => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::{Record, UploadId, WallTime};

    use super::*;
    use crate::EventKind;

    #[test]
    fn the_last_number_is_found_without_reading_all() {
        let record = Record {
            id: UploadId::new("a").unwrap(),
            created: WallTime::default(),
            offset: 0,
            length: None,
            metadata: String::new(),
            expires: None,
            concat: None,
        };
        for numbers in [vec![], vec![1], vec![7, 8, 90_000], vec![u64::MAX]] {
            let mut reads = 0;
            let last = last_number(|after, limit| {
                reads += 1;
                let events = numbers.iter().filter(|number| **number > after).take(limit);
                let kind = EventKind::Completed;
                let events = events.map(|number| (*number, record.clone()));
                Ok(events.map(|(number, record)| OutboxEvent { number, kind, record, attempts: 0 }).collect())
            });
            assert_eq!(last, Ok(numbers.last().copied().unwrap_or(0)));
            assert!(reads <= 65, "{reads}");
        }
        assert_eq!(last_number(|_, _| Err(Failure::Io)), Err(Failure::Io));
    }
}
