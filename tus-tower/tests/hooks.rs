//! Hooks of both kinds, and how they are told of what has happened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use support::{Stores, call, create, offset, patch};
use tus_tower::{
    AsyncHooks, Hooks, Tus, TusHandle,
    tus_driver::{
        MemoryStore,
        hooks::{
            Amend, Changes, Creation, DataFile, Hook, HookError, Incoming, Metadata, Reject,
            Request as HookRequest, Upload,
        },
    },
    tus_proto::UploadId,
    tus_redb::{Options, Store},
};

fn post(user: Option<&str>) -> Request<Full<Bytes>> {
    let mut post = Request::post("/files").header("tus-resumable", "1.0.0").header("upload-length", 5);
    if let Some(user) = user {
        post = post.header("x-user", user);
    }
    post.body(Full::default()).unwrap()
}

/// Whoever says a name may create uploads; they are called after it.
struct Names;

impl AsyncHooks for Names {
    async fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
        tokio::task::yield_now().await;
        match incoming.request.header("X-User") {
            Some(_) => Ok(()),
            None => Err(Reject::with(401).body("who?\n").into()),
        }
    }

    async fn on_upload_create(&self, creation: &Creation<'_>) -> Result<Changes, HookError> {
        let user = creation.request.header("X-User").unwrap_or_default();
        let metadata = Metadata::from_pairs([("owner", user)])?;
        Ok(Changes::none()
            .id(UploadId::new(user).ok_or("a bad name").map_err(HookError::failed)?)
            .metadata(metadata))
    }
}

