//! What must be true of a request while it is under way, and of its answer.

use std::time::Duration;

use tus_proto::{
    Abort, Body, Command, Completion, Framing, Head, HookCall, HookReply, Input, Instant, LockCall, OpId,
    Response, UploadId,
};

use crate::sim::env::Env;

/// How long a HEAD may take: its one checkpoint.
const HEAD_TIME: Duration = Duration::from_secs(1);

/// How many commits may end while a HEAD waits for its writer: one that was under way, and its own.
const HEAD_COMMITS: u32 = 2;

/// What is known of a request.
#[derive(Debug)]
pub(super) struct Watch {
    /// Which upload it is about, and the highest offset that had been told of it when the request came.
    about: Option<(UploadId, u64)>,
    /// The upload could be gone, at some time since the request came.
    was_gone: bool,
    /// It was held up by a pause.
    pub(super) held_up: bool,
    looks: bool,
    /// It is a HEAD, and asked the writer at this time.
    looks_since: Option<Instant>,
    veto: Veto,
    /// A hook has its say before the last bytes count.
    assents: bool,
    metadata: Option<String>,
    /// Its head announces a checksum: nothing of the body counts before all of it has come.
    guarded: bool,
    pub(super) body_whole: bool,
    /// Where its Append began, where what is staged ends, and what is committed.
    at: u64,
    staged: u64,
    committed: u64,
    /// The commit that is under way.
    commit: Option<OpId>,
    /// What is staged may never be committed: a commit has failed, or somebody else writes there.
    forgets: bool,
    asked: Option<Asked>,
}

/// What a hook has forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Veto {
    Nothing,
    /// That anything is changed.
    All,
    /// That more bytes count.
    Bytes,
}

/// A HEAD waits for this writer.
#[derive(Debug)]
struct Asked {
    /// What was staged when it asked.
    staged: u64,
    /// How many commits have ended since.
    commits: u32,
}

impl Watch {
    /// A request with this head has come.
    pub(super) fn new(env: &Env, head: &Head<'_>) -> Self {
        let about = head.target.strip_prefix("/files/").and_then(UploadId::new);
        let was_gone = about.as_ref().is_some_and(|id| env.oracle.may_be_gone(id, env.now.wall));
        let about = about.map(|id| {
            let told = env.oracle.told(&id);
            (id, told)
        });
        Self {
            about,
            was_gone,
            held_up: false,
            looks: head.method == "HEAD",
            looks_since: None,
            veto: Veto::Nothing,
            assents: env.plan.hooks.chunk,
            metadata: None,
            guarded: is_guarded(head),
            body_whole: head.framing == Framing::Length(0),
            at: 0,
            staged: 0,
            committed: 0,
            commit: None,
            forgets: false,
            asked: None,
        }
    }

    /// It makes an upload.
    pub(super) fn on_made(&mut self, id: &UploadId) {
        self.about = Some((id.clone(), 0));
    }

    pub(super) fn on_append(&mut self, at: u64) {
        (self.at, self.staged, self.committed) = (at, at, at);
    }

    pub(super) fn on_commit(&mut self, op: OpId, id: &UploadId, (from, to): (u64, u64)) {
        let verified = !self.guarded || self.body_whole || from == to;
        assert!(verified, "{id}: {from}..{to} are to be committed, and are not verified");
        assert!(self.commit.replace(op).is_none(), "{id}: two commits of one request at once");
    }

    /// A hook is asked, and will say this.
    pub(super) fn on_hook(&mut self, call: &HookCall, reply: &HookReply) {
        assert!(self.veto == Veto::Nothing, "a hook is asked after another has refused");
        if let HookReply::Change { metadata, .. } = reply {
            self.metadata.clone_from(metadata);
        }
        if matches!(reply, HookReply::Refuse(_) | HookReply::Failed) {
            self.veto = if matches!(call, HookCall::Chunk { .. }) { Veto::Bytes } else { Veto::All };
        }
    }

    /// The exchange wants something. What it makes of the upload may be told later, when a late writer has gone on.
    pub(super) fn look(&mut self, env: &Env) {
        self.was_gone |= self.about.as_ref().is_some_and(|(id, _)| env.oracle.may_be_gone(id, env.now.wall));
    }

