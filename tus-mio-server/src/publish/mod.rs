//! Finished uploads as files with names of their own, in a directory where other programs find them.
//!
//! It is done by the outbox, so each upload whose completion was acknowledged comes there, whatever crashes: the event
//! stays until the file is in its place and the user's own hook, which is told after it, has taken note. A repeat must
//! know what was done already:
//!
//! 1. The bytes are copied to a name that begins with a dot, and made durable, then that name is.
//! 2. The chosen name is written as the event's note, durably.
//! 3. The file gets that name, which replaces nothing; if something has it by now, the next name is noted first.
//!
//! So a file without a note is made anew; one with a note goes to its place; and where there is a note and no such file
//! any more, it is in its place, or was, until somebody has taken it away from there.

pub(crate) mod directory;
mod name;
mod system;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use prometheus_client::metrics::counter::Counter;
use tus_driver::{
    EventKind, EventKinds, Ticket,
    hooks::{FindFiles, HookEvent, HookRunner},
};
use tus_proto::{Failure, HookCall, HookReply, Record, Subscriptions, UploadId};
use tus_redb::{RedbStore, Store};

pub use self::name::{NamePattern, NamePatternError};
use self::{
    directory::{Bytes, Calls, Directory},
    system::System,
};

/// How many names are remembered with how many files have them.
const REMEMBERED: usize = 4096;

/// How finished uploads are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where. It must be there.
    pub directory: PathBuf,
    /// Under which names. Default: the file's name, as the client has sent it.
    pub name: NamePattern,
    /// Whether by hard links to the store's data files, where that can be, so that no byte is there twice. They share mode,
    /// owner and content with the store's. Default no: by reflinks, else copies.
    pub link: bool,
    /// The permissions of copies. Default 0644.
    pub mode: u32,
    /// The number of the group that copies are to have. Default: the system's rule.
    pub group: Option<u32>,
    /// Whether an upload is deleted once it is published, and hooks have been told of it. Default no.
    pub delete: bool,
}

impl Publish {
    /// Into this directory, all else as by default.
    pub fn to(directory: impl Into<PathBuf>) -> Self {
        let (name, mode) = (NamePattern::default(), 0o644);
        Self { directory: directory.into(), name, link: false, mode, group: None, delete: false }
    }

    /// Whether files can be made in the directory: one is, and goes again.
    pub(crate) fn check(&self) -> Result<(), (PathBuf, io::Error)> {
        let calls = Box::new(System(self.directory.clone()));
        let directory = Directory { calls, mode: self.mode, group: self.group, link: false };
        let empty = Bytes::Files(Vec::new());
        let made = directory.fill(".tus-publish", empty).and_then(|_| directory.remove(".tus-publish"));
        made.map_err(|error| (self.directory.clone(), error))
    }

    /// Looks up a group, by its name in `/etc/group` or its number.
    ///
    /// # Errors
    /// A text for people, where there is no such group.
    pub fn group_number(text: &str) -> Result<u32, String> {
        system::group(text)
    }
}

/// What publishing needs of the store.
pub(crate) trait Origin: fmt::Debug + Send + Sync {
    /// An event's note.
    fn note(&self, id: &UploadId, number: u64) -> Result<Option<Vec<u8>>, Failure>;
    /// Gives an event a note; durable once this returns. False where there is no such event.
    fn annotate(&self, id: &UploadId, number: u64, note: &[u8]) -> Result<bool, Failure>;
    /// An upload's bytes; `None` where it is gone.
    fn bytes(&self, id: &UploadId) -> Result<Option<Bytes>, Failure>;
    /// Deletes an upload that was made use of.
    fn consume(&self, id: &UploadId) -> Result<(), Failure>;
}

impl Origin for Store {
    fn note(&self, id: &UploadId, number: u64) -> Result<Option<Vec<u8>>, Failure> {
        Self::note(self, id, number)
    }

    fn annotate(&self, id: &UploadId, number: u64, note: &[u8]) -> Result<bool, Failure> {
        Self::annotate(self, id, number, note)
    }

    fn bytes(&self, id: &UploadId) -> Result<Option<Bytes>, Failure> {
        // Empty also where there are no bytes, or some lie in the records.
        let files = self.paths(id)?;
        if !files.is_empty() {
            return Ok(Some(Bytes::Files(files)));
        }
        Ok(self.read(id)?.map(|body| Bytes::Reader(Box::new(body))))
    }

    fn consume(&self, id: &UploadId) -> Result<(), Failure> {
        Self::consume(self, id).map(drop)
    }
}

impl Origin for RedbStore {
    fn note(&self, id: &UploadId, number: u64) -> Result<Option<Vec<u8>>, Failure> {
        Origin::note(self.engine(), id, number)
    }

