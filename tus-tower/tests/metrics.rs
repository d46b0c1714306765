//! What a service counts, in an application's own registry.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use bytes::Bytes;
use http_body_util::Full;
use support::{Stores, call, create, patch};
use tus_tower::{
    Tus,
    tus_driver::metrics::prometheus_client::{encoding::text::encode, registry::Registry},
};

#[tokio::test]
async fn requests_count_in_a_registry_of_the_applications() {
    let mut registry = Registry::default();
    let (store, _dir) = Stores::redb();
    let tus = Tus::builder(store).metrics(&mut registry).build().unwrap();
    let path = create(&tus, 5).await;
    call(&tus, patch(&path, 0, Full::<Bytes>::from("hello"))).await;
    call(&tus, patch(&path, 3, Full::<Bytes>::from("hello"))).await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "tusd_requests_total{method=\"PATCH\"} 2",
        "tusd_requests_total{method=\"POST\"} 1",
        "tusd_uploads_created 1",
        "tusd_uploads_finished 1",
        "tusd_bytes_received 5",
        "tusd_errors_total{code=\"ERR_MISMATCHED_OFFSET\",status=\"409\"} 1",
        "tus_request_duration_seconds_count 3",
        "tus_commit_group_size_count 2",
        "tus_lock_waits_total 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
}
