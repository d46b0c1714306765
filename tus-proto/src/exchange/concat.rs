//! POST of a final: one command, which the store carries out in one transaction. No byte of it passes here.

use alloc::{boxed::Box, string::String};

use super::{
    Exchange, State,
    answer::{self, Answer},
    pending::{CreateKind, PendingCreate},
    request::{ConcatRequest, Parts},
};
use crate::{Command, Completion, Concat, ConcatRejection, ErrorCode, Event, Framing, Now, Record, UploadId};

/// A final all of whose parts must be finished, while they are looked at.
#[derive(Debug)]
pub(super) struct Gathering {
    assembly: ConcatRequest,
    entropy: [u8; 10],
    /// How many are.
    seen: usize,
}

impl Exchange {
    pub(super) fn concat(&mut self, now: Now, assembly: ConcatRequest, entropy: [u8; 10]) {
        // A chunked body might turn out to be empty, but only reading it would tell, and nobody sends one.
        if self.framing != Framing::Length(0) {
            return self.end(now, Some(Answer::Failed(ErrorCode::ModifyFinal)));
        }
        if self.config.concatenation_unfinished {
            return self.put_together(now, assembly, entropy);
        }
        self.gather(Box::new(Gathering { assembly, entropy, seen: 0 }), now);
    }

    /// Looks at the next part. What is finished stays finished: the store need not look again.
    fn gather(&mut self, gathering: Box<Gathering>, now: Now) {
        match gathering.assembly.parts.ids.get(gathering.seen).cloned() {
            Some(id) => {
                let op = self.store(Command::Load { id });
                self.state = State::Gathering(op, gathering);
            }
            None => self.put_together(now, gathering.assembly, gathering.entropy),
        }
    }

    pub(super) fn on_gathered(&mut self, now: Now, mut gathering: Box<Gathering>, completion: &Completion) {
        let code = match completion {
            Completion::Loaded(record) if record.is_complete() => {
                gathering.seen = gathering.seen.saturating_add(1);
                return self.gather(gathering, now);
            }
            Completion::Loaded(_) | Completion::Missing | Completion::Gone | Completion::Lost(_) => {
                ErrorCode::InvalidConcat
            }
            other => answer::to_completion(other),
        };
        self.end(now, Some(Answer::Failed(code)));
    }

    fn put_together(&mut self, now: Now, assembly: ConcatRequest, entropy: [u8; 10]) {
        let ConcatRequest { value, parts, metadata, location } = assembly;
        if parts.lacks() {
            // One may have come since, which no hook has seen.
            return self.end(now, Some(Answer::Failed(ErrorCode::InvalidConcat)));
        }
        let id = UploadId::generate(now.date, entropy);
        let record = Record {
            id,
            created: now.date,
            offset: 0,
            length: None,
            metadata,
            expires: self.config.expires(now.wall, None),
            explicit: None,
            concat: Some(Concat::Final(value)),
        };
        self.begin_create(now, PendingCreate::new(record, location, CreateKind::Final { parts }));
    }

    pub(super) fn assemble(&mut self, record: Record, parts: Parts, location: String) {
        let (max, delete_parts) = (self.config.max_size(), self.config.delete_parts);
        let op = self.store(Command::Concat { record, parts: parts.ids, max, delete_parts });
        self.state = State::Concatenating(op, location);
    }

    pub(super) fn on_concatenated(&mut self, now: Now, location: String, completion: Completion) {
        let record = match completion {
            Completion::Concatenated(record) => record,
            Completion::Rejected(rejection) => {
                return self.end(now, Some(Answer::Failed(to_concat_rejection(rejection))));
            }
            other => return self.end(now, Some(Answer::Failed(answer::to_completion(&other)))),
        };
        self.notify(Event::Created);
        if record.is_complete() {
            self.finished(&record);
            self.notify(Event::Finished);
        }
        self.expires = record.expires;
        let length = record.length.filter(|_| record.is_complete());
        self.end(now, Some(Answer::Concatenated { location, length }));
    }
}

fn to_concat_rejection(rejection: ConcatRejection) -> ErrorCode {
    match rejection {
        ConcatRejection::TooLarge => ErrorCode::MaxSizeExceeded,
        ConcatRejection::Missing
        | ConcatRejection::NotPartial
        | ConcatRejection::UnknownLength
        | ConcatRejection::TooManyWaiting => ErrorCode::InvalidConcat,
    }
}
