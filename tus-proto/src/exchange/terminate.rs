//! DELETE: under the lock, so that no late write can bring the upload back.

use super::{
    Exchange, State,
    answer::{self, Answer},
    pending::Pending,
    request::TerminateRequest,
};
use crate::{Command, Completion, Event, Now, UploadId};

impl Exchange {
    pub(super) fn terminate(&mut self, termination: TerminateRequest) {
        match self.config.hooks.terminate || termination.if_match.is_there() {
            true => self.show(termination.id.clone(), Pending::Terminate(termination)),
            false => self.delete(termination.id),
        }
    }

    pub(super) fn delete(&mut self, id: UploadId) {
        let (fence, _) = self.lease.grant();
        let op = self.store(Command::Delete { id, fence });
        self.state = State::Deleting(op);
    }

    pub(super) fn on_deleted(&mut self, now: Now, completion: Completion) {
        let answer = match completion {
            Completion::Deleted => {
                self.expires = None;
                self.notify(Event::Terminated);
                Answer::Terminated
            }
            other => Answer::Failed(answer::to_completion(&other)),
        };
        self.end(now, Some(answer));
    }
}
