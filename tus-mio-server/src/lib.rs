//! A server for resumable uploads (tus 1.0.0), to run or to embed.
//!
//! - [`Server`], made from [`Settings`], listens and serves: `Server::bind(settings)?.run()`.
//! - [`Blocking`] is the same server as a function that blocks, for a framework that has parsed the request.
//! - [`hooks`] are functions of yours that accept or reject requests and process finished uploads.
//! - [`http1`] is HTTP/1.1 without a socket.
//!
//! The protocol is in [`tus_proto`] and the store in [`tus_redb`]. This crate moves bytes between them and the sockets. It
//! needs a Unix; without the default feature `cli` it brings no command line, log or signals.

#[macro_use(mutation)]
pub extern crate tus_proto;

pub mod admin;
mod blocking;
mod cidr;
pub mod hooks;
mod host;
pub mod http1;
mod listen;
pub mod page;
mod paths;
pub mod publish;
mod runtime;
mod server;
mod sync;
mod tls;

pub use blocking::{Blocking, Reply, ReplyBody};
pub use cidr::{IpNet, NetworkError};
pub use host::HostLimits;
pub use listen::{Address, AddressError, Inherited};
pub use paths::SettingsError;
pub use server::{Handle, ServeError, Server, ServerBuilder, Settings};
pub use tls::{TlsError, TlsFiles};
pub use tus_driver::{self, Caller, LockService};
pub use tus_redb;