    fn annotate(&self, id: &UploadId, number: u64, note: &[u8]) -> Result<bool, Failure> {
        Origin::annotate(self.engine(), id, number, note)
    }

    fn bytes(&self, id: &UploadId) -> Result<Option<Bytes>, Failure> {
        Origin::bytes(self.engine(), id)
    }

    fn consume(&self, id: &UploadId) -> Result<(), Failure> {
        Origin::consume(self.engine(), id)
    }
}

/// Publishes what is complete, and tells the user's hooks what they want to know.
#[derive(Debug)]
pub(crate) struct Publisher {
    shelf: Arc<Shelf>,
    hooks: Option<Arc<dyn HookRunner>>,
}

/// All but the hooks.
#[derive(Debug)]
struct Shelf {
    name: NamePattern,
    delete: bool,
    directory: Directory,
    /// There once the store is open.
    origin: OnceLock<Arc<dyn Origin>>,
    /// How many files there are of a name, at the least: where to look for a free one.
    counts: Mutex<BTreeMap<String, u64>>,
    /// Counts publications and failures; there once the server's metrics are.
    counted: OnceLock<(Counter, Counter)>,
}

impl Publisher {
    /// Publishes as `settings` say, and calls `hooks` for all else.
    pub(crate) fn new(settings: &Publish, hooks: Option<Arc<dyn HookRunner>>) -> Self {
        Self::over(Box::new(System(settings.directory.clone())), settings, hooks)
    }

    /// The same with these calls on the directory.
    fn over(calls: Box<dyn Calls>, settings: &Publish, hooks: Option<Arc<dyn HookRunner>>) -> Self {
        let Publish { name, link, mode, group, delete, .. } = settings.clone();
        let directory = Directory { calls, mode, group, link };
        let (origin, counts, counted) = (OnceLock::new(), Mutex::default(), OnceLock::new());
        Self { shelf: Arc::new(Shelf { name, delete, directory, origin, counts, counted }), hooks }
    }

    /// The store, which is opened when it is known which events it is to keep.
    pub(crate) fn set_origin(&self, origin: Arc<dyn Origin>) {
        // Only a second one could fail, and the first one stands.
        let _ = self.shelf.origin.set(origin);
    }

    /// Counts what is published in the first of these, and what fails in the second.
    pub(crate) fn count_in(&self, counters: (Counter, Counter)) {
        let _ = self.shelf.counted.set(counters);
    }
}

impl HookRunner for Publisher {
    fn subscriptions(&self) -> Subscriptions {
        self.hooks.as_ref().map(|hooks| hooks.subscriptions()).unwrap_or_default()
    }

    fn events(&self) -> EventKinds {
        let wanted = self.hooks.as_ref().map(|hooks| hooks.events()).unwrap_or_default();
        EventKinds { completed: true, ..wanted }
    }

    fn set_files(&self, files: Box<FindFiles>) {
        if let Some(hooks) = &self.hooks {
            hooks.set_files(files);
        }
    }

    fn recall(&self, call: &HookCall) -> Option<HookReply> {
        self.hooks.as_ref().and_then(|hooks| hooks.recall(call))
    }

    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        match &self.hooks {
            Some(hooks) => hooks.decide(call, ticket),
            None => ticket.answer(HookReply::Proceed),
        }
    }

    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>) {
        let wanted = self.hooks.as_ref().map(|hooks| (hooks, hooks.events()));
        if event.kind != EventKind::Completed {
            return match wanted {
                Some((hooks, _)) => hooks.deliver(event, ticket),
                None => ticket.answer(true),
            };
        }
        let told = match self.shelf.publish(&event.record, event.number) {
            Ok(Done { told, .. }) => told,
            Err(error) => {
                if let Some((_, failed)) = self.shelf.counted.get() {
                    failed.inc();
                }
                tracing::error!(id = %event.record.id, %error, "an upload can't be published; it is tried again later");
                return ticket.answer(false);
            }
        };
        let (shelf, record, number) = (self.shelf.clone(), event.record.clone(), event.number);
        match wanted {
            Some((hooks, wanted)) if wanted.completed && !told => hooks.deliver(
                event,
                Ticket::new(move |done| ticket.answer(done && shelf.finish(&record, number))),
            ),
            _ => ticket.answer(shelf.finish(&record, number)),
        }
    }
}

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    /// Whether hooks were told, and the upload may be gone.
    told: bool,
    /// The name that was chosen last.
    name: String,
}

impl Note {
    fn encode(&self) -> Vec<u8> {
        let mark = if self.told { 't' } else { 'n' };
        format!("{mark}{}", self.name).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (mark, name) = bytes.split_first()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        Some(Self { told: *mark == b't', name })
    }
}

