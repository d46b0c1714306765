#![allow(clippy::unwrap_used)]

use std::{task::Waker, time::Duration};

use super::*;

/// A body that has these pieces, and then either ends or waits for more.
struct Pieces(VecDeque<Result<BodyPiece, BoxError>>, bool);

impl BodyReader for Pieces {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<BodyPiece, BoxError>>> {
        match self.0.pop_front() {
            None if !self.1 => Poll::Pending,
            piece => Poll::Ready(piece),
        }
    }
}

fn data(length: usize) -> Result<BodyPiece, BoxError> {
    Ok(BodyPiece::Data(vec![7; length].into()))
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// A body of these pieces, which ends after them or not.
fn body(
    framing: Framing,
    pieces: impl IntoIterator<Item = Result<BodyPiece, BoxError>>,
    ends: bool,
) -> Ingress<Pieces> {
    let timer = BodyTimer::new(Duration::from_secs(30), 500);
    Ingress::new(Pieces(pieces.into_iter().collect(), ends), framing, timer)
}

fn read(ingress: &mut Ingress<Pieces>, gone: bool) -> bool {
    ingress.read(&mut Context::from_waker(Waker::noop()), at(1), gone)
}

/// Takes all that is held, and how the body ended then.
fn rest(ingress: &mut Ingress<Pieces>) -> (usize, Option<String>) {
    let held = ingress.split(usize::MAX).iter().map(Bytes::len).sum();
    let end = ingress.end().map(|end| match end {
        End::Complete(_) => "complete".to_owned(),
        End::Cut(cut) => format!("{cut:?}"),
    });
    (held, end)
}

#[test]
fn it_reads_ahead_no_more_than_its_bound() {
    let pieces = || (0..100).map(|_| data(16 << 10));
    let mut ingress = body(Framing::Chunked, pieces(), true);
    assert!(read(&mut ingress, false));
    assert_eq!(ingress.held(), AHEAD);
    assert!(!read(&mut ingress, false), "it has no room");
    assert_eq!(ingress.split(5).iter().map(Bytes::len).collect::<Vec<_>>(), [5]);
    assert_eq!(ingress.held(), AHEAD - 5);
    // Small pieces hold on to more than their bytes.
    let mut ingress = body(Framing::Chunked, (0..100).map(|_| data(1)), true);
    read(&mut ingress, false);
    assert_eq!(ingress.held(), PIECES);
}

#[test]
fn a_body_ends_where_its_framing_says() {
    for (framing, pieces, ends, end) in [
        (Framing::Length(0), vec![], false, Some("complete")),
        (Framing::Length(5), vec![data(3), data(9)], false, Some("complete")),
        (Framing::Length(5), vec![data(3)], true, Some("HalfClosed")),
        (Framing::Length(5), vec![data(3)], false, None),
        (Framing::Chunked, vec![data(3)], true, Some("complete")),
        (Framing::Chunked, vec![data(3)], false, None),
        (Framing::Chunked, vec![Err("broken".into())], true, Some("HalfClosed")),
    ] {
        let case = format!("{framing:?} {pieces:?} {ends}");
        let mut ingress = body(framing, pieces, ends);
        read(&mut ingress, false);
        assert_eq!(rest(&mut ingress).1.as_deref(), end, "{case}");
        assert_eq!(ingress.misses(), end.is_none(), "{case}");
    }
}

#[test]
fn bytes_after_the_body_are_not_its() {
    let mut ingress = body(Framing::Length(5), [data(3), data(9)], false);
    read(&mut ingress, false);
    assert_eq!(rest(&mut ingress).0, 5);
}

#[test]
fn trailers_come_with_the_end() {
    let mut trailers = Trailers::default();
    trailers.push("Upload-Checksum", b"sha1 x");
    let mut ingress = body(Framing::Chunked, [data(1), Ok(BodyPiece::Trailers(trailers))], true);
    read(&mut ingress, false);
    assert!(ingress.end().is_none(), "bytes are held");
    ingress.discard();
    assert!(matches!(ingress.end(), Some(End::Complete(trailers)) if trailers != Trailers::default()));
}

#[test]
fn what_had_arrived_of_a_request_that_is_gone_is_taken_and_no_more() {
    let mut ingress = body(Framing::Length(100), [data(3)], false);
    assert!(read(&mut ingress, true));
    assert_eq!(rest(&mut ingress), (3, Some("PeerGone".to_owned())));
    // One that never pauses ends, too.
    let mut ingress = body(Framing::Chunked, (0..1000).map(|_| data(64 << 10)), true);
    let mut taken = 0;
    while read(&mut ingress, true) {
        taken += ingress.split(usize::MAX).iter().map(Bytes::len).sum::<usize>();
    }
    assert_eq!(taken as u64, DREGS);
    assert_eq!(rest(&mut ingress).1.as_deref(), Some("PeerGone"));
}

#[test]
fn a_client_has_its_time_only_while_it_is_waited_for() {
    let mut ingress = body(Framing::Length(100), [data(3)], false);
    assert_eq!(ingress.deadline(), None, "nothing was asked for");
    read(&mut ingress, false);
    assert_eq!(ingress.deadline(), Some(at(31)));
    ingress.pause(at(11));
    assert_eq!(ingress.deadline(), None);
    ingress.read(&mut Context::from_waker(Waker::noop()), at(100), false);
    assert_eq!(ingress.deadline(), Some(at(120)));
    assert!(!ingress.time_out(at(119)) && ingress.time_out(at(120)));
    assert_eq!(rest(&mut ingress), (3, Some("TooSlow".to_owned())));
}

#[test]
fn what_comes_after_the_response_is_forgotten_up_to_a_bound() {
    let forget = |ends, mut left| {
        let mut ingress = body(Framing::Chunked, [data(10), data(10)], ends);
        let forgotten = ingress.poll_forget(&mut Context::from_waker(Waker::noop()), at(1), &mut left);
        (forgotten, left)
    };
    assert_eq!(forget(true, 100), (Poll::Ready(()), 80));
    assert_eq!(forget(false, 100), (Poll::Pending, 80));
    assert_eq!(forget(false, 5), (Poll::Ready(()), 5));
}
