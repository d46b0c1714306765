//! The service by itself: how it is built, how it reads bodies, and what is left when nobody waits any more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Channel, Full, StreamBody};
use support::{Stores, call, create, offset, patch};
use tus_tower::{
    TokioExecutor, Tus,
    tus_driver::{Class, Executor, Job, MemoryStore, Task},
    tus_proto::{Config, Instant, Now},
    tus_redb::{NoObserver, RedbStore},
};

#[test]
fn it_can_not_be_built_without_a_runtime() {
    let error = Tus::builder(MemoryStore::default()).build().unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[tokio::test]
async fn a_store_may_be_open_before_its_service_is_built() {
    let executor = TokioExecutor::new(1).unwrap();
    let (engine, _dir) = Stores::redb();
    let store = RedbStore::start(engine, executor.to_dyn(), Box::new(NoObserver), Duration::from_secs(60));
    let tus = Tus::builder(move |_: Arc<dyn Executor>| store).executor(executor).build().unwrap();
    let path = create(&tus, 5).await;
    call(&tus, patch(&path, 0, Full::<Bytes>::from("hello"))).await;
    assert_eq!(offset(&tus, &path).await, Some(5));
    tus.handle().shutdown().await.unwrap();
}

#[tokio::test]
async fn an_upload_comes_and_goes_with_every_store() {
    let config = Config::builder().downloads(true).build().unwrap();
    for (name, tus, _dir) in Stores::each(config) {
        let path = create(&tus, 600_000).await;
        let body: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
        let response = call(&tus, patch(&path, 0, Full::<Bytes>::from(body.clone()))).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{name}");
        assert_eq!(response.headers()["upload-offset"], "600000");
        let request = Request::get(&path).body(Full::<Bytes>::default()).unwrap();
        let response = call(&tus, request).await;
        assert_eq!(response.body().size_hint().exact(), Some(600_000));
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body, "{name}");
        let delete = Request::delete(&path).header("tus-resumable", "1.0.0");
        let response = call(&tus, delete.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(offset(&tus, &path).await, None);
        tus.handle().shutdown().await.unwrap();
        assert!(tus.handle().is_idle());
    }
}

#[tokio::test]
async fn what_had_arrived_is_committed_when_the_future_is_dropped() {
    for (name, tus, _dir) in Stores::each(Config::default()) {
        let path = create(&tus, 100).await;
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
        let mut request = patch(&path, 0, body);
        request.headers_mut().insert("content-length", 100.into());
        let mut response = Box::pin(support::service(&tus, request));
        sender.send_data("hello ".into()).await.unwrap();
        assert!(futures_poll(&mut response).await.is_pending());
        sender.send_data("world".into()).await.unwrap();
        drop(response);
        // The lock is free: a deletion of it would wait otherwise, a second writer too.
        while tus.handle().requests() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(tus.handle().is_idle(), "{name}");
        assert_eq!(offset(&tus, &path).await, Some(11), "{name}");
        drop(sender);
    }
}

#[tokio::test]
async fn a_future_that_is_never_polled_does_nothing() {
    let tus = Tus::builder(MemoryStore::default()).build().unwrap();
    let path = create(&tus, 5).await;
    drop(support::service(&tus, patch(&path, 0, Full::<Bytes>::from("hello"))));
    assert!(tus.handle().is_idle());
    assert_eq!(offset(&tus, &path).await, Some(0));
}

/// A body that panics when it is read.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("a body's fault, on purpose");
    }
}

