//! Hooks, as the server and the blocking entry call them: what they reject, change and veto, and what they are told
//! of, across failures and crashes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tests::{
    Answer, Request, Wire,
    client::{Client, Tcp},
    embed::{Embedded, handle},
    server::Running,
};
use tus_mio_server::{
    Blocking, Settings,
    hooks::{Changes, Chunk, Creation, DataFile, HookError, Hooks, Incoming, Reject, Upload},
};
use tus_proto::{Config, UploadId};
use tus_redb::Durability;

/// How long what must come may take. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hooks that a test may want.
#[derive(Clone, Copy)]
enum Hook {
    IncomingRequest,
    UploadCreate,
    ChunkReceived,
    BeforeTerminate,
    UploadComplete,
    UploadTerminate,
}

/// A shop with customers. What it is told of goes to who watches it: `+` and the upload's name and bytes when it is
/// complete, `-` and its name when it is gone.
struct Shop {
    subscriptions: Vec<Hook>,
    told: Mutex<Sender<String>>,
    /// Uploads whose events the shop fails to take note of, and how often.
    failures: Mutex<BTreeMap<String, usize>>,
    /// What a hook waits for that is told of an upload named `held`.
    gate: Mutex<Receiver<()>>,
}

/// What a test has of a shop.
struct Watch {
    told: Receiver<String>,
    gate: Sender<()>,
}

impl Shop {
    fn new(subscriptions: &[Hook]) -> (Self, Watch) {
        let (sender, told) = channel();
        let (gate, wait) = channel();
        let (failures, wait) = (Mutex::default(), Mutex::new(wait));
        let shop =
            Self { subscriptions: subscriptions.into(), told: Mutex::new(sender), failures, gate: wait };
        (shop, Watch { told, gate })
    }

    fn failing(self, name: &str, times: usize) -> Self {
        self.failures.lock().unwrap().insert(name.into(), times);
        self
    }

    fn tell(&self, sign: char, upload: &Upload, bytes: &str) -> Result<(), HookError> {
        let name = upload.metadata.get_str("name").unwrap_or("nameless");
        if name == "held" {
            let _ = self.told.lock().unwrap().send(format!("held{sign}"));
            let _ = self.gate.lock().unwrap().recv();
        }
        let mut failures = self.failures.lock().unwrap();
        if let Some(left) = failures.get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            return Err(HookError::failed("not now"));
        }
        // Nobody may be watching any more.
        let _ = self.told.lock().unwrap().send(format!("{sign}{name}{bytes}"));
        Ok(())
    }
}

impl Shop {
    /// Those of its hooks that it was made for.
    fn hooks(self) -> Hooks {
        let shop = Arc::new(self);
        shop.subscriptions.iter().fold(Hooks::new(), |hooks, hook| {
            let shop = shop.clone();
            match hook {
                Hook::IncomingRequest => {
                    hooks.on_incoming_request(move |incoming| shop.on_incoming_request(incoming))
                }
                Hook::UploadCreate => hooks.on_upload_create(move |creation| shop.on_upload_create(creation)),
                Hook::ChunkReceived => hooks.on_chunk_received(move |chunk| shop.on_chunk_received(chunk)),
                Hook::BeforeTerminate => {
                    hooks.on_before_terminate(move |_, upload| shop.on_before_terminate(upload))
                }
                Hook::UploadComplete => {
                    hooks.on_upload_complete(move |upload, files| shop.on_upload_complete(upload, files))
                }
                Hook::UploadTerminate => {
                    hooks.on_upload_terminate(move |upload| shop.on_upload_terminate(upload))
                }
            }
        })
    }

    fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
        match incoming.request.header("X-Do") {
            Some("panic") => panic!("as it was told to"),
            Some("fail") => Err("no number".parse::<u32>().unwrap_err())?,
            Some("hang") => {
                self.told.lock().unwrap().send("hangs".into()).unwrap();
                let _ = self.gate.lock().unwrap().recv();
            }
            _ => {}
        }
        let Some(customer) = incoming.request.header("X-Customer") else {
            return Err(Reject::with(401).header("WWW-Authenticate", "Shop").body("who are you?\n").into());
        };
        let mut owners = incoming.uploads().filter_map(|upload| upload.metadata.get_str("owner"));
        if owners.any(|owner| owner != customer) { Err(Reject::with(401).into()) } else { Ok(()) }
    }

    fn on_upload_create(&self, creation: &Creation<'_>) -> Result<Changes, HookError> {
        if creation.upload.length > Some(1000) {
            return Err(Reject::with(402).header("X-Price", "3").body("too much\n").into());
        }
        let mut metadata = creation.upload.metadata.clone();
        metadata.set("owner", creation.request.header("X-Customer").unwrap_or("nobody"))?;
        let changes = Changes::none();
        let id = metadata.get_str("id").and_then(UploadId::new);
        let changes = id.into_iter().fold(changes, Changes::id);
        Ok(changes.metadata(metadata))
    }

    fn on_chunk_received(&self, chunk: &Chunk<'_>) -> Result<(), HookError> {
        if chunk.offset == 3 { Err(Reject::with(418).body("not three\n").into()) } else { Ok(()) }
    }

    fn on_before_terminate(&self, upload: &Upload) -> Result<(), HookError> {
        match upload.metadata.get_str("keep") {
            Some(_) => Err(Reject::with(409).body("it is kept\n").into()),
            None => Ok(()),
        }
    }

    fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
        // One sign a file.
        let mut bytes = "=".repeat(files.len().max(1));
        for file in files {
            file.open()?.read_to_string(&mut bytes)?;
        }
        self.tell('+', upload, &bytes)
    }

    fn on_upload_terminate(&self, upload: &Upload) -> Result<(), HookError> {
        self.tell('-', upload, "")
    }
}

impl Watch {
    #[track_caller]
    fn next(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("the hook should be told")
    }

    fn is_quiet(&self) -> bool {
        self.told.try_recv().is_err()
    }
}

fn config() -> Config {
    Config::builder().downloads(true).build().unwrap()
}

fn server(shop: Shop, change: impl FnOnce(&mut Settings)) -> Running {
    server_in(Arc::new(TempDir::new().unwrap()), shop, change)
}

fn server_in(dir: Arc<TempDir>, shop: Shop, change: impl FnOnce(&mut Settings)) -> Running {
    Running::start_in(dir, |settings| {
        settings.protocol = config();
        settings.hooks = shop.hooks();
        settings.hook_pause = Duration::from_millis(1);
        settings.shutdown_timeout = PATIENCE;
        change(settings);
    })
}

/// The same shop's hooks behind the server, and behind the blocking entry.
fn both(subscriptions: &[Hook], test: impl Fn(&mut dyn Wire, &Watch)) {
    let (shop, watch) = Shop::new(subscriptions);
    test(&mut Embedded::with_hooks(config(), shop.hooks()), &watch);
    let (shop, watch) = Shop::new(subscriptions);
    let server = server(shop, |_| {});
    test(&mut Tcp::new(server.address()), &watch);
}

/// A creation of an upload of so many bytes by this customer. Metadata are pairs of a key and a value in Base64.
fn post(customer: &str, length: usize, metadata: &str) -> Request {
    Request::post()
        .with("X-Customer", customer)
        .with("Upload-Length", length)
        .with("Upload-Metadata", metadata)
}

fn at(location: &str, customer: &str, request: Request) -> Request {
    Request { target: location.into(), ..request }.with("X-Customer", customer)
}

fn create(wire: &mut dyn Wire, customer: &str, length: usize, metadata: &str) -> String {
    let answer = wire.send(&post(customer, length, metadata));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.value("Location").unwrap().to_owned()
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status, str::from_utf8(&answer.body).unwrap())
}

