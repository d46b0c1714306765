//! POST of a final: one command, which the store carries out in one transaction. No byte of it passes here.

use alloc::{string::String, vec::Vec};

use super::{
    Exchange, State,
    answer::{self, Answer},
    checks::Assembly,
    create::{Draft, Making},
};
use crate::{Code, Command, Completion, Concat, Event, Framing, Now, Record, Unfit, UploadId};

impl Exchange {
    pub(super) fn concat(&mut self, now: Now, assembly: Assembly, entropy: [u8; 10]) {
        // A chunked body might turn out to be empty, but only reading it would tell, and nobody sends one.
        if self.framing != Framing::Length(0) {
            return self.end(now, Some(Answer::Failed(Code::ModifyFinal)));
        }
        let Assembly { value, parts, metadata, location } = assembly;
        let id = UploadId::generate(now.date, entropy);
        let record = Record {
            id,
            created: now.date,
            offset: 0,
            length: None,
            metadata,
            expires: self.config.expires(now.wall, None),
            concat: Some(Concat::Final(value)),
        };
        self.draft(now, Draft::new(record, location, Making::Final { parts }));
    }

    pub(super) fn assemble(&mut self, record: Record, parts: Vec<UploadId>, location: String) {
        let (max, delete_parts) = (self.config.max_size(), self.config.delete_parts);
        let op = self.store(Command::Concat { record, parts, max, delete_parts });
        self.state = State::Concatenating(op, location);
    }

    pub(super) fn on_concatenated(&mut self, now: Now, location: String, completion: Completion) {
        let record = match completion {
            Completion::Concatenated(record) => record,
            Completion::Refused(unfit) => return self.end(now, Some(Answer::Failed(to_unfit(unfit)))),
            other => return self.end(now, Some(Answer::Failed(answer::to_completion(&other)))),
        };
        self.notify(Event::Created);
        if record.is_complete() {
            self.notify(Event::Finished);
        }
        self.expires = record.expires;
        let length = record.length.filter(|_| record.is_complete());
        self.end(now, Some(Answer::Concatenated { location, length }));
    }
}

fn to_unfit(unfit: Unfit) -> Code {
    match unfit {
        Unfit::TooLarge => Code::MaxSizeExceeded,
        Unfit::Missing | Unfit::NotPartial | Unfit::UnknownLength | Unfit::TooManyWaiting => {
            Code::InvalidConcat
        }
    }
}
