//! Requests to a service without a network, and services over each store.
#![allow(dead_code, unreachable_pub)]

use std::{
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tempfile::TempDir;
use tower_service::Service;
use tus_tower::{
    BoxError, Tus, TusBody,
    tus_driver::MemoryStore,
    tus_proto::Config,
    tus_redb::{Options, Store},
};

pub struct Stores;

impl Stores {
    /// A service over each kind of store, by these rules.
    pub fn each(config: Config) -> Vec<(&'static str, Tus, Option<TempDir>)> {
        let (store, dir) = Self::redb();
        let redb = Tus::builder(store).config(config.clone()).build().unwrap();
        let memory = Tus::builder(MemoryStore::default()).config(config).build().unwrap();
        vec![("memory", memory, None), ("redb", redb, Some(dir))]
    }

    pub fn redb() -> (Store, TempDir) {
        let dir = TempDir::new().unwrap();
        (Store::open(dir.path(), &Options::default()).unwrap(), dir)
    }

    /// What another service has left, once that has let it go.
    pub async fn redb_in(dir: &Path) -> Store {
        loop {
            match Store::open(dir, &Options::default()) {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

/// A stream over what is there already.
pub struct Iter<I>(pub I);

impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// The future of a response.
pub fn service<B>(
    tus: &Tus,
    request: Request<B>,
) -> impl Future<Output = Response<TusBody>> + Send + Unpin + use<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let response = tus.clone().call(request);
    Box::pin(async move { response.await.unwrap() })
}

pub async fn call<B>(tus: &Tus, request: Request<B>) -> Response<TusBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    service(tus, request).await
}

/// Creates an upload and returns its path.
pub async fn create(tus: &Tus, length: u64) -> String {
    let request = Request::post("/files").header("tus-resumable", "1.0.0").header("upload-length", length);
    let response = call(tus, request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), 201);
    response.headers()["location"].to_str().unwrap().to_owned()
}

pub fn patch<B>(path: &str, offset: u64, body: B) -> Request<B> {
    Request::patch(path)
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", offset)
        .header("content-type", "application/offset+octet-stream")
        .body(body)
        .unwrap()
}

/// The offset that HEAD tells. `None` if there is no such upload.
pub async fn offset(tus: &Tus, path: &str) -> Option<u64> {
    let request = Request::head(path).header("tus-resumable", "1.0.0");
    let response = call(tus, request.body(Full::<Bytes>::default()).unwrap()).await;
    response.headers().get("upload-offset").map(|offset| offset.to_str().unwrap().parse().unwrap())
}
