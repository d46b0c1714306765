//! One request in one thread: what the exchange wants is done on the spot, and what comes meanwhile is seen to
//! between two reads of the body.

use std::io::{ErrorKind, Read};

use tus_proto::{
    Abort, AppendEnd, Command, Completion, Exchange, Failure, Framing, Hasher, Head, HookReply, Input,
    LockEvent, Now, OpId, Output, Trailers, UploadId,
};
use tus_redb::{Change, Source, Store, Syncer};

use super::{Reply, Shared, locks::Seat, telling::Made};
use crate::runtime::Intake;

/// How much of a body is read at once, at the most.
const PIECE: usize = 64 << 10;

/// A request under way. The seat comes last: when a reader panics, the lock goes when nothing can be written
/// any more.
pub(super) struct Request<'a> {
    append: Option<Append>,
    /// What makes staged bytes durable, and reads them back.
    syncer: Option<Syncer>,
    /// The upload that the response may bear.
    source: Option<Source>,
    /// How many bytes of the body are still to come; none where only its end tells.
    missing: Option<u64>,
    /// Of what hooks are to be told when all is done.
    made: Option<Made>,
    exchange: Exchange,
    shared: &'a Shared,
    seat: Seat<'a>,
}

/// An open Append.
struct Append {
    op: OpId,
    /// None where no byte is welcome.
    intake: Option<Intake>,
    max: u64,
    buffer: Vec<u8>,
    /// The exchange wants no more.
    stopped: bool,
}

impl Append {
    fn staged(&self) -> u64 {
        self.intake.as_ref().map_or(0, Intake::staged)
    }
}

/// How a body ended.
enum Ending {
    Complete,
    Cut(Abort),
}

impl<'a> Request<'a> {
    pub(super) fn new(shared: &'a Shared, head: &Head<'_>, entropy: [u8; 10]) -> Self {
        let missing = match head.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let exchange = Exchange::new(shared.config.clone(), head, entropy, shared.clock.now());
        let seat = shared.locks.seat(shared.clock);
        Self { append: None, syncer: None, source: None, missing, made: None, exchange, shared, seat }
    }

    /// Carries it out. None where the exchange ends without an answer.
    pub(super) fn run(
        mut self,
        body: &mut dyn Read,
        trailers: &mut dyn FnMut() -> Trailers,
    ) -> Option<Reply> {
        let mut response = None;
        loop {
            // What came while a read or the disk held us up comes before all else: whoever has lost the lock by
            // now must learn that before it is refused.
            if let Some(event) = self.seat.event() {
                self.on_lock_event(event);
            } else if let Some(output) = self.exchange.poll() {
                match output {
                    Output::Lock(op, call) => self.seat.call(op, call),
                    Output::Store(op, command) => self.store(op, command),
                    Output::Hook(op, call) => {
                        let telling = self.shared.telling.as_ref();
                        let reply = telling.map_or(HookReply::Proceed, |telling| telling.decide(&call));
                        self.tell(Input::Hook(op, reply));
                    }
                    Output::Respond(answer) => response = Some(answer),
                    Output::Notify(event) => tracing::trace!(?event),
                    // The framework's business.
                    Output::Continue => {}
                    Output::Done => {
                        if let Some(made) = self.made.take() {
                            self.shared.tell_made(&made);
                        }
                        let source = self.source.take();
                        return response.map(|response| Reply::new(response, source));
                    }
                }
            } else if self.is_due() {
                self.tell(Input::Timeout);
            } else if let Some(append) = self.append.take() {
                self.read(append, body, trailers);
            } else {
                // What a store is asked for is done at once: only a lock is ever waited for.
                let until = self.exchange.deadline().map(|(at, _)| at);
                if let Some(event) = self.seat.wait(until) {
                    self.on_lock_event(event);
                }
            }
        }
    }

    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    fn tell(&mut self, input: Input) {
        self.exchange.handle(self.now(), input);
    }

    fn is_due(&self) -> bool {
        self.exchange.deadline().is_some_and(|(at, _)| at <= self.now().monotonic)
    }

    fn on_lock_event(&mut self, event: LockEvent) {
        let input = match event {
            LockEvent::Reply(op, reply) => Input::Lock(op, reply),
            LockEvent::Yield(offset) => Input::Yield(offset),
            LockEvent::Checkpoint => Input::Checkpoint,
            LockEvent::Lost => {
                if let Some(append) = self.append.take() {
                    self.end_append(append, AppendEnd::Stopped);
                }
                Input::Abort(Abort::LockLost)
            }
        };
        self.tell(input);
    }

