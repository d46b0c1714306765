//! `Session` over a store in memory, driven by the smallest runtime there can be: one thread, no sockets, a clock that
//! stands still.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use tus_driver::{
    Answer, AppendGrant, Arrival, Change, Changed, DueEvents, Effect, EventKinds, EventQuery, Inlet, Loaded,
    MemoryStore, Opened, Session, Source, Store, Ticket,
    tus_proto::{
        Algorithm, Body, Cancel, Config, Cut, Digest, Failure, Fence, Framing, Head, Instant, LockEvent,
        LockTable, Now, Owner, Response, Trailers, UploadId, WallTime,
    },
};

const NOW: Now = Now {
    monotonic: Instant::from_micros(0),
    wall: WallTime::from_micros(1_700_000_000_000_000),
    date: WallTime::from_micros(1_700_000_000_000_000),
};

/// What arrived for a session and was not handed to it.
struct Mail<S: Store>(Arc<Mutex<VecDeque<Arrival<S>>>>);

impl<S: Store> Clone for Mail<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Inlet<S> for Mail<S> {
    fn post(&self, arrival: Arrival<S>) {
        self.0.lock().unwrap().push_back(arrival);
    }
}

struct Running<S: Store> {
    session: Session<S>,
    mail: Mail<S>,
    response: Option<Response>,
    done: bool,
}

struct Drive<S: Store> {
    store: S,
    config: Arc<Config>,
    locks: LockTable,
    running: BTreeMap<Owner, Running<S>>,
}

impl<S: Store> Drive<S> {
    fn new(store: S) -> Self {
        let config = Arc::new(Config::builder().downloads(true).build().unwrap());
        let locks = LockTable::new(store.first_fence());
        Self { store, config, locks, running: BTreeMap::new() }
    }

