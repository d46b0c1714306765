//! The script driver: a request in one line, then what the exchange asks and what it is told.

use std::{sync::Arc, time::Duration};

use tus_proto::{
    AppendEnd, Cancel, Command, Completion, Config, Cut, Event, Exchange, Fence, Framing, Head, HookCall,
    HookReply, Input, Instant, Interim, LockCall, LockReply, Now, OpId, Output, Reason, Record, Response,
    Trailers, UploadId, WallTime,
};

/// The fence of the grants that [`Script::acquire`] makes.
pub(crate) const FENCE: Fence = Fence(7);

/// The id of the upload that all scripts are about.
pub(crate) fn id() -> UploadId {
    UploadId::new("upload").unwrap()
}

/// The upload as the store knows it.
pub(crate) fn record(offset: u64, length: impl Into<Option<u64>>) -> Record {
    Record {
        id: id(),
        created: WallTime::default(),
        offset,
        length: length.into(),
        metadata: String::new(),
        expires: None,
        concat: None,
        explicit: None,
    }
}

/// Without the IETF's protocol, a request that says nothing of a protocol is one of tus 1.0.0 that lacks its version.
pub(crate) fn tus_alone() -> Config {
    Config::builder().rufh(false).build().unwrap()
}

/// A request that a client sends.
#[derive(Clone)]
pub(crate) struct Sent {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    framing: Framing,
}

impl Sent {
    /// A request without any field, and without a body.
    pub(crate) fn bare(method: &'static str, target: &str) -> Self {
        Self { method, target: target.into(), fields: Vec::new(), framing: Framing::Length(0) }
    }

    /// One that says `Tus-Resumable: 1.0.0`.
    pub(crate) fn tus(method: &'static str, target: &str) -> Self {
        Self::bare(method, target).with("Tus-Resumable", "1.0.0")
    }

    pub(crate) fn head() -> Self {
        Self::tus("HEAD", "/files/upload")
    }

    pub(crate) fn delete() -> Self {
        Self::tus("DELETE", "/files/upload")
    }

    /// A PATCH at `offset`.
    pub(crate) fn patch(offset: u64, framing: Framing) -> Self {
        Self::tus("PATCH", "/files/upload")
            .with("Upload-Offset", offset)
            .with("Content-Type", "application/offset+octet-stream")
            .framed(framing)
    }

    /// A POST without its length.
    pub(crate) fn post() -> Self {
        Self::tus("POST", "/files")
    }

    /// A POST of an upload of `length` bytes, some of which come with it.
    pub(crate) fn post_with_upload(length: u64, framing: Framing) -> Self {
        Self::post()
            .with("Upload-Length", length)
            .with("Content-Type", "application/offset+octet-stream")
            .framed(framing)
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }
}

/// Why a body is not complete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Early {
    Cut(Cut),
    Cancelled(Cancel),
}

/// An Append that the exchange has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub op: OpId,
    pub at: u64,
    pub max: u64,
    pub rotate: bool,
}

/// A Commit that the exchange has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub op: OpId,
    pub from: u64,
    pub to: u64,
    pub length: Option<u64>,
    pub expires: Option<WallTime>,
    pub finish: bool,
}

/// An exchange and its clock.
pub(crate) struct Script {
    exchange: Exchange,
    now: Now,
    /// What the exchange has counted so far.
    pub(crate) events: Vec<Event>,
    /// Whether the store has memory for small bodies: if not, uploads are made before their bodies come.
    pub(crate) reserves: bool,
}

impl Script {
    pub(crate) fn start(sent: &Sent) -> Self {
        Self::start_with(Config::default(), sent)
    }

    pub(crate) fn start_with(config: Config, sent: &Sent) -> Self {
        let fields: Vec<_> = sent.fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let head = Head {
            method: sent.method,
            target: &sent.target,
            fields: &fields,
            framing: sent.framing,
            secure: false,
            direct: false,
        };
        let now = Now {
            monotonic: Instant::from_micros(1_000_000),
            wall: WallTime::default(),
            date: WallTime::default(),
        };
        Self {
            exchange: Exchange::new(Arc::new(config), &head, [3; 10], now),
            now,
            events: Vec::new(),
            reserves: false,
        }
    }