/// What became of an upload that was to be published.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    /// Its name; `None` where its client has deleted it before.
    name: Option<String>,
    /// Whether hooks have been told as well.
    told: bool,
}

impl Shelf {
    fn origin(&self) -> Result<&Arc<dyn Origin>, PublishError> {
        self.origin.get().ok_or(PublishError::Store(Failure::Unavailable))
    }

    /// Puts an upload in its place, unless that was done before.
    fn publish(&self, record: &Record, number: u64) -> Result<Done, PublishError> {
        let origin = self.origin()?;
        // No published name begins with a dot.
        let temporary = format!(".tus-publish-{}", record.id);
        let note = origin
            .note(&record.id, number)?
            .map(|note| Note::decode(&note).ok_or(PublishError::Note))
            .transpose()?;
        let Some(note) = note else {
            self.directory.remove(&temporary)?;
            let Some(bytes) = origin.bytes(&record.id)? else {
                return Ok(Done { name: None, told: false });
            };
            let copied = self.directory.fill(&temporary, bytes)?;
            if copied != record.offset {
                self.directory.remove(&temporary)?;
                return Err(PublishError::Length { copied, length: record.offset });
            }
            self.directory.sync()?;
            return self.place(&temporary, record, number);
        };
        let told = note.told;
        if told {
            return Ok(Done { name: Some(note.name), told });
        }
        let placed = !self.directory.has(&temporary)?;
        if placed || self.directory.are_one(&temporary, &note.name)? {
            self.directory.remove(&temporary)?;
            self.directory.sync()?;
            return Ok(Done { name: Some(note.name), told });
        }
        self.place(&temporary, record, number)
    }

    /// Gives a whole file the first free name.
    fn place(&self, temporary: &str, record: &Record, number: u64) -> Result<Done, PublishError> {
        let mut wanted = self.name.name(record);
        let mut count = self.counts().get(&wanted).map_or(1, |count| count + 1);
        loop {
            let name = name::numbered(&wanted, count);
            if self.directory.has(&name)? {
                count += 1;
                continue;
            }
            let note = Note { told: false, name: name.clone() };
            if !self.origin()?.annotate(&record.id, number, &note.encode())? {
                // The event is gone: so is who waited for it.
                self.directory.remove(temporary)?;
                return Ok(Done { name: None, told: true });
            }
            match self.directory.place(temporary, &name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    count += 1;
                    continue;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidFilename && wanted != record.id.as_str() =>
                {
                    // Too long for this file system, or not in its characters.
                    (wanted, count) = (record.id.as_str().to_owned(), 1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.directory.sync()?;
            self.remember(wanted, count);
            if let Some((published, _)) = self.counted.get() {
                published.inc();
            }
            tracing::info!(id = %record.id, name, bytes = record.offset, "published");
            return Ok(Done { name: Some(name), told: false });
        }
    }

    /// After the hooks: lets the upload go, where that is wanted. Returns whether the event may go, too.
    fn finish(&self, record: &Record, number: u64) -> bool {
        let finished = || {
            if !self.delete {
                return Ok(());
            }
            let origin = self.origin()?;
            let note =
                origin.note(&record.id, number)?.map(|note| Note::decode(&note).ok_or(PublishError::Note));
            // Without a note it was not published, but deleted by its client.
            let Some(note) = note.transpose()? else { return Ok(()) };
            // A repeat must not tell hooks of an upload that is gone.
            if !note.told {
                origin.annotate(&record.id, number, &Note { told: true, ..note }.encode())?;
            }
            origin.consume(&record.id)?;
            Ok::<_, PublishError>(())
        };
        let result = finished();
        if let Err(error) = &result {
            tracing::error!(id = %record.id, %error, "a published upload can't be deleted; it is tried again later");
        }
        result.is_ok()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, name: String, count: u64) {
        let mut counts = self.counts();
        if counts.len() >= REMEMBERED {
            counts.clear();
        }
        if count > 1 {
            counts.insert(name, count);
        }
    }
}

/// Why an upload can't be published now.
#[derive(Debug)]
enum PublishError {
    Store(Failure),
    Directory(io::Error),
    /// The copy has another length, in bytes, than the upload.
    Length {
        copied: u64,
        length: u64,
    },
    /// The event's note is not one of ours.
    Note,
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        Self::Directory(error)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(failure) => write!(f, "{}", tus_redb::StoreError(*failure)),
            Self::Directory(error) => write!(f, "the directory to publish in: {error}"),
            Self::Length { copied, length } => write!(f, "{copied} bytes of {length} could be copied"),
            Self::Note => f.write_str("the note of its event can't be read"),
        }
    }
}