/// `name` and one of them, for metadata.
const A: &str = "name YQ==";
const BAD: &str = "name YmFk";
const HELD: &str = "name aGVsZA==";

#[test]
fn nobody_but_its_owner_gets_at_an_upload() {
    both(&[Hook::IncomingRequest, Hook::UploadCreate], |wire, _| {
        let nobody = wire.send(&Request::post().with("Upload-Length", 5));
        assert_eq!(said(&nobody), (401, "who are you?\n"));
        assert_eq!(nobody.value("WWW-Authenticate"), Some("Shop"));
        let upload = create(wire, "ann", 5, A);
        let get = || Request::bare("GET", "");
        for request in [Request::head(), Request::patch(0).sized("hello"), get(), Request::delete()] {
            let answer = wire.send(&at(&upload, "bob", request.clone()));
            assert_eq!(answer.status, 401, "{request:?}");
            let answer = wire.send(&Request { target: upload.clone(), ..request });
            assert_eq!(answer.status, 401);
        }
        assert_eq!(wire.send(&at(&upload, "ann", Request::patch(0).sized("hello"))).status, 204);
        let got = wire.send(&at(&upload, "ann", get()));
        assert_eq!(said(&got), (200, "hello"));
        assert_eq!(wire.send(&at(&upload, "ann", Request::delete())).status, 204);
        // There is none any more that could be somebody's.
        assert_eq!(wire.send(&at(&upload, "bob", Request::head())).status, 404);
        assert_eq!(wire.send(&Request::bare("OPTIONS", "/files")).status, 204);
    });
}

#[test]
fn nobody_gets_at_an_upload_by_a_final_of_it() {
    both(&[Hook::IncomingRequest, Hook::UploadCreate], |wire, _| {
        let [ours, theirs] = ["ann", "bob"].map(|customer| {
            let part = wire.send(&post(customer, 0, A).with("Upload-Concat", "partial"));
            part.value("Location").unwrap().to_owned()
        });
        let of = |parts: &str| {
            Request::post().with("X-Customer", "bob").with("Upload-Concat", format!("final;{parts}"))
        };
        for parts in [&ours, &format!("{theirs} {ours}"), &format!("{ours} /files/none")] {
            let answer = wire.send(&of(parts));
            assert_eq!((answer.status, answer.value("Location")), (401, None), "{parts}");
        }
        let unknown = wire.send(&of(&format!("{theirs} /files/none")));
        assert_eq!((unknown.status, unknown.value("Location")), (400, None));
        assert_eq!(wire.send(&of(&format!("{theirs} {theirs}"))).status, 201);
    });
}

#[test]
fn a_hook_that_is_given_is_called_and_others_cost_no_call() {
    let hooks = Hooks::new();
    assert!(hooks.is_empty());
    let hooks = hooks.on_incoming_request(|_| Err(Reject::with(418).into()));
    assert_eq!((hooks.is_empty(), format!("{hooks:?}").as_str()), (false, "[\"on_incoming_request\"]"));
    let answer = Embedded::with_hooks(config(), hooks.clone()).send(&post("ann", 5, A));
    assert_eq!(answer.status, 418);
    let server = Running::start(|settings| settings.hooks = hooks);
    assert_eq!(Tcp::new(server.address()).send(&post("ann", 5, A)).status, 418);
}

#[test]
fn a_creation_is_changed_or_refused() {
    both(&[Hook::UploadCreate], |wire, _| {
        let upload = create(wire, "ann", 5, "id bWluZQ==,b Yg==");
        assert!(upload.ends_with("/files/mine"), "{upload}");
        let head = wire.send(&at(&upload, "", Request::head()));
        assert_eq!(head.value("Upload-Metadata"), Some("id bWluZQ==,b Yg==,owner YW5u"));
        let refused = wire.send(&post("ann", 1001, "id bW9yZQ=="));
        assert_eq!(said(&refused), (402, "too much\n"));
        assert_eq!((refused.value("X-Price"), refused.value("Location")), (Some("3"), None));
        assert_eq!(wire.send(&at("/files/more", "ann", Request::head())).status, 404);
    });
}