#[tokio::test]
async fn an_async_hook_rejects_and_changes() {
    let tus = Tus::builder(MemoryStore::default()).async_hooks(Names).build().unwrap();
    let refused = call(&tus, post(None)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "who?\n");
    let created = call(&tus, post(Some("ada"))).await;
    assert_eq!(created.headers()["location"], "/files/ada");
    assert_eq!(call(&tus, post(Some("a b"))).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// Never returns, and says when it is dropped.
struct Hangs(Arc<AtomicBool>);

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl AsyncHooks for Hangs {
    async fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
        let _dropped = OnDrop(self.0.clone());
        match incoming.request.header("X-User") {
            Some(_) => panic!("a hook's fault, on purpose"),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_async_hook_that_hangs_is_dropped_at_its_deadline() {
    let dropped = Arc::new(AtomicBool::new(false));
    let tus = Tus::builder(MemoryStore::default()).async_hooks(Hangs(dropped.clone())).build().unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(call(&tus, post(None)).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(begun.elapsed().as_secs(), 30);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(dropped.load(Ordering::Acquire));
    assert!(tus.handle().is_idle());
    // One that panics is answered at once.
    let begun = tokio::time::Instant::now();
    assert_eq!(call(&tus, post(Some("x"))).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(begun.elapsed().as_secs() < 1);
}

#[tokio::test]
async fn functions_may_block_and_one_that_hangs_holds_up_nobody_else() {
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let hooks = Hooks::new().on_incoming_request(move |incoming| {
        match incoming.request.header("X-User") {
            Some("hang") => drop(hold.lock().unwrap().recv()),
            Some(_) => {}
            None => return Err(Reject::with(403).into()),
        }
        Ok(())
    });
    let limits = |limits: &mut tus_tower::Limits| limits.hook_timeout = Duration::from_millis(200);
    let tus = Tus::builder(MemoryStore::default()).hooks(hooks).limits(limits).build().unwrap();
    let hanging = tokio::spawn(support::service(&tus, post(Some("hang"))));
    assert_eq!(call(&tus, post(None)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(call(&tus, post(Some("ada"))).await.status(), StatusCode::CREATED);
    assert_eq!(hanging.await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    drop(held);
}

/// Keeps what it is told, but for the first time.
#[derive(Default)]
struct Keeps {
    calls: AtomicU32,
    told: Mutex<Vec<(String, Vec<u64>)>>,
}

struct Told(Arc<Keeps>);

impl AsyncHooks for Told {
    fn wants(&self, hook: Hook) -> bool {
        matches!(hook, Hook::UploadComplete | Hook::UploadTerminate)
    }

    async fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
        if self.0.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            return Err(HookError::failed("not yet"));
        }
        let lengths = files.iter().map(|file| file.length).collect();
        self.0.told.lock().unwrap().push((upload.id.to_string(), lengths));
        Ok(())
    }

    async fn on_upload_terminate(&self, upload: &Upload) -> Result<(), HookError> {
        self.0.told.lock().unwrap().push((format!("-{}", upload.id), Vec::new()));
        Ok(())
    }
}

async fn told(keeps: &Keeps, count: usize) -> Vec<(String, Vec<u64>)> {
    loop {
        let told = keeps.told.lock().unwrap().clone();
        if told.len() >= count {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn uploads_and_deletes(tus: &Tus) -> String {
    let path = create(tus, 5).await;
    let patched = call(tus, patch(&path, 0, Full::<Bytes>::from("hello"))).await;
    assert_eq!(patched.status(), StatusCode::NO_CONTENT);
    path.rsplit('/').next().unwrap().to_owned()
}

async fn delete(tus: &Tus, id: &str) {
    let delete = Request::delete(format!("/files/{id}")).header("tus-resumable", "1.0.0");
    call(tus, delete.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(offset(tus, &format!("/files/{id}")).await, None);
}

#[tokio::test]
async fn what_became_of_an_upload_is_told_until_it_is_taken_note_of() {
    let dir = tempfile::TempDir::new().unwrap();
    let options = Options { inline_bytes: 0, ..Options::default() };
    let keeps = Arc::new(Keeps::default());
    let limits = |limits: &mut tus_tower::Limits| limits.hook_pause = Duration::from_millis(1);
    let store = Store::open(dir.path(), &options).unwrap();
    let tus = Tus::builder(store).async_hooks(Told(keeps.clone())).limits(limits).build().unwrap();
    let id = uploads_and_deletes(&tus).await;
    assert_eq!(told(&keeps, 1).await, [(id.clone(), vec![5])]);
    delete(&tus, &id).await;
    assert_eq!(told(&keeps, 2).await[1], (format!("-{id}"), vec![]));
    tus.handle().shutdown().await.unwrap();

    // What was taken note of is not told again.
    drop(tus);
    let store = Stores::redb_in(dir.path()).await;
    let tus = Tus::builder(store).async_hooks(Told(keeps.clone())).build().unwrap();
    let other = uploads_and_deletes(&tus).await;
    assert_eq!(told(&keeps, 3).await[2].0, other);
}

#[tokio::test]
async fn functions_are_told_by_every_store() {
    let (tell, heard) = std::sync::mpsc::channel();
    let hooks = Hooks::new().on_upload_complete(move |upload, _| Ok(tell.send(upload.id.to_string())?));
    let tus = Tus::builder(MemoryStore::default()).hooks(hooks).build().unwrap();
    let id = uploads_and_deletes(&tus).await;
    let heard = tokio::task::spawn_blocking(move || heard.recv().unwrap()).await.unwrap();
    assert_eq!(heard, id);
}

/// Says of which request an event is.
struct Requests(tokio::sync::mpsc::UnboundedSender<String>);

impl Requests {
    fn tell(&self, upload: &Upload) {
        let told = upload.request().map(|request| {
            let (method, target, remote) = (request.method(), request.target(), request.remote());
            format!("{method} {target} {:?} {remote:?}", request.header("x-user"))
        });
        self.0.send(told.unwrap_or_default()).unwrap();
    }
}

impl AsyncHooks for Requests {
    fn wants_requests(&self) -> bool {
        true
    }

    async fn on_upload_created(&self, upload: &Upload) -> Result<(), HookError> {
        self.tell(upload);
        Ok(())
    }

    async fn on_upload_complete(&self, upload: &Upload, _: &[DataFile]) -> Result<(), HookError> {
        self.tell(upload);
        Ok(())
    }
}

#[tokio::test]
async fn an_event_carries_the_request_that_made_it_true() {
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let tus = Tus::builder(MemoryStore::default()).async_hooks(Requests(tell)).build().unwrap();
    let mut create = post(Some("ada"));
    let remote: std::net::SocketAddr = "192.0.2.1:7".parse().unwrap();
    create.extensions_mut().insert(remote);
    let created = call(&tus, create).await;
    let path = created.headers()["location"].to_str().unwrap();
    assert_eq!(heard.recv().await.unwrap(), format!("POST /files Some(\"ada\") Some({remote:?})"));
    call(&tus, patch(path, 0, Full::<Bytes>::from("hello"))).await;
    assert_eq!(heard.recv().await.unwrap(), format!("PATCH {path} None None"));
}

/// Chooses the last answer, and takes its time.
struct Finishes(tokio::sync::mpsc::UnboundedSender<&'static str>);

impl AsyncHooks for Finishes {
    async fn on_before_finish(&self, _: HookRequest<'_>, _: &Upload) -> Result<Amend, HookError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.send("finish").unwrap();
        Ok(Amend::none())
    }

    async fn on_upload_complete(&self, _: &Upload, _: &[DataFile]) -> Result<(), HookError> {
        self.0.send("complete").unwrap();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_told_after_its_answer_was_chosen() {
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let tus = Tus::builder(MemoryStore::default()).async_hooks(Finishes(tell)).build().unwrap();
    uploads_and_deletes(&tus).await;
    assert_eq!([heard.recv().await, heard.recv().await], [Some("finish"), Some("complete")]);
}

/// Holds until it is let go.
struct Slow {
    begun: tokio::sync::Notify,
    go: tokio::sync::Notify,
    done: AtomicBool,
}

struct Slows(Arc<Slow>);

impl AsyncHooks for Slows {
    fn wants(&self, hook: Hook) -> bool {
        hook == Hook::UploadComplete
    }

    async fn on_upload_complete(&self, _: &Upload, _: &[DataFile]) -> Result<(), HookError> {
        self.0.begun.notify_one();
        self.0.go.notified().await;
        self.0.done.store(true, Ordering::Release);
        Ok(())
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_a_hook_that_is_told() {
    let slow =
        Arc::new(Slow { begun: Default::default(), go: Default::default(), done: AtomicBool::new(false) });
    let tus = Tus::builder(MemoryStore::default()).async_hooks(Slows(slow.clone())).build().unwrap();
    uploads_and_deletes(&tus).await;
    slow.begun.notified().await;
    let ending: TusHandle = tus.handle();
    let ended = tokio::spawn(async move { ending.shutdown().await });
    slow.go.notify_one();
    ended.await.unwrap().unwrap();
    assert!(slow.done.load(Ordering::Acquire));
}
