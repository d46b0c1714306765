//! A tus 1.0.0 resumable upload server.
//!
//! [`Server`] is the whole of it, made from [`Settings`]. The protocol is in [`tus_proto`], what is kept in
//! [`tus_redb`]; here bytes are moved between them and the sockets. [`http1`] is HTTP/1.1 without a socket,
//! [`Blocking`] the server without HTTP, for other frameworks. [`hooks`] are where a program decides.

#[macro_use(mutation)]
extern crate tus_proto;

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
pub use tus_driver::{Caller, LockService};
