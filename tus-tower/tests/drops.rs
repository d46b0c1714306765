//! Requests dropped at random points by a timeout layer, again and again: no acknowledged byte is lost, and no lock,
//! task or buffer is left.
//!
//! `TUS_DROPS` sets how many; 300 with each store otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Channel, Full, combinators::BoxBody};
use support::{Stores, call, create, offset, patch};
use tokio::runtime::Handle;
use tower::{ServiceExt, timeout::Timeout};
use tus_tower::{Tus, tus_proto::Config};

const CLIENTS: u64 = 8;
const LENGTH: u64 = 200_000;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Byte `at` of each upload.
fn byte(at: u64) -> u8 {
    (at ^ (at >> 8)).wrapping_mul(31).to_le_bytes()[0]
}

/// A body that brings the rest of an upload, piece after piece, and is never in a hurry.
fn rest(from: u64, numbers: &mut Numbers) -> BoxBody<Bytes, Infallible> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(2);
    let seed = numbers.below(1 << 30);
    tokio::spawn(async move {
        let (mut at, mut numbers) = (from, Numbers(seed));
        while at < LENGTH {
            let until = LENGTH.min(at + 1 + numbers.below(20_000));
            let piece: Vec<u8> = (at..until).map(byte).collect();
            if sender.send_data(piece.into()).await.is_err() {
                return;
            }
            at = until;
            if numbers.below(3) == 0 {
                tokio::time::sleep(Duration::from_micros(numbers.below(500))).await;
            }
        }
    });
    body.boxed()
}

/// One client: it uploads under a timeout that it seldom meets, and goes on where HEAD says. Returns how often it was
/// dropped.
async fn client(tus: Tus, seed: u64, drops: u64) -> u64 {
    let mut numbers = Numbers(seed);
    let mut dropped = 0;
    while dropped < drops {
        let path = create(&tus, LENGTH).await;
        let mut told = 0;
        while told < LENGTH {
            let limit = Duration::from_micros(numbers.below(6_000));
            let impatient = Timeout::new(tus.clone(), limit);
            let request = patch(&path, told, rest(told, &mut numbers));
            match impatient.oneshot(request).await {
                // The request before may have committed more since HEAD told what it had.
                Ok(response) if [204, 409].contains(&response.status().as_u16()) => {}
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    panic!("{parts:?} {:?}", body.collect().await);
                }
                Err(_) => dropped += 1,
            }
            let now = offset(&tus, &path).await.unwrap();
            assert!(now >= told, "{now} after {told}");
            told = now;
        }
        let get = Request::get(&path).body(Full::<Bytes>::default()).unwrap();
        let stored = call(&tus, get).await.into_body().collect().await.unwrap().to_bytes();
        assert!(stored.iter().copied().eq((0..LENGTH).map(byte)), "{path} is not what was sent");
    }
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_requests_lose_nothing_and_leave_nothing() {
    let drops = std::env::var("TUS_DROPS").map_or(300, |drops| drops.parse().unwrap());
    let config = Config::builder().downloads(true).checkpoint_bytes(50_000).build().unwrap();
    for (name, tus, _dir) in Stores::each(config) {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let clients: Vec<_> =
            (0..CLIENTS).map(|seed| tokio::spawn(client(tus.clone(), seed, drops / CLIENTS))).collect();
        let mut dropped = 0;
        for client in clients {
            dropped += client.await.unwrap();
        }
        assert!(dropped >= drops / CLIENTS * CLIENTS, "{name}: {dropped}");
        while !tus.handle().is_idle() || tasks() > before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tus.handle().shutdown().await.unwrap();
    }
}
