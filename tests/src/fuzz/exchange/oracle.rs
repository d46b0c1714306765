//! What a run has seen of its exchange, held against what every exchange promises.

use tus_proto::{
    AppendEnd, Body, Command, Completion, Digest, HookCall, HookReply, LockCall, OpId, Output, Rejection,
    Response, Subscriptions, Trailers,
};

use super::{
    answers::{HOOKS_STATUS, THEIRS},
    request::DIGEST,
};

/// A call whose completion is due.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Lock(OpId, LockCall),
    Store(OpId, Command),
    Hook(OpId),
}

/// What the run has seen, and so what may still come.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) due: Vec<Due>,
    pub(super) ops: Vec<OpId>,
    pub(super) acquired: bool,
    /// Releases of a lock that was acquired or waited for.
    pub(super) released: u32,
    pub(super) release_due: bool,
    pub(super) asked_checkpoint: bool,
    pub(super) append: Option<OpId>,
    pub(super) appends: u32,
    pub(super) stops: u32,
    /// The end of the Append's bytes, as far as the exchange was told.
    pub(super) staged: u64,
    pub(super) at: u64,
    pub(super) max: u64,
    pub(super) committed: u64,
    pub(super) settling: bool,
    /// The commit under way was asked for when the Append was over: what it leaves is not taken any more.
    last_commit: bool,
    pub(super) commit_failed: bool,
    pub(super) lock_lost: bool,
    /// The length of the upload that is held to be sent.
    pub(super) opened: Option<u64>,
    /// A new upload was asked for.
    pub(super) made: bool,
    /// Its body was received before that, into memory.
    pub(super) buffered: bool,
    /// The upload is a final: nobody may write to it.
    pub(super) is_final: bool,
    /// Nothing may be committed before the body was verified: its header has a checksum,
    checksum: bool,
    /// or announces one in the trailer.
    pub(super) announced: bool,
    /// What the Append ended with.
    end: Option<AppendEnd>,
    /// The staged bytes are what a checksum says.
    verified: bool,
    /// A checksum is missing, malformed or not that of the body.
    refuted: bool,
    hooks: Subscriptions,
    /// The request is not one of tus 1.0.0.
    pub(super) ietf: bool,
    /// The hooks that were asked, in order.
    pub(super) asked: Vec<&'static str>,
    /// The last one let the request go on; `None` while it has not decided.
    let_on: Option<bool>,
    /// It did not, and has said so.
    refusal: Option<Rejection>,
    pub(super) responses: u32,
    pub(super) done: bool,
}

impl Seen {
    pub(super) fn new(hooks: Subscriptions, checksum: bool, announced: bool) -> Self {
        Self { hooks, checksum, announced, ..Self::default() }
    }

    /// Whether nothing may be committed before the body was verified.
    pub(super) fn is_guarded(&self) -> bool {
        self.checksum || self.announced
    }

    /// The body is complete, with these trailers.
    fn body_ends(&mut self, trailers: &Trailers) {
        let right = |value: &[u8]| value == DIGEST.as_bytes();
        self.refuted |= trailers.iter().any(|(_, value)| !right(value));
        self.refuted |= self.announced && trailers.is_empty();
    }

    /// Whether the body is complete, and the exchange was told.
    fn body_ended(&self) -> bool {
        matches!(self.end, Some(AppendEnd::Complete(_)))
    }

