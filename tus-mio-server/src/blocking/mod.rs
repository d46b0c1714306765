//! The whole server but for the network, as a function that blocks: for embedding in any framework that has a
//! thread to spare for a request, and for tests. No reactor, no threads: all is done in the caller's.

mod outbox;
mod reply;
mod request;

use std::{
    collections::BTreeSet,
    fmt,
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use tus_driver::{
    Answer, Class, Clock, JobQueue, LockService, OpenStore, Service, ServiceSettings, Store,
    hooks::{CallingThread, HookCalls, HookSet, Hooks},
};
use tus_proto::{Config, ErrorCode, Failure, Framing, Head, Trailers, UploadId};
use tus_redb::{RedbStore, StoreError};

use self::request::Request;
use crate::http1;
pub use reply::{Reply, ReplyBody};

/// A tus server without a network: requests go in, responses come out.
///
/// It owns its store, and the locks that go with it: make one, and give each thread a clone. Requests at
/// different uploads run side by side. Each is carried out in the thread that calls, which blocks on its body, on
/// the disk, and for at most [`ConfigBuilder::lock_wait`](tus_proto::ConfigBuilder::lock_wait) on another writer
/// of the same upload. Each commits for itself; [`Server`](crate::Server) gathers the commits of many.
///
/// # Bodies
/// A body is read as the framework has decoded it, without chunk lines, at most 64 KiB at a time. However it
/// ends, every byte that was read is kept, unless a checksum guards the body:
///
/// | the reader | the answer |
/// |---|---|
/// | ends, where the length is known before it is reached | 400 `ERR_UNEXPECTED_EOF` |
/// | fails with `TimedOut` or `WouldBlock` | 500 `ERR_READ_TIMEOUT` |
/// | fails with `InvalidData` or `InvalidInput`: the framing is broken | 400 `ERR_BAD_REQUEST` |
/// | fails with anything else | 400 `ERR_UNEXPECTED_EOF`, which nobody may be left to read |
/// | fails with `Interrupted` | it is asked again |
///
/// A body that is rejected is not read, or not to its end: whether to read the rest, or to close the connection,
/// is said by [`Response::connection`](tus_proto::Response::connection). `Expect: 100-continue` is the framework's to meet; most do so when the
/// body is first read.
///
/// Between two reads a writer gives way to a newcomer, and commits what a HEAD asks for: **while it is blocked in
/// a read, it can't**. A reader of a connection that may fall silent should therefore give up after a while with
/// `TimedOut`, as every server does, or, better, come back with `Interrupted` every 100 ms or so: then clients
/// that return while their old connection is still open go on at once. Otherwise their HEAD tells after a second
/// what is committed, and their PATCH is answered 423 when its wait is over.
///
/// A reader that panics ends its request alone: what was committed before stays, the lock is let go.
///
/// # Example
/// ```
/// use tus_mio_server::Blocking;
/// use tus_proto::Config;
/// use tus_redb::{Options, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// let uploads = Blocking::new(Store::open(dir, &Options::default())?, Config::default());
///
/// let creation: [(&str, &[u8]); 3] =
///     [("Tus-Resumable", b"1.0.0"), ("Upload-Length", b"11"), ("Content-Length", b"0")];
/// let response = uploads.handle_request("POST", "/files", &creation, &b""[..]);
/// assert_eq!(response.status(), 201);
/// let location = response.header("Location").ok_or("no location")?;
///
/// let mut offset = "0".to_owned();
/// for piece in ["hello ", "world"] {
///     let length = piece.len().to_string();
///     let fields: [(&str, &[u8]); 4] = [
///         ("Tus-Resumable", b"1.0.0"),
///         ("Upload-Offset", offset.as_bytes()),
///         ("Content-Type", b"application/offset+octet-stream"),
///         ("Content-Length", length.as_bytes()),
///     ];
///     let response = uploads.handle_request("PATCH", location, &fields, piece.as_bytes());
///     assert_eq!(response.status(), 204);
///     offset = response.header("Upload-Offset").ok_or("no offset")?.to_owned();
/// }
///
/// let id = location.rsplit('/').next().and_then(tus_proto::UploadId::new).ok_or("no id")?;
/// let mut text = String::new();
/// uploads.store().engine().read(&id).map_err(tus_redb::StoreError)?.ok_or("it is gone")?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello world");
/// # use std::io::Read;
/// # Ok(())
/// # }
/// ```
pub struct Blocking<S: Store = RedbStore> {
    shared: Arc<Shared<S>>,
}

impl<S: Store> Clone for Blocking<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<S: Store> {
    service: Arc<Service<S>>,
    queue: Arc<JobQueue>,
    /// The uploads of which a thread delivers an event: one after another, also where a hook itself sends a request.
    busy: Mutex<BTreeSet<UploadId>>,
}

impl<S: Store> Blocking<S> {
    /// A server of these uploads by these rules. `store` is a [`tus_redb::Store`], a
    /// [`MemoryStore`](tus_driver::MemoryStore), or a function that opens another on the [`Executor`](tus_driver::Executor) that it is given.
    /// When the last clone goes, the store is closed: all that was acknowledged is durable then, in either durability.
    pub fn new(store: impl OpenStore<Store = S>, config: Config) -> Self {
        Self::with_hooks(store, config, Hooks::new(), None)
    }

    /// As [`new`](Self::new), with locks that are not those of this process.
    pub fn with_locks(store: impl OpenStore<Store = S>, config: Config, locks: Arc<dyn LockService>) -> Self {
        Self::with_hooks(store, config, Hooks::new(), Some(locks))
    }

    /// As [`new`](Self::new), with hooks; and with locks that are not those of this process, if there are any.
    ///
    /// [Hooks](crate::hooks) are called in the thread that called us. Those that come after the fact are told of the
    /// request's upload before it returns; of one that fails then, or that a crash has left, by
    /// [`housekeeping`](Self::housekeeping). (With eventual durability, what completes or ends an upload is flushed
    /// first.)
    pub fn with_hooks(
        store: impl OpenStore<Store = S>,
        config: Config,
        hooks: Hooks,
        locks: Option<Arc<dyn LockService>>,
    ) -> Self {
        let clock = Clock::start(store.time());
        let random = |out: &mut [u8]| getrandom::fill(out).is_ok();
        let queue = Arc::new(JobQueue::new(move || clock.now(), random));
        let mut settings = ServiceSettings::default();
        // A call returns before anything else is done: nothing waits for it.
        let calls = |hooks| HookCalls::new(Arc::new(hooks), Arc::new(CallingThread), Duration::MAX);
        settings.hooks = HookSet::new(hooks).map(calls);
        settings.locks = locks;
        let service = Service::new(store, queue.clone(), config, settings);
        let service = Arc::new(service);
        Self { shared: Arc::new(Shared { service, queue, busy: Mutex::default() }) }
    }

    /// Carries out a request and returns its response: `(method, path, headers, body)` of whatever framework.
    ///
    /// Fields come in their order, names in any case, values without blanks around them. `Content-Length` says how
    /// much of `body` is read; without one, it is read to its end. (Two that contradict each other, or one beside
    /// `Transfer-Encoding`, are rejected: an attack that the framework has let pass.) The response is complete
    /// but for `Content-Length` and what else belongs to the connection; its body is read by
    /// [`Reply::into_parts`]. Its `Location` is a path, unless the configuration makes it absolute: how clients reach
    /// the framework is not known here.
    pub fn handle_request(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &[u8])],
        mut body: impl Read,
    ) -> Reply<S> {
        match framing(fields) {
            Ok(framing) => {
                let head = Head { method, target, fields, framing, secure: false, direct: false };
                self.handle(&head, &mut body, &mut Trailers::default)
            }
            Err(code) => {
                let origin = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Origin"));
                self.refusal(code, origin.map(|(_, value)| *value))
            }
        }
    }

    /// Carries out a request whose framing, and whether it came over TLS, the caller knows best. `trailers` is
    /// asked at most once, when `body` has ended: for the trailer of a body that is [`Framing::Chunked`].
    pub fn handle(
        &self,
        head: &Head<'_>,
        body: &mut dyn Read,
        trailers: &mut dyn FnMut() -> Trailers,
    ) -> Reply<S> {
        self.handle_while(head, body, trailers, &|| false)
    }

    /// As [`handle`](Self::handle), for a framework that can tell that its client has left: `has_left` returns whether
    /// the peer has closed its side of the connection, and what has arrived is not the whole body. Asked at most once,
    /// when the lock of an upload is to be acquired: such a request makes no other writer yield, which may well be the
    /// same client on its next connection. It is answered 423 if there is one, and what it brought is kept if not.
    pub fn handle_while(
        &self,
        head: &Head<'_>,
        body: &mut dyn Read,
        trailers: &mut dyn FnMut() -> Trailers,
        has_left: &dyn Fn() -> bool,
    ) -> Reply<S> {
        let reply = match self.shared.service.begin(head, None) {
            Ok(driver) => Request::new(&self.shared, driver, head.framing, has_left).run(body, trailers),
            Err(refusal) => Some(Reply::new(refusal, None)),
        };
        // Housekeeping by the way, where some is due.
        while self.shared.queue.run_one(Class::Background) {}
        // An exchange that its client has left has no answer; ours is always told that it was.
        reply.unwrap_or_else(|| self.refusal(ErrorCode::UnexpectedEof, head.values("Origin").next()))
    }

    /// Does what can wait: removes expired uploads, makes durable what an eventual store has not flushed, tells hooks
    /// what they have not taken note of, gives back the space of what was removed, puts finished concatenations into
    /// one file each, and drops what was cached. Requests do some of it by the way, once a second, and once a minute
    /// what has expired; a program whose requests pause should call this now and then, within a second if its store
    /// is eventual, and any program whose hooks are told of events.
    ///
    /// # Errors
    /// The disk's. What could not be done is tried again the next time.
    pub fn housekeeping(&self) -> Result<(), StoreError> {
        let Shared { service, queue, .. } = &*self.shared;
        self.shared.flush().map_err(StoreError)?;
        self.shared.tell_all().map_err(StoreError)?;
        let done = queue.ask(Class::Idle, |later| {
            service.store().housekeep(later());
            Answer::Later
        });
        while queue.run_one(Class::Idle) {}
        done.map_err(StoreError)
    }

    /// The store, to read finished uploads from.
    pub fn store(&self) -> &S {
        self.shared.service.store()
    }

    /// The answer where no exchange begins.
    fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>) -> Reply<S> {
        Reply::new(self.shared.service.refusal(code, origin), None)
    }
}

