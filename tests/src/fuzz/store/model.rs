//! What may be true of each upload: what was told last, what was asked for and not answered well, and what a power
//! cut may bring back.

use std::collections::BTreeSet;

use tus_proto::{UploadId, WallTime};
use tus_redb::EventKind;

/// An upload as a client sees it: its bytes, and whether it is complete. `None` if it is not there.
pub(super) type State = Option<(Vec<u8>, bool)>;

#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) partial: bool,
    /// Of a final: the uploads it is made of.
    pub(super) parts: Vec<usize>,
    pub(super) expires: Option<WallTime>,
    /// What was told last, or seen since.
    pub(super) told: State,
    /// What was asked for since, and not answered or answered with a failure.
    unsure: Vec<State>,
    /// All it has been since the last flush.
    past: Vec<State>,
    /// Its bytes when it was complete last: a final that waits keeps them, whatever becomes of the part.
    whole: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) uploads: Vec<Upload>,
    /// Events that were told of, and not acknowledged.
    pub(super) events: BTreeSet<(UploadId, &'static str)>,
    /// What is told may be lost with the power until it is flushed.
    pub(super) eventual: bool,
}

pub(super) fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Completed => "completed",
        EventKind::Terminated => "terminated",
    }
}

impl Model {
    /// A new upload, not made yet.
    pub(super) fn add(&mut self, partial: bool, parts: Vec<usize>, expires: Option<WallTime>) -> usize {
        let id = UploadId::new(&format!("u{}", self.uploads.len())).unwrap();
        let (told, unsure, past, whole) = (None, Vec::new(), vec![None], None);
        self.uploads.push(Upload { id, partial, parts, expires, told, unsure, past, whole });
        self.uploads.len() - 1
    }

    /// These changes are asked for, in one transaction.
    pub(super) fn ask(&mut self, wanted: &[(usize, State)]) {
        for (upload, state) in wanted {
            self.uploads[*upload].unsure.push(state.clone());
        }
    }

    /// They were answered well.
    pub(super) fn tell(&mut self, wanted: Vec<(usize, State)>) {
        for (at, state) in wanted {
            let before = self.uploads[at].told.clone();
            let done = |state: &State| matches!(state, Some((_, true)));
            let event = match &state {
                None => Some("terminated").filter(|_| before.is_some()),
                complete => Some("completed").filter(|_| done(complete) && !done(&before)),
            };
            if let Some(event) = event.filter(|_| !self.uploads[at].partial || state.is_none()) {
                self.events.insert((self.uploads[at].id.clone(), event));
            }
            self.settle(at, state);
        }
    }

    /// They have expired: no event tells of that.
    pub(super) fn settle_expired(&mut self, gone: Vec<(usize, State)>) {
        for (at, state) in gone {
            self.settle(at, state);
        }
    }

    /// They were rejected: nothing was changed.
    pub(super) fn refuse(&mut self, wanted: &[(usize, State)]) {
        for (upload, _) in wanted {
            self.uploads[*upload].unsure.pop();
        }
    }

    fn settle(&mut self, at: usize, state: State) {
        let upload = &mut self.uploads[at];
        upload.unsure.clear();
        if !self.eventual {
            upload.past.clear();
        }
        upload.past.push(state.clone());
        if let Some((bytes, true)) = &state {
            upload.whole = Some(bytes.clone());
        }
        upload.told = state;
    }

    /// Whoever looks sees this. `fallen` where the power was cut, or a sync has failed: what was told may be lost
    /// then, with eventual durability.
    pub(super) fn see(&mut self, at: usize, state: State, fallen: bool) {
        let upload = &self.uploads[at];
        let may_be = upload.told == state
            || upload.unsure.contains(&state)
            || fallen && self.eventual && upload.past.contains(&state);
        let size = |state: &State| state.as_ref().map(|(bytes, complete)| (bytes.len(), *complete));
        let unsure: Vec<_> = upload.unsure.iter().map(size).collect();
        let past: Vec<_> = upload.past.iter().map(size).collect();
        assert!(
            may_be,
            "{} is {:?}, told {:?}, asked for {unsure:?}, was {past:?}",
            upload.id,
            size(&state),
            size(&upload.told),
        );
        if upload.told != state || !upload.unsure.is_empty() {
            self.settle(at, state);
        }
    }

    /// All that was told is durable now.
    pub(super) fn flushed(&mut self) {
        for upload in &mut self.uploads {
            upload.past = vec![upload.told.clone()];
        }
    }

    /// What the finals that wait for `part` become when it is what `state` says.
    pub(super) fn completed_by(&self, part: usize, state: &State) -> Vec<(usize, State)> {
        let body = |at: &usize| match if *at == part { state } else { &self.uploads[*at].told } {
            Some((bytes, true)) => Some(bytes.clone()),
            Some((_, false)) => None,
            // Had it gone unfinished, what waits for it had gone as well.
            None => self.uploads[*at].whole.clone(),
        };
        let waiting =
            self.uploads.iter().enumerate().filter(|(_, upload)| {
                upload.parts.contains(&part) && matches!(upload.told, Some((_, false)))
            });
        let whole = |upload: &Upload| upload.parts.iter().map(body).collect::<Option<Vec<_>>>();
        waiting.filter_map(|(at, upload)| Some((at, Some((whole(upload)?.concat(), true))))).collect()
    }

    /// Whether one of these parts has as many finals waiting as it may.
    pub(super) fn is_crowded(&self, parts: &[usize], most: usize) -> bool {
        let is_pending = |upload: &&Upload| matches!(upload.told, Some((_, false)));
        parts.iter().any(|part| {
            let finals = self.uploads.iter().filter(|upload| upload.parts.contains(part));
            finals.filter(is_pending).count() >= most
        })
    }

    /// The pending finals that go with an unfinished part.
    pub(super) fn waiting_for(&self, part: usize) -> Vec<(usize, State)> {
        let unfinished = matches!(self.uploads[part].told, Some((_, false)));
        let all = self.uploads.iter().enumerate();
        let waiting = all.filter(|(_, upload)| {
            unfinished && upload.parts.contains(&part) && matches!(upload.told, Some((_, false)))
        });
        waiting.map(|(at, _)| (at, None)).collect()
    }
}
