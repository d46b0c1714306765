//! What must be true of a request while it is under way, and of its answer.

use std::time::Duration;

use tus_driver::{Change, Commit};
use tus_proto::{
    Body, Completion, Framing, Head, HookCall, HookReply, Instant, Interim, LockCall, Response, UploadId,
};
use tus_redb::Syncer;

use super::store::Call;
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
    /// The step before it came.
    since: u64,
    looks: bool,
    deletes: bool,
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
    /// Whether a commit is under way, and how many calls of the store are.
    commit: bool,
    calls: usize,
    /// What is staged may never be committed: a commit has failed, or somebody else writes there.
    forgets: bool,
    asked: Option<Asked>,
    /// A HEAD asks: how many bytes of the connection had been taken up or had arrived by then.
    arrived: Option<u64>,
    /// Another has the lock: what the request does from then on can't count.
    lost: bool,
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
        // Clients send what they were told as Location: a URL.
        let about = head.target.rsplit_once("/files/").and_then(|(_, id)| UploadId::new(id));
        let was_gone = about.as_ref().is_some_and(|id| env.oracle.may_be_gone(id, env.now.wall));
        let about = about.map(|id| {
            let told = env.oracle.told(&id);
            (id, told)
        });
        Self {
            about,
            was_gone,
            held_up: false,
            since: env.report.steps - 1,
            looks: head.method == "HEAD",
            deletes: head.method == "DELETE",
            looks_since: None,
            veto: Veto::Nothing,
            assents: env.plan.hooks.chunk,
            metadata: None,
            guarded: is_guarded(head),
            body_whole: head.framing == Framing::Length(0),
            at: 0,
            staged: 0,
            committed: 0,
            commit: false,
            calls: 0,
            forgets: false,
            asked: None,
            arrived: None,
            lost: false,
        }
    }

    /// The session asks the store.
    pub(super) fn on_call(&mut self, call: &Call) {
        match call {
            Call::Load => {}
            Call::Open => assert!(self.veto == Veto::Nothing, "a hook has refused it"),
            Call::Append(grant) => {
                assert!(self.veto == Veto::Nothing, "a hook has refused it");
                (self.at, self.staged, self.committed) = (grant.at, grant.at, grant.at);
                self.calls += usize::from(grant.rotate);
            }
            Call::Digest => {
                assert!(self.veto == Veto::Nothing, "a hook has refused it");
                self.calls += 1;
            }
            Call::Change(change) => {
                self.on_change(change);
                self.calls += 1;
            }
        }
    }

    /// The session asks for a change: for nothing that a hook has rejected, and for what it has changed.
    fn on_change(&mut self, change: &Change<Syncer>) {
        let vetoed = match change {
            Change::Discard { .. } => false,
            Change::Delete { .. } => self.veto == Veto::All,
            // Nothing expires while its hook thinks.
            Change::Commit(commit) if commit.from == commit.to && !commit.finish => self.veto == Veto::All,
            _ => self.veto != Veto::Nothing,
        };
        assert!(!vetoed, "a hook has refused it: {change:?}");
        match change {
            Change::Create { record, .. } | Change::Concat { record, .. } => {
                if let Change::Create { first: Some(first), .. } = change {
                    let verified = !self.guarded || self.body_whole || first.is_empty();
                    assert!(verified, "{}: {first:?} is to be committed, and not verified", record.id);
                }
                if let Some(metadata) = &self.metadata {
                    assert_eq!(record.metadata, *metadata, "a hook would have other metadata");
                }
                self.about = Some((record.id.clone(), 0));
            }
            Change::Commit(Commit { id, from, to, .. }) => {
                let verified = !self.guarded || self.body_whole || from == to;
                assert!(verified, "{id}: {from}..{to} are to be committed, and are not verified");
                assert!(!self.commit, "{id}: two commits of one request at once");
                assert!(!self.lost || from == to, "{id}: {from}..{to} are to be committed without the lock");
                self.commit = true;
            }
            _ => {}
        }
    }

    /// Whether the store owes it nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.calls == 0
    }

    /// The store has answered a call.
    pub(super) fn on_answer(&mut self) {
        self.calls -= 1;
    }

    /// So many bytes more are staged.
    pub(super) fn on_staged(&mut self, bytes: u64) {
        self.staged += bytes;
    }

    /// So many bytes are staged in all.
    pub(super) fn on_staged_in_all(&mut self, bytes: u64) {
        self.staged = self.at + bytes;
    }

    /// Another writer wants the lock.
    pub(super) fn on_yield(&mut self) {
        self.forgets = true;
    }

    /// Another writer has the lock.
    pub(super) fn on_loss(&mut self) {
        (self.forgets, self.lost) = (true, true);
    }

    /// A HEAD asks a writer whose body goes on. So many bytes of its connection have arrived in all.
    pub(super) fn on_asked(&mut self, arrived: u64) {
        self.arrived = Some(arrived);
    }

    /// A HEAD waits for this writer.
    pub(super) fn on_checkpoint(&mut self) {
        self.asked.get_or_insert(Asked { staged: self.staged, commits: 0 });
    }

    /// The store has answered a change.
    pub(super) fn on_changed(&mut self, completion: &Completion) {
        self.on_answer();
        if !std::mem::take(&mut self.commit) {
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

    /// A hook is asked, and will say this.
    pub(super) fn on_hook(&mut self, call: &HookCall, reply: &HookReply) {
        assert!(self.veto == Veto::Nothing, "a hook is asked after another has refused");
        if let HookReply::Change { metadata, .. } = reply {
            self.metadata.clone_from(metadata);
        }
        if matches!(reply, HookReply::Reject(_) | HookReply::Failed) {
            self.veto = if matches!(call, HookCall::Chunk { .. }) { Veto::Bytes } else { Veto::All };
        }
    }

    /// The exchange wants something. What it makes of the upload may be told later, when a late writer has gone on.
    pub(super) fn look(&mut self, env: &Env) {
        self.was_gone |= self.about.as_ref().is_some_and(|(id, _)| env.oracle.may_be_gone(id, env.now.wall));
    }

    /// The exchange calls the lock service. `taken` is how many bytes of the connection were taken up, while its body goes on.
    pub(super) fn on_lock_call(&mut self, now: Instant, call: &LockCall, taken: Option<u64>) {
        let looks = self.looks;
        match call {
            LockCall::Acquire { key, .. } => assert!(!looks, "a HEAD of {key} waits for a lock"),
            LockCall::Checkpoint { key } => {
                assert!(self.looks_since.replace(now).is_none(), "a HEAD of {key} asks twice");
            }
            LockCall::Checkpointed { key } => {
                let missed = self.arrived.take().zip(taken).filter(|(arrived, taken)| taken < arrived);
                assert!(missed.is_none(), "{key}: a HEAD is answered without what had arrived: {missed:?}");
                self.on_checkpointed(key);
            }
            LockCall::Renew { .. } | LockCall::Release { .. } => {}
        }
    }

    fn on_checkpointed(&mut self, key: &UploadId) {
        let Some(Asked { staged, .. }) = self.asked.take() else { return };
        let told = self.committed >= staged || self.guarded || self.forgets || self.assents;
        assert!(told, "{key}: a HEAD is to tell {}, and {staged} had arrived", self.committed);
    }

    /// The exchange wants nothing more for now. `writing` says that its Append is open, and to go on.
    pub(super) fn on_rest(&self, writing: bool) {
        let idle = self.asked.is_some() && !self.commit && writing;
        assert!(!idle, "a HEAD waits for {:?}, which does not commit", self.about);
        assert!(!(self.lost && writing), "a writer of {:?} goes on without its lock", self.about);
    }

    /// Holds an answer before the final one against what is known of the upload: what it tells is committed.
    pub(super) fn check_interim(&self, env: &mut Env, interim: &Interim) {
        let Some((id, before)) = &self.about else { return };
        if let Some(offset) = interim.header("Upload-Offset") {
            env.oracle.on_told(id, offset.parse().expect("an offset is a number"), *before);
        }
        if let Some(location) = interim.header("Location") {
            assert!(location.ends_with(id.as_str()), "{id} is made, and {location} told");
        }
    }

    /// Holds an answer against what is known of the upload.
    pub(super) fn check_answer(&self, env: &mut Env, response: &Response) {
        self.check_failure(env, response);
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
    }

    /// Holds an answer that something has failed against what has gone wrong.
    fn check_failure(&self, env: &Env, response: &Response) {
        let (status, faults) = (response.status(), &env.plan.faults);
        let excused = response.body().contains("ERR_READ_TIMEOUT") || self.veto != Veto::Nothing;
        let failing = !faults.spare_the_disk();
        match status {
            507 if faults.crammed > 0 => {
                assert!(!self.deletes, "a DELETE wants room, and would make some");
                assert!(env.tight_at >= self.since, "507, and there was room all the while");
            }
            500 | 507 => assert!(excused || failing || faults.lockless > 0, "{status} without a fault"),
            503 if response.body().contains("ERR_STORE_UNAVAILABLE") => {
                assert!(failing || faults.descriptors > 0, "503, and nothing is used up");
            }
            _ => {}
        }
    }
}

/// Whether a head announces a checksum.
fn is_guarded(head: &Head<'_>) -> bool {
    let named =
        |name: &str, value: &str| head.values(name).any(|found| found.eq_ignore_ascii_case(value.as_bytes()));
    let chunked = head.framing == Framing::Chunked;
    let has = |name| head.values(name).next().is_some();
    // Each protocol has its own, and ignores the other's.
    let ours = if has("Tus-Resumable") { "Upload-Checksum" } else { "Content-Digest" };
    has(ours) || (chunked && named("Trailer", "Upload-Checksum"))
}
