//! Where hooks come in. All but one are asked before anything has been done: whatever ends the request while one
//! of those is pending ends it at once, and a late reply is stale. `on_chunk_received` is asked in the middle of
//! a reception, and has its place there as [`ChunkVerdict`].
//!
//! What nobody subscribed to costs nothing: the head is copied only for a hook that will see it.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{
    Exchange, State,
    answer::{self, Answer},
    body::state::{Append, ChunkVerdict, End, Failed, InFlight, Receiving, Reply, Report},
    checks::{self, Address},
    content,
    locked::whole_or_lost,
    pending::{Incoming, Pending},
    request::Request,
};
use crate::{
    Amendment, Cancel, Command, Completion, Cut, ErrorCode, Event, Head, HookCall, HookReply, Now, OpId,
    Output, Record, Rejection, RequestInfo, UploadId,
};

/// What hooks have said of the answer, and what they are to see of the upload.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What is added to the answer if the request does well.
    pub amendment: Option<Amendment>,
    /// The upload that the body goes to, or that has become complete.
    pub upload: Option<Record>,
    /// The upload has become complete, and its hook was not asked yet.
    pub finished: bool,
}

/// An upload that its hook has stopped, on its way out.
#[derive(Debug)]
pub(super) struct Stopped {
    rejection: Box<Rejection>,
    reply: Reply,
    /// Whether somebody is left to answer.
    heard: bool,
}

impl Exchange {
    /// Takes up a request whose path and method are known.
    pub(super) fn admit(&mut self, now: Now, head: &Head<'_>, address: Address<'_>, entropy: [u8; 10]) {
        let hooks = self.config.hooks;
        let incoming = hooks.incoming.then(|| (address.id().cloned(), address.is_head()));
        let method = address.method();
        let checked = checks::check(&self.config, head, address, &mut self.rufh);
        let later = match &checked {
            Ok(Request::Create(_)) => hooks.create || hooks.chunk || hooks.of_bodies(),
            Ok(Request::Concat(_)) => hooks.create || hooks.finish,
            Ok(Request::Write(_)) => hooks.chunk || hooks.of_bodies(),
            Ok(Request::Terminate(_)) => hooks.terminate,
            Ok(Request::Head(_) | Request::Download(_)) | Err(_) => false,
        };
        let makes_events = hooks.requests && !matches!(checked, Ok(Request::Head(_) | Request::Download(_)));
        if later || hooks.incoming || makes_events {
            self.request = Some(Arc::new(RequestInfo::of(head, method)));
        }
        let Some((id, to_head)) = incoming else { return self.begin(now, checked, entropy) };
        let pending = Pending::Incoming(Incoming { id: id.clone(), to_head, checked, entropy });
        match id {
            Some(id) => self.show(id, pending),
            None => self.show_parts(now, pending),
        }
    }

    /// Reads the record that a hook is to see.
    pub(super) fn show(&mut self, id: UploadId, pending: Pending) {
        let op = self.store(Command::Load { id });
        self.state = State::Showing(op, Box::new(pending));
    }

    /// Reads the records of a final's parts, one after another, and then asks the hook. Where there are no parts,
    /// it asks at once.
    pub(super) fn show_parts(&mut self, now: Now, mut pending: Pending) {
        if let Some(id) = pending.parts().and_then(|parts| parts.unseen()) {
            let id = id.clone();
            return self.show(id, pending);
        }
        let lacks = pending.parts().is_some_and(|parts| parts.lacks());
        let call = match &mut pending {
            Pending::Incoming(incoming) => {
                let parts = incoming.parts().map(|parts| parts.seen()).unwrap_or_default();
                HookCall::Incoming { request: self.info(), id: None, upload: None, parts }
            }
            Pending::Create(_) if lacks => {
                return self.end(now, Some(Answer::Failed(ErrorCode::InvalidConcat)));
            }
            Pending::Create(pending) => pending.call(self.info()),
            Pending::Terminate(_) => {
                return self.end(now, Some(pending.failed(ErrorCode::InternalServerError)));
            }
        };
        self.consult(call, pending);
    }

    pub(super) fn on_shown(&mut self, now: Now, mut pending: Pending, completion: Completion) {
        if let Some(cancel) = self.cancelled {
            return self.abandon(now, &pending, cancel);
        }
        if let Some(parts) = pending.parts() {
            return match shown(now, completion) {
                Ok(upload) => {
                    parts.see(upload);
                    self.show_parts(now, pending);
                }
                Err(code) => self.end(now, Some(pending.failed(code))),
            };
        }
        // Hooks decide about an upload that has lost bytes as about any other; what comes then is answered by its state.
        let completion = whole_or_lost(completion);
        let call = match &pending {
            Pending::Terminate(termination) => match self.lives(now, completion) {
                Ok(upload) if !content::matches(&termination.if_match, &upload) => {
                    Err(ErrorCode::PreconditionFailed)
                }
                Ok(_) if !self.config.hooks.terminate => return self.delete(termination.id.clone()),
                found => found.map(|upload| self.termination(upload)),
            },
            Pending::Incoming(incoming) => {
                shown(now, completion).map(|upload| self.incoming(incoming.id.clone(), upload))
            }
            Pending::Create(pending) => Ok(pending.call(self.info())),
        };
        match call {
            Ok(call) => self.consult(call, pending),
            Err(code) => self.end(now, Some(pending.failed(code))),
        }
    }

