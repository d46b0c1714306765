//! Resumable uploads, tus 1.0.0, as a [`tower_service::Service`]: [`Tus`] mounts in axum, hyper and every other
//! framework that takes such a service.
//!
//! - A request whose future is dropped, by a timeout layer or with its connection, loses nothing: what had arrived is
//!   committed, and the upload's lock is released.
//! - A slow body holds no thread. At most 256 KiB of a body are in memory, and the last frame that the server has read.
//! - Any [`Store`](tus_driver::Store) of `tus-driver`: `tus-redb` by default.
//!
//! # What your server must limit
//! The size and time of a head, and idle connections: by hyper's `header_read_timeout`, for example. This service ends
//! bodies that stall or come too slowly: see [`Limits`].

mod alarm;
mod body;
mod builder;
mod core;
mod executor;
mod frames;
mod hooks;
mod request;
mod response;
mod service;

pub use body::TusBody;
pub use builder::Builder;
pub use executor::{BuildError, TokioExecutor};
pub use service::{ResponseFuture, ShutdownError, Tus, TusHandle};
pub use tus_driver::tus_proto;
pub use tus_driver::{
    self, BoxError, Limits, OpenStore, StoreRuntime, bytes,
    hooks::{AsyncHooks, Hooks},
};
#[cfg(feature = "object-store")]
pub use tus_object_store;
#[cfg(feature = "redb")]
pub use tus_redb;

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "redb"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