    /// The exchange has put this out.
    pub(super) fn see(&mut self, output: Output) {
        assert!(!self.done, "{output:?} after Done");
        match output {
            Output::Lock(op, call) => self.on_lock_call(op, call),
            Output::Store(op, command) => self.on_command(op, command),
            Output::Interim(interim) => {
                assert!(self.ietf && self.responses == 0 && !self.release_due, "{interim:?}");
                let told = interim.header("Upload-Offset");
                assert!(told.is_none_or(|offset| offset == self.committed.to_string()), "{interim:?}");
            }
            Output::Continue => assert_eq!(self.appends, 0, "100 after the grant"),
            Output::Respond(response) => {
                self.responses += 1;
                assert_eq!(self.responses, 1);
                assert!(!self.acquired || self.released == 1);
                assert!(!self.release_due, "the answer came before the release was done");
                assert!((200..600).contains(&response.status()));
                self.check_headers(&response);
                if let Body::Upload { from, to } = response.content() {
                    let length = self.opened.expect("nothing is held to be sent");
                    assert!(*to <= length && (from < to || length == 0), "{from} to {to} of {length}");
                    let ranged = response.header("Content-Range").is_some();
                    assert_eq!(response.status(), if ranged { 206 } else { 200 });
                    assert!(ranged || (*from, *to) == (0, length));
                }
                let tells = [200, 201, 204, 409].contains(&response.status());
                assert!(tells || response.header("Upload-Offset").is_none());
            }
            Output::Hook(op, call) => self.on_hook_call(op, call),
            Output::Notify(_) => {}
            Output::Done => {
                self.done = true;
                assert_eq!(self.released, u32::from(self.acquired));
            }
        }
    }