    fn incoming(&self, id: Option<UploadId>, upload: Option<Record>) -> HookCall {
        HookCall::Incoming { request: self.info(), id, upload, parts: Vec::new() }
    }

    fn termination(&self, upload: Record) -> HookCall {
        HookCall::Terminate { request: self.info(), upload }
    }

    /// The request as hooks see it. It is there wherever one is asked.
    pub(super) fn info(&self) -> Arc<RequestInfo> {
        self.request.clone().unwrap_or_default()
    }

    /// Asks a hook, before anything is done.
    pub(super) fn consult(&mut self, call: HookCall, pending: Pending) {
        let op = self.call(call);
        self.state = State::Consulting(op, Box::new(pending));
    }

    fn call(&mut self, call: HookCall) -> OpId {
        let op = self.op();
        self.outputs.push_back(Output::Hook(op, call));
        op
    }

    pub(super) fn on_hook(&mut self, now: Now, op: OpId, reply: HookReply) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Consulting(waited, pending) if waited == op => self.on_decided(now, *pending, reply),
            State::Receiving(receiving) if matches!(receiving.chunk_verdict, ChunkVerdict::Pending(asked) if asked == op) =>
            {
                self.on_verdict(now, receiving, reply);
            }
            State::Receiving(receiving) if receiving.reports(op) => self.on_reported(now, receiving, reply),
            State::Finishing(waited, answer) if waited == op => self.on_finish_decided(now, answer, reply),
            other => self.stale(other),
        }
    }

    fn on_decided(&mut self, now: Now, pending: Pending, reply: HookReply) {
        let (metadata, id) = match mutation!(
            "refusal-ignored",
            reply,
            match pending {
                Pending::Terminate(_) => HookReply::Proceed,
                _ => reply,
            }
        ) {
            HookReply::Proceed => (None, None),
            HookReply::Change { metadata, id, response } => {
                if !matches!(pending, Pending::Incoming(_)) {
                    self.amend(response);
                }
                (metadata, id)
            }
            HookReply::Reject(rejection) => return self.end(now, Some(pending.refused(rejection))),
            HookReply::Failed => return self.end(now, Some(pending.failed(ErrorCode::InternalServerError))),
        };
        match pending {
            Pending::Incoming(Incoming { checked, entropy, .. }) => self.begin(now, checked, entropy),
            Pending::Create(pending) => {
                let limit = self.config.max_metadata;
                match pending.changed(mutation!("change-ignored", metadata, None), id, limit) {
                    Some(pending) => self.make(now, pending),
                    None => self.end(now, Some(Answer::Failed(ErrorCode::InternalServerError))),
                }
            }
            Pending::Terminate(termination) => self.delete(termination.id),
        }
    }

    /// The request ends while its hook is pending. Nothing was done, and nothing will be.
    pub(super) fn abandon(&mut self, now: Now, pending: &Pending, cancel: Cancel) {
        self.end(now, Some(pending.failed(answer::to_cancel(cancel))));
    }

    /// All bytes are there that will come, and they are to stay if the hook agrees.
    pub(super) fn ask_verdict(&mut self, mut receiving: Box<Receiving>) {
        let request = self.info();
        let (id, offset, length) = (receiving.id.clone(), receiving.staged, receiving.length);
        receiving.chunk_verdict =
            ChunkVerdict::Pending(self.call(HookCall::Chunk { request, id, offset, length }));
        self.state = State::Receiving(receiving);
    }

    fn on_verdict(&mut self, now: Now, mut receiving: Box<Receiving>, reply: HookReply) {
        receiving.chunk_verdict = match reply {
            HookReply::Proceed | HookReply::Change { .. } => ChunkVerdict::Accepted,
            HookReply::Reject(rejection) => ChunkVerdict::Rejected(Box::new(rejection)),
            HookReply::Failed => {
                // Nobody was told of the uncommitted bytes. To commit them would let an upload become complete
                // that no hook has seen; the client sends them again, and the hook has another chance.
                let failed = Failed::Code(ErrorCode::InternalServerError);
                mutation!("failed-hook-agrees", _ = receiving.failed.get_or_insert(failed), ());
                ChunkVerdict::Accepted
            }
        };
        self.advance(now, receiving);
    }

    fn amend(&mut self, response: Option<Box<Amendment>>) {
        let Some(later) = response else { return };
        match &mut self.told.get_or_insert_default().amendment {
            Some(earlier) => earlier.merge(*later),
            none => *none = Some(*later),
        }
    }

    /// This upload has become complete: its hook is asked before the request ends, a part's is not.
    pub(super) fn finished(&mut self, record: &Record) {
        if self.config.hooks.finish && !record.is_partial() {
            let told = self.told.get_or_insert_default();
            (told.upload, told.finished) = (Some(record.clone()), true);
        }
    }

    /// A body comes to this upload.
    pub(super) fn receives(&mut self, record: &Record) {
        let told = self.told.as_ref();
        if self.config.hooks.of_bodies() && told.is_none_or(|told| !told.finished) {
            self.told.get_or_insert_default().upload = Some(record.clone());
        }
    }

    pub(super) fn ask_finish(&mut self, upload: Record, answer: Option<Answer>) {
        let op = self.call(HookCall::Finish { request: self.info(), upload });
        self.state = State::Finishing(op, answer);
    }

    fn on_finish_decided(&mut self, now: Now, answer: Option<Answer>, reply: HookReply) {
        let answer = match reply {
            HookReply::Proceed => answer,
            HookReply::Change { response, .. } => {
                self.amend(response);
                answer
            }
            HookReply::Reject(rejection) => {
                let status = Some(if rejection.is_error() { rejection.status } else { 500 });
                let Rejection { headers, body, .. } = rejection;
                self.amend(Some(Box::new(Amendment { status, headers, body })));
                answer
            }
            HookReply::Failed => answer.map(Answer::spoiled),
        };
        self.release(now, answer);
    }

    /// Tells the hook how far a body has come, if that is due.
    pub(super) fn report_if_due(&mut self, now: Now, receiving: &mut Receiving) {
        let (staged, last) = (receiving.staged, receiving.length == Some(receiving.staged));
        let due = |report: &&mut Box<Report>| {
            report.op.is_none() && report.next <= now.monotonic && staged > report.told && !last
        };
        if let Some(report) = receiving.report.as_mut().filter(due)
            && let Some(op) = self.report(staged, receiving.length)
        {
            (report.told, report.op) = (staged, Some(op));
        }
    }

    /// Tells the hook how far the upload has come now that the request ends; nobody waits for the reply.
    pub(super) fn report_last(&mut self, receiving: &Receiving) {
        let last = receiving.length == Some(receiving.committed);
        if receiving.report.as_ref().is_some_and(|report| !last && receiving.committed > report.told) {
            self.report(receiving.committed, receiving.length);
        }
    }

    fn report(&mut self, offset: u64, length: Option<u64>) -> Option<OpId> {
        let record = self.told.as_ref()?.upload.clone()?;
        let upload = Record { offset, length, ..record };
        Some(self.call(HookCall::Progress { request: self.info(), upload }))
    }

    fn on_reported(&mut self, now: Now, mut receiving: Box<Receiving>, reply: HookReply) {
        if let Some(report) = &mut receiving.report {
            report.op = None;
            report.next = now.monotonic.after(report.interval);
        }
        // What is about to be complete is not stopped any more.
        let finishing = matches!(receiving.in_flight, Some(InFlight::Commit { finish: true, .. }));
        if let HookReply::Reject(rejection) = reply
            && !finishing
        {
            receiving.chunk_verdict = ChunkVerdict::Rejected(Box::new(rejection));
        }
        self.advance(now, receiving);
    }

    /// The hook has rejected the bytes, and with them the upload. The lock is still ours.
    pub(super) fn stop_upload(&mut self, receiving: Receiving, rejection: Box<Rejection>) {
        let (fence, _) = self.lease.grant();
        let op = self.store(Command::Delete { id: receiving.id, fence });
        let heard = !matches!(receiving.append, Append::Ended(End::Cut(Cut::PeerGone)));
        self.state = State::Stopping(op, Box::new(Stopped { rejection, reply: receiving.reply, heard }));
    }

    pub(super) fn on_stopped(&mut self, now: Now, stopped: Stopped, completion: Completion) {
        let Stopped { rejection, reply, heard } = stopped;
        let answer = match completion {
            Completion::Deleted | Completion::Missing => {
                self.expires = None;
                if completion == Completion::Deleted {
                    self.notify(Event::Terminated);
                }
                Answer::Rejected { rejection, code: ErrorCode::UploadStopped, to_head: false }
            }
            // Somebody else has the upload now, and the bytes will be theirs to answer for.
            Completion::Conflict { .. } => reply.failed(ErrorCode::UploadInterrupted),
            other => reply.failed(answer::to_completion(&other)),
        };
        self.end(now, Some(answer).filter(|_| heard));
    }
}

/// What `on_incoming_request` is to see of an upload. It decides who may know of it: nothing is told before.
fn shown(now: Now, completion: Completion) -> Result<Option<Record>, ErrorCode> {
    match completion {
        Completion::Loaded(record) => Ok(Some(record).filter(|record| !record.is_expired(now.wall))),
        Completion::Missing | Completion::Gone | Completion::Lost(_) => Ok(None),
        other => Err(answer::to_completion(&other)),
    }
}