    fn start(&mut self, method: &str, target: &str, fields: &[(&str, &str)], length: u64) -> Owner {
        let mut all = vec![("Tus-Resumable", &b"1.0.0"[..])];
        all.extend(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
        let head = Head {
            method,
            target,
            fields: &all,
            framing: Framing::Length(length),
            secure: false,
            direct: false,
        };
        let owner = Owner(self.running.len() as u64 + 1);
        let session = Session::new(self.config.clone(), &head, [owner.0 as u8; 10], NOW);
        let mail = Mail(Arc::default());
        self.running.insert(owner, Running { session, mail, response: None, done: false });
        self.settle();
        owner
    }

    fn create(&mut self, length: u64, fields: &[(&str, &str)]) -> String {
        let length = length.to_string();
        let fields = [&[("Upload-Length", length.as_str())], fields].concat();
        let owner = self.start("POST", "/files", &fields, 0);
        assert_eq!(self.response(owner).status(), 201);
        self.response(owner).header("Location").unwrap().into()
    }

    fn patch(&mut self, target: &str, offset: u64, length: u64, fields: &[(&str, &str)]) -> Owner {
        let offset = offset.to_string();
        let own = [("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        self.start("PATCH", target, &[&own, fields].concat(), length)
    }

    /// A whole request, and what was answered.
    fn send(
        &mut self,
        target: &str,
        offset: u64,
        body: &[u8],
        fields: &[(&str, &str)],
    ) -> (u16, Option<String>) {
        let owner = self.patch(target, offset, body.len() as u64, fields);
        self.write(owner, body);
        self.end(owner);
        self.answer(owner)
    }

    fn write(&mut self, owner: Owner, mut bytes: &[u8]) {
        self.session(owner).write(NOW, &mut bytes);
        self.settle();
    }

    fn end(&mut self, owner: Owner) {
        self.session(owner).end_body(NOW, Trailers::default());
        self.settle();
    }

    fn session(&mut self, owner: Owner) -> &mut Session<S> {
        &mut self.running.get_mut(&owner).unwrap().session
    }

    fn response(&self, owner: Owner) -> &Response {
        let running = &self.running[&owner];
        assert!(running.done, "it is not over");
        running.response.as_ref().expect("it ended without a response")
    }

    fn answer(&self, owner: Owner) -> (u16, Option<String>) {
        let response = self.response(owner);
        (response.status(), response.header("Upload-Offset").map(Into::into))
    }

    fn head(&mut self, target: &str) -> (u16, Option<String>) {
        let owner = self.start("HEAD", target, &[], 0);
        self.answer(owner)
    }

    fn get(&mut self, target: &str, fields: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let owner = self.start("GET", target, fields, 0);
        let response = self.response(owner).clone();
        let Body::Upload { from, to } = *response.content() else { return (response.status(), Vec::new()) };
        let mut source = self.session(owner).take_source().unwrap();
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        let mut done = 0;
        while done < bytes.len() {
            let read = source.poll_read(from + done as u64, &mut bytes[done..], &|| Waker::noop().clone());
            let Poll::Ready(Ok(count @ 1..)) = read else { panic!("{read:?}") };
            done += count;
        }
        (response.status(), bytes)
    }

    /// Does all there is to do.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some((owner, event)) = self.locks.poll() {
                self.session(owner).handle(NOW, Arrival::Lock(event));
                quiet = false;
            }
            for (owner, running) in &mut self.running {
                while let Some(arrival) = { running.mail.0.lock().unwrap().pop_front() } {
                    running.session.handle(NOW, arrival);
                    quiet = false;
                }
                let mail = running.mail.clone();
                while let Some(effect) = running.session.poll(NOW, &self.store, &|| mail.clone()) {
                    quiet = false;
                    match effect {
                        Effect::Lock(op, call) => self.locks.call(NOW.monotonic, *owner, op, call),
                        Effect::Respond(response) => assert!(running.response.replace(response).is_none()),
                        Effect::Done => running.done = true,
                        _ => {}
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }
}

fn drive() -> Drive<MemoryStore> {
    Drive::new(MemoryStore::default())
}

fn told(status: u16, offset: &str) -> (u16, Option<String>) {
    (status, Some(offset.into()))
}

#[test]
fn an_upload_comes_in_pieces_and_is_downloaded() {
    let mut drive = drive();
    let upload = drive.create(11, &[]);
    let owner = drive.patch(&upload, 0, 5, &[]);
    drive.write(owner, b"he");
    drive.write(owner, b"llo");
    assert_eq!(drive.session(owner).welcome(), 6);
    drive.end(owner);
    assert_eq!(drive.answer(owner), told(204, "5"));
    assert_eq!(drive.get(&upload, &[]).0, 404, "it is not finished");
    assert_eq!(drive.send(&upload, 4, b" world", &[]).0, 409);
    assert_eq!(drive.send(&upload, 5, b" world", &[]), told(204, "11"));
    assert_eq!(drive.get(&upload, &[]), (200, b"hello world".to_vec()));
    assert_eq!(drive.get(&upload, &[("Range", "bytes=4-6")]), (206, b"o w".to_vec()));
}

#[test]
fn a_checksum_decides_whether_a_body_is_kept() {
    let mut drive = drive();
    let upload = drive.create(5, &[]);
    let right = [("Upload-Checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
    assert_eq!(drive.send(&upload, 0, b"hallo", &right).0, 460);
    assert_eq!(drive.head(&upload), told(200, "0"));
    assert_eq!(drive.send(&upload, 0, b"hello", &right), told(204, "5"));
}

#[test]
fn one_byte_too_many_is_not_kept() {
    let mut drive = drive();
    let upload = drive.create(3, &[]);
    let chunked = Framing::Chunked;
    let fields: [(&str, &[u8]); 3] = [
        ("Tus-Resumable", b"1.0.0"),
        ("Upload-Offset", b"0"),
        ("Content-Type", b"application/offset+octet-stream"),
    ];
    let head = Head {
        method: "PATCH",
        target: &upload,
        fields: &fields,
        framing: chunked,
        secure: false,
        direct: false,
    };
    let session = Session::new(drive.config.clone(), &head, [9; 10], NOW);
    let owner = Owner(9);
    drive.running.insert(owner, Running { session, mail: Mail(Arc::default()), response: None, done: false });
    drive.settle();
    drive.write(owner, b"abcd");
    assert_eq!(drive.response(owner).status(), 413);
    assert_eq!(drive.head(&upload), told(200, "3"));
}

#[test]
fn what_came_before_a_cut_is_kept() {
    let mut drive = drive();
    let upload = drive.create(9, &[]);
    let owner = drive.patch(&upload, 0, 9, &[]);
    drive.write(owner, b"abcd");
    drive.session(owner).cut_body(NOW, Cut::PeerGone);
    drive.settle();
    let running = &drive.running[&owner];
    assert!(running.done && running.response.is_none(), "nobody is there to be answered");
    assert_eq!(drive.head(&upload), told(200, "4"));
}

#[test]
fn a_writer_commits_and_yields_to_a_newcomer() {
    let mut drive = drive();
    let upload = drive.create(9, &[]);
    let early = drive.patch(&upload, 0, 9, &[]);
    drive.write(early, b"abcd");
    let late = drive.patch(&upload, 4, 5, &[]);
    assert!(drive.running[&early].done);
    drive.write(late, b"efghi");
    drive.end(late);
    assert_eq!(drive.answer(late), told(204, "9"));
    assert_eq!(drive.get(&upload, &[]), (200, b"abcdefghi".to_vec()));
}

#[test]
fn a_lost_lock_ends_the_request_and_commits_nothing() {
    let mut drive = drive();
    let upload = drive.create(9, &[]);
    let owner = drive.patch(&upload, 0, 9, &[]);
    drive.write(owner, b"abcd");
    drive.session(owner).handle(NOW, Arrival::Lock(LockEvent::Lost));
    drive.settle();
    assert!(drive.running[&owner].done);
    assert_eq!(drive.head(&upload), told(200, "0"));
}

#[test]
fn a_head_waits_for_what_has_arrived() {
    let mut drive = drive();
    let upload = drive.create(9, &[]);
    let writer = drive.patch(&upload, 0, 9, &[]);
    drive.write(writer, b"ab");
    let head = drive.start("HEAD", &upload, &[], 0);
    assert!(drive.session(writer).wants_drain() && !drive.running[&head].done);
    drive.write(writer, b"cd");
    drive.session(writer).drained(NOW);
    drive.settle();
    assert_eq!(drive.answer(head), told(200, "4"));
    assert!(!drive.session(writer).wants_drain() && drive.session(writer).is_receiving());
}

#[test]
fn a_lent_sink_holds_the_end_of_its_body_back() {
    let mut drive = drive();
    let upload = drive.create(5, &[]);
    let owner = drive.patch(&upload, 0, 5, &[]);
    let mut sink = drive.session(owner).lend().unwrap();
    assert!(!drive.session(owner).is_receiving() && drive.session(owner).lend().is_none());
    drive.end(owner);
    assert!(!drive.running[&owner].done, "a worker has its sink");
    let result = sink.write(&mut &b"hello"[..]);
    drive.session(owner).give_back(NOW, sink, result);
    drive.settle();
    assert_eq!(drive.answer(owner), told(204, "5"));
    assert_eq!(drive.get(&upload, &[]), (200, b"hello".to_vec()));
}

#[test]
fn a_final_is_made_of_its_parts_and_a_deletion_removes_it() {
    let mut drive = drive();
    let part = [("Upload-Concat", "partial")];
    let (first, second) = (drive.create(3, &part), drive.create(2, &part));
    drive.send(&first, 0, b"abc", &[]);
    let concat = format!("final;{first} {second}");
    let owner = drive.start("POST", "/files", &[("Upload-Concat", &concat)], 0);
    assert_eq!(drive.answer(owner), (201, None), "it waits for its second part");
    let whole: String = drive.response(owner).header("Location").unwrap().into();
    drive.send(&second, 0, b"de", &[]);
    assert_eq!(drive.get(&whole, &[]), (200, b"abcde".to_vec()));
    let owner = drive.start("DELETE", &whole, &[], 0);
    assert_eq!(drive.response(owner).status(), 204);
    assert_eq!(drive.head(&whole).0, 404);
}

/// A POST of an upload of `length` bytes, with so many of them.
fn post<S: Store>(drive: &mut Drive<S>, length: u64, body: u64, fields: &[(&str, &str)]) -> Owner {
    let length = length.to_string();
    let own = [("Upload-Length", length.as_str()), ("Content-Type", "application/offset+octet-stream")];
    drive.start("POST", "/files", &[&own, fields].concat(), body)
}

#[test]
fn a_small_body_is_made_together_with_its_upload() {
    let mut drive = drive();
    let owner = post(&mut drive, 9, 5, &[]);
    let session = drive.session(owner);
    assert!(session.is_receiving() && !session.blocks(5) && session.upload().is_none());
    assert_eq!((session.welcome(), session.deadline()), (5, None));
    drive.write(owner, b"he");
    drive.write(owner, b"llo");
    drive.end(owner);
    assert_eq!(drive.answer(owner), told(201, "5"));
    let upload: String = drive.response(owner).header("Location").unwrap().into();
    assert_eq!(drive.head(&upload), told(200, "5"));
    assert_eq!(drive.send(&upload, 5, b" you", &[]), told(204, "9"));
    assert_eq!(drive.get(&upload, &[]), (200, b"hello you".to_vec()));
}

#[test]
fn whatever_ends_a_small_body_its_upload_is_made() {
    let wrong = [("Upload-Checksum", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=")];
    let right = [("Upload-Checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
    let mut trailers = Trailers::default();
    trailers.push(wrong[0].0, wrong[0].1.as_bytes());
    let cut = |session: &mut Session<MemoryStore>| session.cut_body(NOW, Cut::HalfClosed);
    let end = |session: &mut Session<MemoryStore>| session.end_body(NOW, Trailers::default());
    let shut_down = |session: &mut Session<MemoryStore>| session.cancel(NOW, Cancel::Shutdown);
    let trailed = |session: &mut Session<MemoryStore>| session.end_body(NOW, trailers.clone());
    type Ends<'a> = &'a dyn Fn(&mut Session<MemoryStore>);
    for (fields, ends, status, offset) in [
        (&[][..], &cut as Ends<'_>, 400, "5"),
        (&right, &cut, 400, "0"),
        (&right, &end, 201, "5"),
        (&wrong, &end, 460, "0"),
        (&[], &trailed, 460, "0"),
        (&[], &shut_down, 503, "5"),
        (&[], &end, 201, "5"),
    ] {
        let mut drive = drive();
        let owner = post(&mut drive, 9, 5, fields);
        drive.write(owner, b"hello");
        ends(drive.session(owner));
        drive.settle();
        assert_eq!(drive.response(owner).status(), status, "{fields:?}");
        let upload: String = drive.response(owner).header("Location").unwrap().into();
        assert_eq!(drive.head(&upload), told(200, offset), "{fields:?}");
    }
}

#[test]
fn a_small_body_can_be_written_by_a_worker() {
    let mut drive = drive();
    let owner = post(&mut drive, 5, 5, &[]);
    let mut sink = drive.session(owner).lend().unwrap();
    drive.end(owner);
    assert!(sink.splice_target().unwrap().is_none());
    let result = sink.write(&mut &b"hello"[..]);
    drive.session(owner).give_back(NOW, sink, result);
    drive.settle();
    assert_eq!(drive.answer(owner), told(201, "5"));
}

#[test]
fn a_body_that_the_store_does_not_reserve_memory_for_comes_after_its_upload() {
    let mut drive = drive();
    let body = vec![7; 17 << 10];
    let owner = post(&mut drive, body.len() as u64, body.len() as u64, &[]);
    assert!(drive.session(owner).upload().is_some());
    drive.write(owner, &body);
    drive.end(owner);
    assert_eq!(drive.answer(owner), told(201, "17408"));
    let mut drive = Drive::new(Slow::default());
    let owner = post(&mut drive, 5, 5, &[]);
    assert!(!drive.session(owner).is_receiving());
    drive.store.answer();
    drive.settle();
    drive.write(owner, b"hello");
    drive.end(owner);
    assert_eq!(drive.answer(owner), told(201, "5"));
}

/// A sink that is to be handed out, and the ticket for it.
type Held = (Opened<<MemoryStore as Store>::Sink>, Ticket<Opened<<MemoryStore as Store>::Sink>>);

/// A store that opens sinks when it is told to.
#[derive(Debug, Default)]
struct Slow(MemoryStore, Arc<Mutex<Vec<Held>>>);

impl Slow {
    fn answer(&self) {
        let held = std::mem::take(&mut *self.1.lock().unwrap());
        held.into_iter().for_each(|(opened, ticket)| ticket.answer(opened));
    }
}

impl Store for Slow {
    type Sink = <MemoryStore as Store>::Sink;
    type Staged = <MemoryStore as Store>::Staged;
    type Source = <MemoryStore as Store>::Source;

    fn first_fence(&self) -> Fence {
        self.0.first_fence()
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        self.0.load(id, later)
    }

    fn append(
        &self,
        grant: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Self::Sink>>,
    ) -> Answer<Opened<Self::Sink>> {
        let Answer::Now(opened) = self.0.append(grant, || unreachable!()) else { unreachable!() };
        self.1.lock().unwrap().push((opened, later()));
        Answer::Later
    }

    fn change(
        &self,
        change: Change<Self::Staged>,
        later: impl FnOnce() -> Ticket<Changed>,
    ) -> Answer<Changed> {
        self.0.change(change, later)
    }

    fn digest(
        &self,
        staged: &Self::Staged,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        self.0.digest(staged, range, algorithm, later)
    }

    fn open(
        &self,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<Opened<Self::Source>>,
    ) -> Answer<Opened<Self::Source>> {
        self.0.open(id, later)
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        self.0.due_events(query, later)
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        self.0.keep_events(events, wake);
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        self.0.flush(ticket);
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.0.close(ticket);
    }
}

#[test]
fn no_byte_is_wanted_before_the_sink_is_here() {
    let mut drive = Drive::new(Slow::default());
    let upload = drive.create(2, &[]);
    let owner = drive.patch(&upload, 0, 2, &[]);
    assert!(!drive.session(owner).is_receiving() && drive.session(owner).has_open_body());
    drive.store.answer();
    drive.settle();
    assert!(drive.session(owner).is_receiving());
    drive.write(owner, b"ab");
    drive.end(owner);
    assert_eq!(drive.answer(owner), told(204, "2"));
}

#[test]
fn a_request_that_is_stopped_while_its_sink_opens_ends_once_it_is_here() {
    let mut drive = Drive::new(Slow::default());
    let upload = drive.create(2, &[]);
    let owner = drive.patch(&upload, 0, 2, &[]);
    drive.session(owner).cancel(NOW, Cancel::Shutdown);
    drive.settle();
    assert!(!drive.running[&owner].done);
    drive.store.answer();
    drive.settle();
    assert_eq!(drive.response(owner).status(), 503);
    assert_eq!(drive.head(&upload), told(200, "0"));
}