    /// Each header is there as often as it should be, and what a hook adds is its own alone.
    fn check_headers(&self, response: &Response) {
        let count =
            |wanted: &str| response.headers().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).count();
        let once = ["Date", "Cache-Control"];
        // Who says nothing of a protocol may turn out to speak tus.
        let tus = if self.ietf { 0..=1 } else { 1..=1 };
        assert!(tus.contains(&count("Tus-Resumable")), "{response:?}");
        assert!(once.iter().all(|name| count(name) == 1), "{response:?}");
        let none = ["Content-Length", "Transfer-Encoding", "Connection", "Set-Cookie", "a b"];
        assert!(none.iter().all(|name| count(name) == 0), "{response:?}");
        let theirs = response.header(THEIRS);
        let Some(rejection) = &self.refusal else { return assert_eq!(theirs, None, "no hook has refused") };
        if response.status() == HOOKS_STATUS {
            let told =
                rejection.headers.iter().find(|(name, _)| name == THEIRS).map(|(_, value)| value.as_str());
            assert_eq!(theirs, told.filter(|value| !value.contains(char::is_control)));
            // The answer to a HEAD has no body; else where the hook has no words there are ours.
            let body = response.body();
            assert!(body.is_empty() || rejection.body.is_empty() || body == rejection.body, "{response:?}");
        }
    }

    /// A command completed so.
    pub(super) fn completed(&mut self, command: &Command, completion: &Completion) {
        match (command, completion) {
            (
                Command::Append { .. } | Command::Buffer { .. },
                Completion::Appended { total, end, digest },
            ) => {
                self.append = None;
                if let AppendEnd::Complete(trailers) = end {
                    self.body_ends(trailers);
                }
                self.end = Some(end.clone());
                if let Some(digest) = digest {
                    self.compare(digest);
                }
                self.staged = self.staged.max(self.at + total.min(&self.max));
            }
            (Command::Append { .. } | Command::Buffer { .. }, _) => self.append = None,
            (Command::Create { first, .. }, Completion::Created) if self.buffered => self.committed = *first,
            (Command::Create { .. }, _) if self.buffered => self.commit_failed = true,
            (Command::Commit { to, finish, .. }, Completion::Committed { offset })
                if (if *finish { *to } else { self.committed }..=*to).contains(offset) =>
            {
                // A store may keep less than it was asked to.
                if self.last_commit && self.staged == *to {
                    self.staged = *offset;
                }
                self.settling = false;
                self.committed = *offset;
            }
            (Command::Commit { .. }, _) => {
                self.settling = false;
                self.commit_failed = true;
            }
            (Command::Digest { .. }, completion) => {
                self.settling = false;
                match completion {
                    Completion::Digested(digest) => self.compare(digest),
                    _ => self.refuted = true,
                }
            }
            (Command::Discard { .. } | Command::Hash { .. }, _) => self.settling = false,
            (Command::Load { .. }, Completion::Loaded(record)) => self.is_final = record.is_final(),
            (Command::Open { .. }, Completion::Opened(record)) => {
                self.opened = record.length.filter(|_| record.is_complete());
            }
            (Command::Concat { .. }, _) => self.is_final = true,
            _ => {}
        }
    }

    /// The request's checksum is a digest of nothing but zeros.
    fn compare(&mut self, digest: &Digest) {
        let right = digest.as_bytes() == [0; 20];
        self.verified |= right;
        self.refuted |= !right;
    }

    /// Whether this call has not completed yet.
    pub(super) fn is_due(&self, op: OpId) -> bool {
        self.due.iter().any(|due| match due {
            Due::Lock(due, _) | Due::Store(due, _) | Due::Hook(due) => *due == op,
        })
    }

    /// A hook decided so.
    pub(super) fn decided(&mut self, reply: &HookReply) {
        self.let_on = Some(matches!(reply, HookReply::Proceed | HookReply::Change { .. }));
        self.refusal = if let HookReply::Reject(rejection) = reply { Some(rejection.clone()) } else { None };
    }

    fn on_hook_call(&mut self, op: OpId, call: HookCall) {
        let (name, subscribed, locked) = match &call {
            HookCall::Incoming { .. } => ("incoming", self.hooks.incoming, false),
            HookCall::Create { .. } => ("create", self.hooks.create, false),
            HookCall::Chunk { offset, .. } => {
                assert!(self.append.is_none() && !self.settling && !self.commit_failed && !self.lock_lost);
                assert!(*offset == self.staged && self.staged > self.at, "{call:?}");
                ("chunk", self.hooks.chunk, true)
            }
            HookCall::Terminate { .. } => ("terminate", self.hooks.terminate, true),
            HookCall::Finish { .. } | HookCall::Progress { .. } => panic!("nobody subscribes to {call:?}"),
        };
        assert!(subscribed && !self.asked.contains(&name), "{call:?}");
        let version = (!self.ietf).then_some(&b"1.0.0"[..]);
        assert_eq!(call.request().field("tus-resumable"), version, "a hook sees the request");
        assert_eq!(self.acquired && self.released == 0, locked, "{call:?}");
        assert!(self.asked.is_empty() || self.let_on == Some(true), "{call:?} after a refusal");
        self.asked.push(name);
        self.let_on = None;
        self.ops.push(op);
        self.due.push(Due::Hook(op));
    }

    /// Whether this hook, where somebody listens to it, has let the request go on.
    fn agreed(&self, subscribed: bool, name: &str) -> bool {
        !subscribed || (self.asked.last() == Some(&name) && self.let_on == Some(true))
    }

    fn on_lock_call(&mut self, op: OpId, call: LockCall) {
        match call {
            LockCall::Acquire { .. } => {
                assert!(!self.acquired, "asked for twice");
                self.acquired = true;
            }
            LockCall::Renew { .. } => assert!(self.acquired && self.released == 0),
            LockCall::Release { .. } if self.acquired => {
                assert!(!self.due.iter().any(|due| matches!(due, Due::Store(..))), "commands are under way");
                self.released += 1;
                assert_eq!(self.released, 1);
                self.release_due = true;
            }
            LockCall::Release { .. } => assert!(self.asked_checkpoint),
            LockCall::Checkpoint { .. } => self.asked_checkpoint = true,
            LockCall::Checkpointed { .. } => return assert!(self.acquired && self.released == 0),
        }
        self.ops.push(op);
        self.due.push(Due::Lock(op, call));
    }

    /// Something new is made, once, and if the hooks agree.
    fn make(&mut self) {
        assert!(!std::mem::replace(&mut self.made, true));
        let last = if self.hooks.create { "create" } else { "incoming" };
        assert!(self.agreed(self.hooks.create || self.hooks.incoming, last));
    }

    fn on_command(&mut self, op: OpId, command: Command) {
        assert_eq!(self.released, 0, "{command:?} without the lock");
        match &command {
            Command::StopAppend => {
                self.stops += 1;
                assert!(self.stops == 1 && self.append.is_some());
                return;
            }
            Command::Append { at, max, .. } => {
                assert!(self.acquired && self.appends == 0 && !self.is_final);
                self.appends = 1;
                self.append = Some(op);
                (self.at, self.staged, self.committed, self.max) = (*at, *at, *at, *max);
            }
            Command::Commit { from, to, length, finish, .. } => {
                assert!(self.acquired && !self.settling && !self.commit_failed && !self.is_final);
                assert!(!self.buffered, "{command:?} of what came with its record");
                assert!(!(self.lock_lost && self.appends == 1), "a commit without the lock");
                assert!(from <= to, "{command:?}");
                if self.appends == 1 {
                    assert!(*to <= self.staged, "{command:?} beyond {}", self.staged);
                    assert_eq!(*from, self.committed);
                } else {
                    assert!(from == to && length.is_some());
                }
                assert!(from == to || self.asked.last() != Some(&"chunk") || self.let_on == Some(true));
                assert!(!(*finish && self.staged > self.at) || self.agreed(self.hooks.chunk, "chunk"));
                assert!(!*finish || length.is_none_or(|length| length == *to));
                if from < to && self.is_guarded() {
                    assert!(self.body_ended(), "{command:?} too early");
                    assert!(
                        self.verified && !self.refuted,
                        "{command:?} of a body that is not what it should be"
                    );
                }
                self.settling = true;
                self.last_commit = self.append.is_none();
            }
            Command::Digest { from, to, .. } => {
                assert!(self.acquired || self.buffered);
                assert!(self.append.is_none() && self.body_ended() && !self.settling);
                // What is buffered needs no lock, so none is lost that would matter.
                let lost = self.lock_lost && !self.buffered;
                assert!(!lost && !self.commit_failed, "{command:?} of what can't be kept");
                assert!(*from == self.at && *to <= self.staged, "{command:?}");
                self.settling = true;
            }
            Command::Hash { to, .. } => {
                assert!(self.ietf && self.acquired && self.append.is_none() && !self.settling);
                assert!(!self.lock_lost && !self.commit_failed && !self.is_final);
                assert!(self.appends == 0 || *to == self.committed, "{command:?}");
                self.settling = true;
            }
            Command::Discard { .. } => {
                assert!(self.acquired && !self.settling && self.append.is_none());
                self.settling = true;
            }
            Command::Delete { .. } if self.asked.last() == Some(&"chunk") => {
                assert!(self.acquired && self.refusal.is_some() && !self.settling && !self.lock_lost);
            }
            // More bytes than the upload was to have.
            Command::Delete { .. }
                if self.ietf && (self.appends == 0 || self.end == Some(AppendEnd::Overflow)) =>
            {
                assert!(self.acquired && !self.settling && !self.lock_lost);
            }
            Command::Delete { .. } => {
                assert!(self.acquired && self.agreed(self.hooks.terminate, "terminate"));
            }
            Command::Load { .. } => assert!(self.asked.is_empty() || self.let_on == Some(true)),
            Command::Reserve { bytes } => assert!(*bytes > 0 && !self.made && !self.acquired),
            Command::Buffer { max, .. } => {
                assert!(!self.acquired && !self.made && self.appends == 0 && !self.ietf);
                (self.appends, self.buffered) = (1, true);
                self.append = Some(op);
                (self.at, self.staged, self.committed, self.max) = (0, 0, 0, *max);
            }
            Command::Create { record, first } => {
                assert!(!record.is_final() && self.append.is_none());
                assert!(*first <= self.staged && (*first == 0 || self.buffered), "{command:?}");
                if *first > 0 && self.is_guarded() {
                    assert!(self.body_ended() && self.verified && !self.refuted, "{command:?} too early");
                }
                self.make();
            }
            Command::Concat { record, parts, .. } => {
                assert!(record.is_final() && record.length.is_none() && !parts.is_empty());
                self.make();
            }
            Command::Open { .. } => {
                assert!(!self.acquired);
                assert!(self.agreed(self.hooks.incoming, "incoming"));
            }
        }
        self.ops.push(op);
        self.due.push(Due::Store(op, command));
    }
}