#[tokio::test]
async fn a_body_that_panics_costs_its_own_request_alone() {
    let (store, _dir) = Stores::redb();
    let tus = Tus::builder(store).build().unwrap();
    let path = create(&tus, 5).await;
    let response = tokio::spawn(support::service(&tus, patch(&path, 0, Panics)));
    assert!(matches!(response.await, Err(error) if error.is_panic()));
    assert!(tus.handle().is_idle());
    let response = call(&tus, patch(&path, 0, Full::<Bytes>::from("hello"))).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_body_of_a_request_that_is_refused_by_its_head_is_not_asked_for() {
    let tus = Tus::builder(MemoryStore::default()).build().unwrap();
    let path = create(&tus, 5).await;
    let mut request = patch(&path, 3, Panics);
    request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    assert_eq!(call(&tus, request).await.status(), StatusCode::CONFLICT);
    assert!(tus.handle().is_idle());
}

#[tokio::test]
async fn a_checksum_may_come_as_a_trailer() {
    for (sum, status) in
        [("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=", 204), ("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 460)]
    {
        let tus = Tus::builder(MemoryStore::default()).build().unwrap();
        let path = create(&tus, 5).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("upload-checksum", HeaderValue::from_static(sum));
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
        sender.send_data("hello".into()).await.unwrap();
        sender.send_trailers(trailers).await.unwrap();
        drop(sender);
        let mut request = patch(&path, 0, body);
        request.headers_mut().insert("trailer", HeaderValue::from_static("Upload-Checksum"));
        assert_eq!(call(&tus, request).await.status(), status);
    }
}

#[tokio::test]
async fn a_shutdown_ends_bodies_with_what_had_arrived_and_rejects_the_rest() {
    let (store, dir) = Stores::redb();
    let tus = Tus::builder(store).limits(|limits| limits.shutdown_timeout = Duration::ZERO).build().unwrap();
    let path = create(&tus, 100).await;
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    sender.send_data("hello".into()).await.unwrap();
    let response = tokio::spawn(support::service(&tus, patch(&path, 0, body)));
    while offset(&tus, &path).await != Some(5) {
        tokio::task::yield_now().await;
    }
    sender.send_data(" world".into()).await.unwrap();
    tus.handle().shutdown().await.unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let late = call(&tus, patch(&path, 5, Full::<Bytes>::from("x"))).await;
    assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(tus);
    let store = Stores::redb_in(dir.path()).await;
    let tus = Tus::builder(store).build().unwrap();
    let offset = offset(&tus, &path).await.unwrap();
    assert!(offset == 5 || offset == 11, "{offset}");
}

/// Commits nothing while it is shut.
struct Gate {
    inner: Arc<dyn Executor>,
    shut: Arc<AtomicBool>,
}

impl Executor for Gate {
    fn run(&self, class: Class, job: Job) {
        if class == Class::Commit && self.shut.load(Ordering::Acquire) {
            let (inner, shut) = (self.inner.clone(), self.shut.clone());
            let again = Self { inner: inner.clone(), shut };
            let at = self.now().monotonic.after(Duration::from_millis(1));
            return inner.at(at, Box::new(move || again.run(class, job)));
        }
        self.inner.run(class, job);
    }

    fn at(&self, when: Instant, job: Job) {
        self.inner.at(when, job);
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        self.inner.spawn(task)
    }

    fn now(&self) -> Now {
        self.inner.now()
    }

    fn random(&self, out: &mut [u8]) -> bool {
        self.inner.random(out)
    }
}

/// A service whose store commits nothing while it is shut, and 64 KiB at once else.
fn gated() -> (Tus, Arc<AtomicBool>, tempfile::TempDir) {
    let shut = Arc::new(AtomicBool::new(false));
    let (engine, dir) = Stores::redb();
    let gate = shut.clone();
    let open = move |inner: Arc<dyn Executor>| {
        let gate = Arc::new(Gate { inner, shut: gate });
        RedbStore::start(engine, gate, Box::new(NoObserver), Duration::from_secs(60))
    };
    let config = Config::builder().checkpoint_bytes(64 << 10).build().unwrap();
    (Tus::builder(open).config(config).build().unwrap(), shut, dir)
}

#[tokio::test]
async fn a_body_waits_for_the_store() {
    let (tus, shut, _dir) = gated();
    let path = create(&tus, 4 << 20).await;
    shut.store(true, Ordering::Release);
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    let frames = (0..256).map(move |_| {
        counted.fetch_add(16 << 10, Ordering::AcqRel);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 16 << 10])))
    });
    let response =
        tokio::spawn(support::service(&tus, patch(&path, 0, StreamBody::new(support::Iter(frames)))));
    let mut before = u64::MAX;
    while taken.load(Ordering::Acquire) != before || before == 0 {
        before = taken.load(Ordering::Acquire);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before <= 64 << 12, "{before}");
    shut.store(false, Ordering::Release);
    assert_eq!(response.await.unwrap().headers()["upload-offset"], (4 << 20).to_string());
}

#[tokio::test]
async fn a_head_is_told_what_had_arrived_though_the_store_lags() {
    let (tus, shut, _dir) = gated();
    let path = create(&tus, 4 << 20).await;
    shut.store(true, Ordering::Release);
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let _response = tokio::spawn(support::service(&tus, patch(&path, 0, body)));
    // As much as is staged without a commit, and some that is read ahead.
    let piece = Bytes::from(vec![7; 16 << 10]);
    for _ in 0..12 {
        sender.send_data(piece.clone()).await.unwrap();
    }
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    let mut head = Box::pin(offset(&tus, &path));
    for _ in 0..100 {
        assert_eq!(futures_poll(&mut head).await, Poll::Pending, "nothing is committed");
        tokio::task::yield_now().await;
    }
    shut.store(false, Ordering::Release);
    assert_eq!(head.await, Some(12 * (16 << 10)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_or_drips_is_ended_in_time() {
    let tus = Tus::builder(MemoryStore::default()).build().unwrap();
    for drip in [false, true] {
        let path = create(&tus, 1000).await;
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
        sender.send_data("hello".into()).await.unwrap();
        let begun = tokio::time::Instant::now();
        let response = tokio::spawn(support::service(&tus, patch(&path, 0, body)));
        let dripping = tokio::spawn(async move {
            while drip && sender.send_data("x".into()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
            drop(sender);
        });
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(32), "{took:?}");
        assert_eq!(offset(&tus, &path).await, Some(if drip { 36 } else { 5 }));
        dripping.abort();
    }
}

/// Polls a future once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