impl<S: Store> Shared<S> {
    fn flush(&self) -> Result<(), Failure> {
        self.queue.ask(Class::Background, |later| {
            self.service.store().flush(later());
            Answer::Later
        })
    }
}

impl<S: Store> Drop for Shared<S> {
    fn drop(&mut self) {
        // Jobs hold on to the store.
        self.queue.clear();
    }
}

/// How long the body is, as far as the fields say it. The framework has decoded it already: without a length, it
/// ends where the reader does.
fn framing(fields: &[(&str, &[u8])]) -> Result<Framing, ErrorCode> {
    let coded = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("Transfer-Encoding"));
    match http1::content_length(&fields.iter().copied().collect())? {
        Some(_) if coded => Err(ErrorCode::BadRequest),
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::Chunked),
    }
}

impl<S: Store> fmt::Debug for Blocking<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("service", &self.shared.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    struct Panics;

    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            resume_unwind(Box::new("a reader's fault"))
        }
    }

    #[test]
    fn no_request_leaves_anything_at_the_lock_table() {
        let dir = tempfile::tempdir().unwrap();
        let store = tus_redb::Store::open(dir.path(), &tus_redb::Options::default()).unwrap();
        let uploads = Blocking::new(store, Config::default());
        let fields: [(&str, &[u8]); 4] = [
            ("Tus-Resumable", b"1.0.0"),
            ("Upload-Length", b"9"),
            ("Upload-Offset", b"0"),
            ("Content-Type", b"application/offset+octet-stream"),
        ];
        let created = uploads.handle_request("POST", "/files", &fields, std::io::empty());
        let location = created.header("Location").unwrap();
        let panicked = AssertUnwindSafe(|| uploads.handle_request("PATCH", location, &fields, Panics));
        assert!(catch_unwind(panicked).is_err());
        for (method, status) in
            [("PATCH", 204), ("PATCH", 409), ("HEAD", 200), ("DELETE", 204), ("HEAD", 404)]
        {
            let response = uploads.handle_request(method, location, &fields, &b"hello"[..]);
            assert_eq!(response.status(), status, "{method}");
        }
        assert!(uploads.shared.service.requests().is_empty());
    }
}
