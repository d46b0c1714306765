//! A store that awaits: uploads in a bucket, its locks leases in the bucket, its work tasks of the service's runtime.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use object_store::memory::InMemory;
use support::{call, create, offset, patch};
use tus_object_store::{BucketStore, CloudBucket, Options};
use tus_tower::{TokioExecutor, Tus, tus_driver::Executor, tus_proto::Config};

#[tokio::test]
async fn an_upload_comes_and_goes_in_a_bucket() {
    let executor = TokioExecutor::new(2).unwrap();
    let bucket = Arc::new(CloudBucket::new(InMemory::new(), "uploads"));
    let store = BucketStore::open(bucket, executor.to_dyn(), Options::default()).await.unwrap();
    let locks = Arc::new(store.locks());
    let tus = Tus::builder(move |_: Arc<dyn Executor>| store)
        .executor(executor)
        .locks(locks)
        .config(Config::builder().downloads(true).build().unwrap())
        .build()
        .unwrap();
    let body: Vec<u8> = (0..9_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = create(&tus, body.len() as u64).await;
    let (first, rest) = body.split_at(7_000_000);
    let patched = call(&tus, patch(&path, 0, Full::<Bytes>::from(first.to_vec()))).await;
    assert_eq!(patched.status(), StatusCode::NO_CONTENT);
    assert_eq!(offset(&tus, &path).await, Some(7_000_000));
    let patched = call(&tus, patch(&path, 7_000_000, Full::<Bytes>::from(rest.to_vec()))).await;
    assert_eq!(patched.status(), StatusCode::NO_CONTENT);
    let get = call(&tus, Request::get(&path).body(Full::<Bytes>::default()).unwrap()).await;
    assert!(get.into_body().collect().await.unwrap().to_bytes() == body);
    tus.handle().shutdown().await.unwrap();
    assert_eq!(tus.handle().requests(), 0);
}
