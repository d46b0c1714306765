#![allow(clippy::unwrap_used)]

use tus_proto::Record;

use super::*;
use crate::EventKind;

const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(4) };

fn at(seconds: u64) -> Now {
    let micros = seconds * 1_000_000;
    let wall = WallTime::from_micros(micros);
    Now { monotonic: Instant::from_micros(micros), wall, date: wall }
}

fn id(name: &str) -> UploadId {
    UploadId::new(name).unwrap()
}

fn event(name: &str, number: u64, attempts: u32) -> OutboxEvent {
    let record = Record {
        id: id(name),
        created: WallTime::default(),
        offset: 0,
        length: None,
        metadata: String::new(),
        expires: None,
        concat: None,
        explicit: None,
    };
    OutboxEvent { number, kind: EventKind::Completed, record, attempts }
}

fn due(events: &[OutboxEvent]) -> Result<DueEvents, Failure> {
    Ok(DueEvents { events: events.to_vec(), next: None })
}

/// All that is to be done now, in words.
fn polled(schedule: &mut Schedule, now: Now) -> Vec<String> {
    std::iter::from_fn(|| schedule.poll(now))
        .map(|action| match action {
            Action::Read(query) => format!("read {}", query.limit),
            Action::Deliver(event) => format!("deliver {} {}", event.record.id, event.number),
            Action::Settle(Settlement { id, number, until: None }) => format!("acknowledge {id} {number}"),
            Action::Settle(Settlement { id, number, until: Some(until) }) => {
                format!("postpone {id} {number} {}", until.as_micros() / 1_000_000)
            }
        })
        .collect()
}

/// A schedule that has read these events at second 0.
fn reading(limit: usize, events: &[OutboxEvent]) -> Schedule {
    let mut schedule = Schedule::new(limit, PAUSES);
    assert_eq!(polled(&mut schedule, at(0)), [format!("read {limit}")]);
    schedule.on_read(at(0), due(events));
    schedule
}

#[test]
fn what_was_delivered_is_acknowledged_and_then_the_next_is_looked_for() {
    let mut schedule = reading(2, &[event("a", 1, 0)]);
    assert_eq!(polled(&mut schedule, at(0)), ["deliver a 1"]);
    assert!(schedule.deadline(at(0)).is_none() && !schedule.is_idle());
    schedule.on_delivered(at(0), &id("a"), true);
    assert_eq!(polled(&mut schedule, at(0)), ["acknowledge a 1"]);
    schedule.on_settled(at(0), &id("a"), Ok(()));
    assert!(schedule.is_idle());
    assert_eq!(polled(&mut schedule, at(0)), ["read 2"]);
}

#[test]
fn a_failed_delivery_is_put_off_twice_as_long_each_time() {
    for (attempts, until) in [(0, 1), (1, 2), (2, 4), (9, 4)] {
        let mut schedule = reading(1, &[event("a", 1, attempts)]);
        polled(&mut schedule, at(0));
        schedule.on_delivered(at(0), &id("a"), false);
        assert_eq!(polled(&mut schedule, at(0)), [format!("postpone a 1 {until}")]);
    }
}

#[test]
fn an_upload_has_one_delivery_at_a_time_and_all_have_no_more_than_the_limit() {
    let events = [event("a", 1, 0), event("b", 2, 0), event("c", 3, 0)];
    let mut schedule = reading(2, &events[..2]);
    assert_eq!(polled(&mut schedule, at(0)), ["deliver a 1", "deliver b 2"], "there is no room to read more");
    schedule.on_delivered(at(0), &id("b"), true);
    assert_eq!(polled(&mut schedule, at(0)), ["acknowledge b 2"], "it counts until the store knows");
    schedule.on_settled(at(0), &id("b"), Ok(()));
    assert_eq!(polled(&mut schedule, at(0)), ["read 2"]);
    schedule.on_read(at(0), due(&[events[0].clone(), events[2].clone()]));
    assert_eq!(polled(&mut schedule, at(0)), ["deliver c 3"]);
}

#[test]
fn what_was_put_off_is_looked_for_when_it_is_due() {
    let mut schedule = reading(2, &[]);
    schedule.on_news();
    assert_eq!(polled(&mut schedule, at(1)), ["read 2"]);
    schedule.on_read(at(1), Ok(DueEvents { events: Vec::new(), next: Some(at(7).wall) }));
    assert!(polled(&mut schedule, at(6)).is_empty());
    assert_eq!(schedule.deadline(at(1)), Some(at(7).monotonic));
    assert_eq!(polled(&mut schedule, at(7)), ["read 2"]);
}

#[test]
fn a_store_that_fails_is_asked_again_after_a_pause() {
    let mut schedule = Schedule::new(1, PAUSES);
    polled(&mut schedule, at(0));
    schedule.on_read(at(0), Err(Failure::Io));
    assert!(polled(&mut schedule, at(0)).is_empty());
    assert_eq!(schedule.deadline(at(0)), Some(at(1).monotonic));
    assert_eq!(polled(&mut schedule, at(1)), ["read 1"]);
}

#[test]
fn what_the_store_could_not_be_told_is_told_again_and_not_delivered_again() {
    let mut schedule = reading(1, &[event("a", 1, 0)]);
    polled(&mut schedule, at(0));
    schedule.on_delivered(at(0), &id("a"), true);
    polled(&mut schedule, at(0));
    schedule.on_settled(at(0), &id("a"), Err(Failure::NoSpace));
    assert!(polled(&mut schedule, at(0)).is_empty());
    assert_eq!(schedule.deadline(at(0)), Some(at(1).monotonic));
    assert_eq!(polled(&mut schedule, at(1)), ["acknowledge a 1"]);
}

#[test]
fn once_stopped_it_begins_nothing_and_ends_what_is_under_way() {
    let mut schedule = reading(2, &[event("a", 1, 0), event("b", 2, 0)]);
    assert!(matches!(schedule.poll(at(0)), Some(Action::Deliver(event)) if event.number == 1));
    schedule.stop();
    schedule.on_news();
    assert!(polled(&mut schedule, at(0)).is_empty());
    schedule.on_delivered(at(0), &id("a"), true);
    assert_eq!(polled(&mut schedule, at(0)), ["acknowledge a 1"]);
    schedule.on_settled(at(0), &id("a"), Ok(()));
    assert!(schedule.is_idle() && polled(&mut schedule, at(0)).is_empty());
}
