//! What an exchange holds while it waits: thousands may wait at once.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Fence, Record, UploadId};

fn at(seconds: u64) -> Now {
    let micros = seconds * 1_000_000;
    Now {
        monotonic: Instant::from_micros(micros),
        wall: WallTime::from_micros(micros),
        date: WallTime::from_micros(micros),
    }
}

/// A PATCH whose body is waited for.
fn receiving() -> Exchange {
    let fields: &[(&str, &[u8])] = &[
        ("Tus-Resumable", b"1.0.0"),
        ("Content-Type", b"application/offset+octet-stream"),
        ("Upload-Offset", b"0"),
    ];
    let framing = Framing::Length(5);
    let head = Head { method: "PATCH", target: "/files/a", fields, framing, secure: false, direct: false };
    let mut exchange = Exchange::new(Arc::default(), &head, [0; 10], at(0));
    while let Some(output) = exchange.poll() {
        match output {
            Output::Store(op, Command::Load { id }) => {
                exchange.handle(at(0), Input::Store(op, Completion::Loaded(record(id))));
            }
            Output::Lock(op, LockCall::Acquire { .. }) => {
                let granted = LockReply::Granted { fence: Fence(1), rotate: false };
                exchange.handle(at(0), Input::Lock(op, granted));
            }
            Output::Store(_, Command::Append { .. }) | Output::Continue => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(exchange.state, State::Receiving(_)));
    exchange
}

fn record(id: UploadId) -> Record {
    let (created, metadata) = (WallTime::default(), String::new());
    Record { id, created, offset: 0, length: Some(5), metadata, expires: None, concat: None, explicit: None }
}

#[test]
fn who_waits_for_a_body_holds_no_queue_of_outputs() {
    let mut exchange = receiving();
    assert_eq!(exchange.outputs.capacity(), 0);
    exchange.handle(at(1), Input::Cancel(Cancel::Shutdown));
    assert!(matches!(exchange.poll(), Some(Output::Store(_, Command::StopAppend))));
}

#[test]
fn what_only_some_bodies_need_is_not_held_by_all() {
    // Digests are the largest of it: one alone would be a quarter of this.
    assert!(size_of::<Receiving>() <= 320, "{}", size_of::<Receiving>());
    assert!(size_of::<Exchange>() <= 448, "{}", size_of::<Exchange>());
}
