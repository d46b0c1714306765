//! Who drives a connection as its module prescribes: hands it what has come, answers, sends, waits.

use std::time::Duration;

use tus_mio_server::http1::{Conn, Eof, Event, Reason};
use tus_proto::{ErrorCode, Framing, Instant, Response, WallTime};

use super::{
    Habits, Message, Reading,
    answers::{self, Answer},
};

/// How long a driver that has to wait for its disk does so.
const STALL: Duration = Duration::from_secs(100);

pub(super) struct Driver<'p> {
    pub(super) conn: Conn,
    pub(super) habits: Habits,
    /// How much the peer gives, and takes, at a time.
    pub(super) pieces: &'p mut dyn Iterator<Item = usize>,
    pub(super) pause: Duration,
    pub(super) now: Instant,
    /// A request was told, and not answered.
    pub(super) owed: bool,
    /// How much of the upload that an answer carries is sent.
    pub(super) uploaded: u64,
    pub(super) reading: Reading,
}

impl Driver<'_> {
    pub(super) fn piece(&mut self) -> usize {
        self.pieces.next().unwrap_or(usize::MAX).max(1)
    }

    /// One event, answered; whether there may be another.
    pub(super) fn step(&mut self, rest: &mut &[u8]) -> bool {
        let before = rest.len();
        if self.habits.moves() && self.move_beside(rest) {
            return true;
        }
        match self.conn.next(self.now, rest) {
            None => return self.send() || rest.len() < before && !rest.is_empty(),
            Some(Event::Head) => self.on_head(),
            Some(Event::Body(bytes)) => {
                assert!(!bytes.is_empty());
                self.message().body.extend_from_slice(bytes);
            }
            Some(Event::End(trailers)) => {
                let message = self.message();
                assert!(!std::mem::replace(&mut message.complete, true), "it ends twice");
                message.trailers = format!("{trailers:?}");
                let answer = answers::to(&message.target);
                self.respond(&answer);
            }
            Some(Event::Rejected(code)) => {
                self.reading.refused = Some(code.name().into());
                self.respond(&Response::error(code, WallTime::default()));
            }
        }
        true
    }

    fn on_head(&mut self) {
        let limits = self.habits.settings();
        let message = self.conn.with_head(false, |head| {
            assert!(head.fields.len() <= limits.fields, "more fields than are allowed");
            let length = |(name, value): &(&str, &[u8])| name.len() + value.len();
            assert!(head.fields.iter().map(length).sum::<usize>() <= limits.head_bytes);
            assert!(matches!(head.framing, Framing::Chunked | Framing::Length(0..=0x7fff_ffff_ffff_ffff)));
            Message {
                method: head.method.into(),
                target: head.target.into(),
                framing: head.framing,
                head: format!("{head:?}"),
                body: Vec::new(),
                trailers: String::new(),
                complete: false,
                skipped: self.habits.answers_early().is_some(),
            }
        });
        self.reading.messages.push(message.unwrap());
        self.owed = true;
        if self.habits.continues() {
            self.conn.send_continue(self.now);
            assert!(!self.conn.expects_continue());
        }
        if let Some(connection) = self.habits.answers_early() {
            let mut answer = answers::to(&self.message().target);
            answer.connection = connection;
            self.respond(&answer);
        }
    }

    fn message(&mut self) -> &mut Message {
        self.reading.messages.last_mut().unwrap()
    }

    /// Answers the request under way, or a head that was rejected.
    fn respond(&mut self, answer: &Response) {
        let told = self.reading.messages.last().filter(|_| std::mem::take(&mut self.owed));
        self.reading.answers.push(Answer::of(answer, told.map(|message| message.method.as_str())));
        self.conn.respond(self.now, answer);
        self.uploaded = 0;
        if self.habits.shuts_down() {
            self.conn.shutdown(self.now);
        }
    }

    /// Takes body bytes away from the connection; whether there were some.
    fn move_beside(&mut self, rest: &mut &[u8]) -> bool {
        let credit = usize::try_from(self.conn.raw_credit()).unwrap_or(usize::MAX).min(rest.len());
        let (moved, left) = rest.split_at(credit);
        if moved.is_empty() {
            return false;
        }
        self.message().body.extend_from_slice(moved);
        *rest = left;
        self.conn.moved(self.now, credit as u64);
        true
    }

    /// Sends some of what there is to send, and ends what there is to end; whether there was something.
    fn send(&mut self) -> bool {
        if self.conn.wants_write() {
            assert_eq!(self.conn.send_credit(), 0, "the upload goes before its head");
            let written = self.piece().min(self.conn.output().len());
            self.reading.output.extend_from_slice(&self.conn.output()[..written]);
            self.conn.sent(self.now, written);
            return true;
        }
        if self.conn.send_credit() > 0 {
            self.send_upload();
            return true;
        }
        let shut = self.conn.wants_shutdown_write();
        if shut {
            self.conn.write_shut();
            assert!(!self.conn.wants_shutdown_write());
        }
        shut
    }

    /// Sends some bytes of the upload beside the connection.
    fn send_upload(&mut self) {
        if self.habits.stalls() {
            self.stall();
        }
        self.pass();
        let credit = self.conn.send_credit();
        if credit == 0 {
            return assert!(self.conn.is_closed(), "it has forgotten what it owes");
        }
        let (before, _) = self.conn.deadline().unwrap();
        let count = credit.min(self.piece() as u64);
        self.reading.output.extend(answers::upload(self.uploaded, self.uploaded + count));
        self.uploaded += count;
        self.conn.sent_beside(self.now, count);
        assert_eq!(self.conn.send_credit(), credit - count);
        if count < credit {
            let (after, reason) = self.conn.deadline().unwrap();
            let latest = self.now.after(self.habits.settings().response_timeout);
            assert!(
                reason == Reason::Response && (before..=latest).contains(&after),
                "{before:?}, then {after:?}"
            );
        }
    }

    /// The driver can't send: time passes that is not the peer's.
    fn stall(&mut self) {
        let before = self.conn.deadline();
        self.conn.set_sending(self.now, false);
        assert_eq!(self.conn.deadline(), None, "the peer is blamed");
        self.now = self.now.after(STALL);
        self.conn.set_sending(self.now, true);
        assert_eq!(self.conn.deadline(), before.map(|(at, reason)| (at.after(STALL), reason)));
    }

    pub(super) fn pass(&mut self) {
        self.now = self.now.after(self.pause);
        if let Some(reason) = self.conn.expired(self.now) {
            let later = self.conn.deadline().is_none_or(|(at, _)| at > self.now);
            assert!(later, "{reason:?} has passed, and still is the deadline");
            if matches!(reason, Reason::Head | Reason::Body) {
                self.respond(&Response::error(ErrorCode::ReadTimeout, WallTime::default()));
                while self.send() {}
            } else {
                assert!(self.conn.is_closed(), "{reason:?}");
            }
        }
    }

    /// The input ends: what is owed is said, and then the connection is over.
    pub(super) fn end(&mut self) {
        let owed = self.owed;
        let eof = self.conn.eof(self.now);
        assert_eq!(eof, if owed { Eof::HalfClosed } else { Eof::Closed });
        if owed {
            self.respond(&Response::error(ErrorCode::UploadInterrupted, WallTime::default()));
            while self.send() {}
        }
        assert!(self.conn.is_closed(), "nothing can come any more");
    }
}