#[test]
fn a_deletion_may_be_vetoed_and_an_upload_stopped() {
    let hooks = [Hook::BeforeTerminate, Hook::ChunkReceived, Hook::UploadTerminate];
    both(&hooks, |wire, watch| {
        let kept = create(wire, "ann", 5, "name YQ==,keep");
        assert_eq!(said(&wire.send(&at(&kept, "ann", Request::delete()))), (409, "it is kept\n"));
        assert_eq!(wire.send(&at(&kept, "ann", Request::patch(0).sized("he"))).status, 204);
        let stopped = wire.send(&at(&kept, "ann", Request::patch(2).sized("l")));
        assert_eq!(said(&stopped), (418, "not three\n"));
        assert_eq!(wire.send(&at(&kept, "ann", Request::head())).status, 404);
        assert_eq!(watch.next(), "-a");
        let other = create(wire, "ann", 5, BAD);
        assert_eq!(wire.send(&at(&other, "ann", Request::delete())).status, 204);
        assert_eq!(watch.next(), "-bad");
    });
}

#[test]
fn what_became_of_an_upload_is_told_once_and_in_order() {
    both(&[Hook::UploadComplete, Hook::UploadTerminate], |wire, watch| {
        let upload = create(wire, "ann", 5, A);
        assert_eq!(wire.send(&at(&upload, "", Request::patch(0).sized("hel"))).status, 204);
        assert!(watch.is_quiet());
        assert_eq!(wire.send(&at(&upload, "", Request::patch(3).sized("lo"))).status, 204);
        assert_eq!(watch.next(), "+a=hello");
        assert_eq!(wire.send(&at(&upload, "", Request::delete())).status, 204);
        assert_eq!(watch.next(), "-a");
        create(wire, "ann", 0, BAD);
        assert_eq!(watch.next(), "+bad=");
        assert!(watch.is_quiet());
    });
}

/// What is told of a final of two parts.
fn told_of_a_final(wire: &mut dyn Wire, watch: &Watch) -> String {
    let parts = ["hello", "world"].map(|text| {
        let part = wire.send(&post("ann", 5, BAD).with("Upload-Concat", "partial"));
        let part = part.value("Location").unwrap().to_owned();
        assert_eq!(wire.send(&at(&part, "", Request::patch(0).sized(text))).status, 204);
        part
    });
    let concat = format!("final;{} {}", parts[0], parts[1]);
    let last = Request::post().with("Upload-Concat", concat).with("Upload-Metadata", A);
    assert_eq!(wire.send(&last).status, 201);
    let told = watch.next();
    assert!(watch.is_quiet(), "nothing is told of parts");
    told
}

#[test]
fn a_final_is_told_as_one_file_by_a_server_that_frees_its_parts_and_as_theirs_elsewhere() {
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let shared = server(shop, |_| {});
    assert_eq!(told_of_a_final(&mut Tcp::new(shared.address()), &watch), "+a==helloworld");
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let freed = server(shop, |settings| {
        settings.protocol = Config::builder().delete_parts(true).build().unwrap();
    });
    assert_eq!(told_of_a_final(&mut Tcp::new(freed.address()), &watch), "+a=helloworld");
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    assert_eq!(told_of_a_final(&mut Embedded::with_hooks(config(), shop.hooks()), &watch), "+a==helloworld");
}

#[test]
fn a_hook_that_fails_or_panics_is_an_internal_error_and_nothing_is_made() {
    both(&[Hook::IncomingRequest], |wire, _| {
        for what in ["panic", "fail"] {
            let answer = wire.send(&post("ann", 5, A).with("X-Do", what));
            assert_eq!((answer.status, answer.value("Location")), (500, None), "{what}");
            let head = wire.send(&at("/files/a", "ann", Request::head().with("X-Do", what)));
            assert_eq!(head.status, 423, "{what}");
        }
        create(wire, "ann", 5, A);
    });
}