    /// A PATCH that has come to its body: the upload looked up, the lock held, the Append open.
    pub(crate) fn receiving(config: Config, sent: &Sent, record: &Record) -> (Self, Grant) {
        let mut script = Self::start_with(config, sent);
        script.load(record);
        script.acquire();
        script.load(record);
        let grant = script.append();
        (script, grant)
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.exchange.handle(self.now, input);
    }

    pub(crate) fn stored(&mut self, op: OpId, completion: Completion) {
        self.input(Input::Store(op, completion));
    }

    pub(crate) fn decided(&mut self, op: OpId, reply: HookReply) {
        self.input(Input::Hook(op, reply));
    }

    pub(crate) fn replied(&mut self, op: OpId, reply: LockReply) {
        self.input(Input::Lock(op, reply));
    }

    /// The open Append has staged this many bytes in all.
    pub(crate) fn staged(&mut self, grant: Grant, total: u64) {
        self.input(Input::Staged(grant.op, total));
    }

    /// The Append is over.
    pub(crate) fn appended(&mut self, grant: Grant, total: u64, end: AppendEnd) {
        self.stored(grant.op, Completion::Appended { total, end, digest: None });
    }

    /// The body has come to its end, with this many bytes.
    pub(crate) fn body_ends(&mut self, grant: Grant, total: u64) {
        self.appended(grant, total, AppendEnd::Complete(Trailers::default()));
    }

    /// The body is cut short after this many bytes.
    pub(crate) fn body_is_cut(&mut self, grant: Grant, total: u64, cut: Cut) {
        self.appended(grant, total, AppendEnd::Cut(cut));
    }

    /// The request must end, after this many bytes of its body.
    #[track_caller]
    pub(crate) fn body_is_cancelled(&mut self, grant: Grant, total: u64, cancel: Cancel) {
        self.input(Input::Cancel(cancel));
        self.stop();
        self.appended(grant, total, AppendEnd::Stopped);
    }

    /// The body is cut short, or its request is, after this many bytes.
    #[track_caller]
    pub(crate) fn body_ends_early(&mut self, grant: Grant, total: u64, early: Early) {
        match early {
            Early::Cut(cut) => self.body_is_cut(grant, total, cut),
            Early::Cancelled(cancel) => self.body_is_cancelled(grant, total, cancel),
        }
    }

    /// Somebody sets the system's calendar ahead.
    pub(crate) fn set_ahead(&mut self, by: Duration) {
        self.now.date = self.now.date.after(by);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.after(time);
        self.now.wall = self.now.wall.after(time);
        self.now.date = self.now.date.after(time);
    }

    /// How long from now the next deadline is, and what for.
    pub(crate) fn deadline(&self) -> Option<(Duration, Reason)> {
        self.exchange.deadline().map(|(at, reason)| (at.since(self.now.monotonic), reason))
    }

    /// Lets the clock run to the deadline, and says so.
    pub(crate) fn wait(&mut self) -> Reason {
        let (time, reason) = self.deadline().expect("there should be a deadline");
        self.pass(time);
        self.input(Input::Timeout);
        reason
    }

    /// The next output that is not for metrics.
    pub(crate) fn next(&mut self) -> Option<Output> {
        loop {
            match self.exchange.poll() {
                Some(Output::Notify(event)) => self.events.push(event),
                Some(Output::Store(op, Command::Reserve { .. })) if !self.reserves => {
                    self.stored(op, Completion::Declined);
                }
                other => return other,
            }
        }
    }

    /// Nothing is asked now.
    #[track_caller]
    pub(crate) fn idle(&mut self) {
        assert_eq!(self.next(), None);
    }