    /// The exchange asks the store: for nothing that a hook has refused, and for what it has changed.
    pub(super) fn on_command(&self, command: &Command) {
        let vetoed = match command {
            Command::Load { .. } | Command::Stop | Command::Discard { .. } => false,
            Command::Delete { .. } => self.veto == Veto::All,
            // Nothing expires while its hook thinks.
            Command::Commit { from, to, finish: false, .. } if from == to => self.veto == Veto::All,
            _ => self.veto != Veto::Nothing,
        };
        assert!(!vetoed, "a hook has refused it: {command:?}");
        if let (Command::Create { record } | Command::Concat { record, .. }, Some(metadata)) =
            (command, &self.metadata)
        {
            assert_eq!(record.metadata, *metadata, "a hook would have other metadata");
        }
    }

    /// The exchange calls the lock service.
    pub(super) fn on_lock_call(&mut self, now: Instant, call: &LockCall) {
        let looks = self.looks;
        match call {
            LockCall::Acquire { key, .. } => assert!(!looks, "a HEAD of {key} waits for a lock"),
            LockCall::Checkpoint { key } => {
                assert!(self.looks_since.replace(now).is_none(), "a HEAD of {key} asks twice");
            }
            LockCall::Checkpointed { key } => self.on_checkpointed(key),
            LockCall::Renew { .. } | LockCall::Release { .. } => {}
        }
    }

    fn on_checkpointed(&mut self, key: &UploadId) {
        let Some(Asked { staged, .. }) = self.asked.take() else { return };
        let told = self.committed >= staged || self.guarded || self.forgets || self.assents;
        assert!(told, "{key}: a HEAD is to tell {}, and {staged} had arrived", self.committed);
    }

    /// The exchange is about to be told this.
    pub(super) fn on_input(&mut self, input: &Input) {
        match input {
            Input::Staged(_, total) => self.staged = self.at + total,
            Input::Store(op, completion) => self.on_completion(*op, completion),
            Input::Checkpoint => {
                self.asked.get_or_insert(Asked { staged: self.staged, commits: 0 });
            }
            Input::Yield(_) | Input::Abort(Abort::LockLost) => self.forgets = true,
            _ => {}
        }
    }

    fn on_completion(&mut self, op: OpId, completion: &Completion) {
        if let Completion::Appended { total, .. } = completion {
            self.staged = self.at + total;
        }
        if self.commit.take_if(|commit| *commit == op).is_none() {
            return;
        }
        match completion {
            Completion::Committed { offset } => self.committed = *offset,
            _ => self.forgets = true,
        }
        if let Some(asked) = &mut self.asked {
            asked.commits += 1;
            assert!(asked.commits <= HEAD_COMMITS, "a HEAD waits for one commit after another");
        }
    }

    /// The exchange wants nothing more for now. `writing` says that its Append is open, and to go on.
    pub(super) fn on_rest(&self, writing: bool) {
        let idle = self.asked.is_some() && self.commit.is_none() && writing;
        assert!(!idle, "a HEAD waits for {:?}, which does not commit", self.about);
    }

    /// Holds an answer against what is known of the upload.
    pub(super) fn check_answer(&self, env: &mut Env, response: &Response) {
        let status = response.status();
        let Some((id, before)) = &self.about else { return };
        if let Some(offset) = response.header("Upload-Offset") {
            let offset = offset.parse().expect("an offset is a number");
            env.oracle.on_told(id, offset, *before);
        }
        if let Body::Upload { .. } = response.content() {
            assert!(env.oracle.may_be_complete(id), "{id} is sent, and is not complete");
        }
        if response.body().starts_with("ERR_UPLOAD_NOT_FINISHED") {
            assert!(!env.oracle.is_complete(id), "{id} is complete, and is not sent");
        } else if matches!(status, 404 | 410) {
            assert!(self.was_gone, "{id} is there, and {status} was told");
        }
        assert!(!self.looks || status < 500, "a HEAD was answered {status}");
        if let Some(since) = self.looks_since {
            let took = env.now.monotonic.since(since);
            assert!(took <= HEAD_TIME || self.held_up, "a HEAD waited {took:?}");
        }
        if status == 500 || status == 507 {
            let excused = response.body().starts_with("ERR_READ_TIMEOUT") || self.veto != Veto::Nothing;
            let faults = &env.plan.faults;
            assert!(excused || !faults.spare_the_disk() || faults.lockless > 0, "{status} without a fault");
        }
    }
}

/// Whether a head announces a checksum.
fn is_guarded(head: &Head<'_>) -> bool {
    let named =
        |name: &str, value: &str| head.values(name).any(|found| found.eq_ignore_ascii_case(value.as_bytes()));
    let chunked = head.framing == Framing::Chunked;
    head.values("Upload-Checksum").next().is_some() || (chunked && named("Trailer", "Upload-Checksum"))
}