#[test]
fn a_failing_hook_is_told_again_and_holds_up_no_other_upload() {
    let (shop, watch) = Shop::new(&[Hook::UploadComplete, Hook::UploadTerminate]);
    let server = server(shop.failing("bad", 3), |settings| settings.hook_pause = Duration::from_millis(300));
    let mut wire = Tcp::new(server.address());
    let bad = create(&mut wire, "ann", 0, BAD);
    assert_eq!(wire.send(&at(&bad, "", Request::delete())).status, 204);
    create(&mut wire, "ann", 0, A);
    // Which comes first is a matter of 300, 600 and 1200 ms against none.
    assert_eq!([watch.next(), watch.next(), watch.next()], ["+a=", "+bad=", "-bad"]);
    let metrics = wire.send(&Request::bare("GET", "/metrics"));
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "tus_hook_calls_total{hook=\"on_upload_complete\"} 5",
        "tus_hook_failures_total{hook=\"on_upload_complete\"} 3",
        "tus_hook_calls_total{hook=\"on_incoming_request\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn in_the_blocking_entry_what_failed_is_told_by_housekeeping() {
    let (shop, watch) = Shop::new(&[Hook::UploadComplete, Hook::UploadTerminate]);
    let mut wire = Embedded::with_hooks(config(), shop.failing("bad", 3).hooks());
    let bad = create(&mut wire, "ann", 0, BAD);
    assert_eq!(wire.uploads().store().engine().outbox_len(), Ok(1));
    // Its completion is tried before its termination is told.
    assert_eq!(wire.send(&at(&bad, "", Request::delete())).status, 204);
    create(&mut wire, "ann", 0, A);
    assert_eq!(watch.next(), "+a=");
    assert!(watch.is_quiet());
    wire.uploads().housekeeping().unwrap();
    assert!(watch.is_quiet());
    wire.uploads().housekeeping().unwrap();
    assert_eq!([watch.next(), watch.next()], ["+bad=", "-bad"]);
    assert_eq!(wire.uploads().store().engine().outbox_len(), Ok(0));
}

/// Deletes every upload when it is complete, by a request of its own.
struct Shredder {
    uploads: OnceLock<Blocking>,
    told: Mutex<Vec<char>>,
}

impl Shredder {
    fn shred(&self, upload: &Upload) -> Result<(), HookError> {
        let request = at(&format!("/files/{}", upload.id), "", Request::delete());
        let answer = handle(self.uploads.get().unwrap(), &request, std::io::empty());
        assert_eq!(answer.status(), 204);
        // Its own event is told when we have taken note of this one.
        self.told.lock().unwrap().push('+');
        Ok(())
    }
}

#[test]
fn a_hook_of_the_blocking_entry_may_send_requests_at_its_own_upload() {
    let shredder = Arc::new(Shredder { uploads: OnceLock::new(), told: Mutex::default() });
    let (shreds, notes) = (shredder.clone(), shredder.clone());
    let hooks = Hooks::new().on_upload_complete(move |upload, _| shreds.shred(upload));
    let hooks = hooks.on_upload_terminate(move |_| {
        notes.told.lock().unwrap().push('-');
        Ok(())
    });
    let mut wire = Embedded::with_hooks(config(), hooks);
    shredder.uploads.set(wire.uploads().clone()).unwrap();
    create(&mut wire, "ann", 0, A);
    assert_eq!(*shredder.told.lock().unwrap(), ['+', '-']);
    assert_eq!(wire.uploads().store().engine().outbox_len(), Ok(0));
}

#[test]
fn an_eventual_server_tells_what_is_durable() {
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let server = server(shop, |settings| settings.durability = Durability::Eventual);
    create(&mut Tcp::new(server.address()), "ann", 0, A);
    assert_eq!(watch.next(), "+a=");
}