    #[track_caller]
    pub(crate) fn lock(&mut self) -> (OpId, LockCall) {
        match self.next() {
            Some(Output::Lock(op, call)) => (op, call),
            other => panic!("a lock call should come, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn store(&mut self) -> (OpId, Command) {
        match self.next() {
            Some(Output::Store(op, command)) => (op, command),
            other => panic!("a store command should come, not {other:?}"),
        }
    }

    /// An answer before the final one.
    #[track_caller]
    pub(crate) fn interim(&mut self) -> Interim {
        match self.next() {
            Some(Output::Interim(interim)) => interim,
            other => panic!("an interim answer should come, not {other:?}"),
        }
    }

    /// A hook is asked.
    #[track_caller]
    pub(crate) fn hook(&mut self) -> (OpId, HookCall) {
        match self.next() {
            Some(Output::Hook(op, call)) => (op, call),
            other => panic!("a hook should be asked, not {other:?}"),
        }
    }

    /// A Load, answered by `record`.
    #[track_caller]
    pub(crate) fn load(&mut self, record: &Record) {
        let (op, command) = self.store();
        assert_eq!(command, Command::Load { id: id() });
        self.stored(op, Completion::Loaded(record.clone()));
    }

    /// An Acquire, granted; the offset it names.
    #[track_caller]
    pub(crate) fn acquire(&mut self) -> Option<u64> {
        let (op, call) = self.lock();
        let LockCall::Acquire { offset, .. } = call else { panic!("Acquire should come, not {call:?}") };
        self.replied(op, LockReply::Granted { fence: FENCE, rotate: false });
        offset
    }

    /// `100 Continue` and the Append after it.
    #[track_caller]
    pub(crate) fn append(&mut self) -> Grant {
        assert_eq!(self.next(), Some(Output::Continue));
        let (op, command) = self.store();
        let Command::Append { fence, at, max, rotate, .. } = command else {
            panic!("Append should come, not {command:?}")
        };
        assert_eq!(fence, FENCE);
        Grant { op, at, max, rotate }
    }

    #[track_caller]
    pub(crate) fn stop(&mut self) {
        assert_eq!(self.store().1, Command::StopAppend);
    }

    #[track_caller]
    pub(crate) fn commit(&mut self) -> Asked {
        let (op, command) = self.store();
        let Command::Commit { fence, from, to, length, expires, finish, .. } = command else {
            panic!("Commit should come, not {command:?}")
        };
        assert_eq!(fence, FENCE);
        Asked { op, from, to, length, expires, finish }
    }

    /// A Commit of `from` to `to`, done as asked.
    #[track_caller]
    pub(crate) fn commits(&mut self, from: u64, to: u64) -> Asked {
        let asked = self.commit();
        assert_eq!((asked.from, asked.to), (from, to));
        self.stored(asked.op, Completion::Committed { offset: to });
        asked
    }

    #[track_caller]
    pub(crate) fn discards(&mut self) {
        let (op, command) = self.store();
        assert_eq!(command, Command::Discard { id: id(), fence: FENCE });
        self.stored(op, Completion::Discarded);
    }

    /// The upload goes, and then the lock.
    #[track_caller]
    pub(crate) fn deletes(&mut self) {
        let (op, command) = self.store();
        assert_eq!(command, Command::Delete { id: id(), fence: FENCE });
        self.stored(op, Completion::Deleted);
        self.release();
    }

    /// The writer's word to the HEADs that wait for it.
    #[track_caller]
    pub(crate) fn checkpointed(&mut self) {
        let (_, call) = self.lock();
        assert!(matches!(call, LockCall::Checkpointed { .. }), "Checkpointed should come, not {call:?}");
    }

    /// The release, and nothing before it is answered.
    #[track_caller]
    pub(crate) fn release(&mut self) {
        let (op, call) = self.lock();
        assert!(matches!(call, LockCall::Release { .. }), "Release should come, not {call:?}");
        self.idle();
        self.replied(op, LockReply::Released);
    }

    /// The response, after which the exchange is over.
    #[track_caller]
    pub(crate) fn responds(&mut self) -> Response {
        let response = match self.next() {
            Some(Output::Respond(response)) => response,
            other => panic!("the response should come, not {other:?}"),
        };
        self.ends();
        response
    }

    /// The response is a rejection of this status and code.
    #[track_caller]
    pub(crate) fn refuses(&mut self, status: u16, code: &str) -> Response {
        let response = self.responds();
        assert_eq!((response.status(), response.body().split(':').next()), (status, Some(code)));
        response
    }

    /// The exchange is over without a response.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.next(), Some(Output::Done));
        assert_eq!(self.deadline(), None);
        self.idle();
    }
}