    /// Takes in one piece of the body.
    fn read(&mut self, mut append: Append, body: &mut dyn Read, trailers: &mut dyn FnMut() -> Trailers) {
        if append.stopped {
            return self.end_append(append, AppendEnd::Stopped);
        }
        // One byte more than is welcome shows a body that is too long.
        let room = append.max - append.staged();
        let wanted = room.saturating_add(1).min(self.missing.unwrap_or(u64::MAX));
        let wanted = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
        append.buffer.resize(wanted, 0);
        let count = match body.read(&mut append.buffer) {
            Ok(0) if self.missing.is_none_or(|missing| missing == 0) => {
                return self.end_body(append, Ending::Complete, trailers);
            }
            Ok(count @ 1..) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.append = Some(append);
                return;
            }
            ended => return self.end_body(append, Ending::Cut(abort(ended)), trailers),
        };
        let welcome = usize::try_from(room).unwrap_or(PIECE).min(count);
        if let Some(intake) = append.intake.as_mut().filter(|_| welcome > 0) {
            let written = intake.write(append.buffer.get(..welcome).unwrap_or_default());
            if let Err(failure) = written {
                return self.end_append(append, AppendEnd::Failed(failure));
            }
            self.tell(Input::Staged(append.op, append.staged()));
        }
        if welcome < count {
            return self.end_append(append, AppendEnd::Overflow);
        }
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(count as u64);
            // A connection's next bytes are not ours.
            if *missing == 0 {
                return self.end_body(append, Ending::Complete, trailers);
            }
        }
        self.append = Some(append);
    }

    /// Completes the Append, then says how the body ended.
    fn end_body(&mut self, append: Append, ending: Ending, trailers: &mut dyn FnMut() -> Trailers) {
        match ending {
            Ending::Complete => {
                self.end_append(append, AppendEnd::BodyEnd);
                self.tell(Input::BodyEnd(trailers()));
            }
            Ending::Cut(abort) => {
                self.end_append(append, AppendEnd::Stopped);
                self.tell(Input::Abort(abort));
            }
        }
    }

    fn end_append(&mut self, append: Append, end: AppendEnd) {
        let (op, total) = (append.op, append.staged());
        let digest = append.intake.and_then(Intake::digest);
        self.tell(Input::Store(op, Completion::Appended { total, end, digest }));
    }

    fn store(&mut self, op: OpId, command: Command) {
        if self.made.is_none()
            && let Some(id) = makes_event(&command)
        {
            self.made = self.shared.telling.as_ref().and_then(|telling| telling.made(id));
        }
        let store = &self.shared.store;
        let completion = match command {
            Command::Load { id } => store.look_up(&id),
            Command::Open { id } => match store.open_source(&id) {
                Ok(source) => Completion::Opened(self.source.insert(source).record().clone()),
                Err(refusal) => refusal.into(),
            },
            Command::Concat { record, parts, max, delete_parts } => {
                commit(store, Change::Concat { record, parts, max, delete_parts })
            }
            Command::Create { record } => commit(store, Change::Create(record)),
            Command::Append { max, .. } => match open(store, command) {
                Ok(intake) => {
                    self.syncer = intake.as_ref().map(Intake::syncer);
                    self.append = Some(Append { op, intake, max, buffer: Vec::new(), stopped: false });
                    return;
                }
                Err(refusal) => refusal,
            },
            Command::Stop => {
                if let Some(append) = &mut self.append {
                    append.stopped = true;
                }
                return;
            }
            Command::Commit { id, fence, from, to, length, expires, finish } => {
                // An upload that its length alone completes may have garbage behind its end, too.
                let ending = || store.append(&id, fence, from).ok().map(|sink| sink.syncer());
                let syncer = self.syncer.clone().or_else(|| if finish { ending() } else { None });
                let synced = syncer.as_ref().map_or(Ok(()), |syncer| syncer.sync(finish.then_some(to)));
                let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer };
                synced.map_or_else(Completion::Failed, |()| commit(store, change))
            }
            Command::Digest { from, to, algorithm, .. } => {
                let mut hasher = Hasher::new(algorithm);
                let mut take = |bytes: &[u8]| hasher.update(bytes);
                // Without a syncer nothing was staged, and nothing can be asked for.
                let read =
                    self.syncer.as_ref().map_or(Err(Failure::Io), |s| s.read_back(from, to, &mut take));
                read.map_or_else(Completion::Failed, |()| Completion::Digested(hasher.finish()))
            }
            Command::Discard { id, fence } => store.discard(&id, fence),
            Command::Delete { id, fence } => commit(store, Change::Delete { id, fence }),
        };
        self.tell(Input::Store(op, completion));
    }
}

/// Why a body that came to no good end did not.
fn abort(ended: std::io::Result<usize>) -> Abort {
    match ended.map_err(|error| error.kind()) {
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Abort::TooSlow,
        Err(ErrorKind::InvalidData) => Abort::BadFraming,
        // Whether somebody is left to read the answer is the framework's to see.
        Ok(_) | Err(_) => Abort::HalfClosed,
    }
}

/// The upload of which a command may make an event, if it is carried out.
fn makes_event(command: &Command) -> Option<&UploadId> {
    match command {
        Command::Create { record } if record.is_complete() => Some(&record.id),
        Command::Concat { record, .. } => Some(&record.id),
        Command::Commit { id, finish: true, .. } | Command::Delete { id, .. } => Some(id),
        _ => None,
    }
}

/// A group of one: its bytes are synced already.
fn commit(store: &Store, change: Change) -> Completion {
    store.commit(&[change]).pop().unwrap_or(Completion::Failed(Failure::Io))
}

/// Where the bytes of an Append go; nowhere where none is welcome.
fn open(store: &Store, append: Command) -> Result<Option<Intake>, Completion> {
    let Command::Append { id, fence, at, max, fresh, digest } = append else { return Ok(None) };
    if max == 0 {
        return Ok(None);
    }
    if fresh {
        match commit(store, Change::Fresh { id: id.clone(), fence, at }) {
            Completion::Committed { .. } => {}
            other => return Err(other),
        }
    }
    Ok(store.append(&id, fence, at).map(|sink| Some(Intake::new(sink, digest)))?)
}