#[test]
fn a_hook_that_hangs_costs_its_deadline_and_nobody_waits_longer() {
    let (shop, watch) = Shop::new(&[Hook::IncomingRequest]);
    let server = server(shop, |settings| {
        settings.hook_threads = 1;
        settings.hook_timeout = Duration::from_millis(50);
    });
    let mut wire = Tcp::new(server.address());
    assert_eq!(wire.send(&post("ann", 5, A).with("X-Do", "hang")).status, 500);
    // The only thread hangs still.
    assert_eq!(wire.send(&post("ann", 5, A)).status, 500);
    let metrics = String::from_utf8(wire.send(&Request::bare("GET", "/metrics")).body).unwrap();
    assert!(metrics.contains("tus_hook_timeouts_total{hook=\"on_incoming_request\"} 2\n"), "{metrics}");
    assert_eq!(wire.send(&Request::bare("OPTIONS", "/files")).status, 204);
    watch.gate.send(()).unwrap();
    let begun = Instant::now();
    while wire.send(&post("ann", 5, A)).status != 201 {
        assert!(begun.elapsed() < PATIENCE, "the thread should be there again");
    }
}

#[test]
fn a_shutdown_waits_for_a_hook_and_leaves_what_was_not_told() {
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let running = server(shop, |settings| settings.hook_threads = 1);
    let mut wire = Tcp::new(running.address());
    create(&mut wire, "ann", 0, HELD);
    assert_eq!(watch.next(), "held+");
    create(&mut wire, "ann", 0, A);
    drop(wire);
    running.handle().shutdown();
    watch.gate.send(()).unwrap();
    let dir = running.join().unwrap();
    assert_eq!(watch.next(), "+held=");
    assert!(watch.is_quiet());
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let _running = server_in(dir, shop, |_| {});
    assert_eq!(watch.next(), "+a=");
}

#[test]
fn a_hook_that_never_returns_holds_up_no_shutdown() {
    let (shop, watch) = Shop::new(&[Hook::IncomingRequest, Hook::UploadComplete]);
    let running = server(shop, |settings| {
        settings.shutdown_timeout = Duration::from_millis(50);
        settings.hook_timeout = 100 * PATIENCE;
    });
    let mut wire = Tcp::new(running.address());
    create(&mut wire, "ann", 0, HELD);
    assert_eq!(watch.next(), "held+");
    let mut hanging = Client::connect(running.address());
    hanging.request(&post("ann", 5, A).with("X-Do", "hang"));
    assert_eq!(watch.next(), "hangs");
    drop(wire);
    running.handle().shutdown();
    let begun = Instant::now();
    let dir = running.join().unwrap();
    assert!(begun.elapsed() < PATIENCE, "it must wait for no hook");
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let _running = server_in(dir, shop, |_| {});
    assert_eq!(watch.next(), "held+");
    watch.gate.send(()).unwrap();
    assert_eq!(watch.next(), "+held=");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_completion_is_told_though_the_server_was_killed() {
    let dir = Arc::new(TempDir::new().unwrap());
    let mut process = Command::new(env!("CARGO_BIN_EXE_hanging-hook"));
    process.arg(dir.path().join("data")).stdout(Stdio::piped());
    let mut process = Killed(process.spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut wire = Tcp::new(lines.next().unwrap().parse().unwrap());
    let upload = create(&mut wire, "ann", 5, A);
    assert_eq!(wire.send(&at(&upload, "", Request::patch(0).sized("hello"))).status, 204);
    // It is told, and killed before it could take note.
    assert!(upload.ends_with(&lines.next().unwrap()));
    drop(process);
    let (shop, watch) = Shop::new(&[Hook::UploadComplete]);
    let _running = server_in(dir, shop, |_| {});
    assert_eq!(watch.next(), "+a=hello");
}
