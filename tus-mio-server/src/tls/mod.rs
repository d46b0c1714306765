//! TLS between a socket and its HTTP connection. Certificates are read from files, and again when they are renewed;
//! a [`Session`] takes the socket's place for one connection. Without the feature `tls` nobody can have one.

use std::{fmt, path::PathBuf};

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod present;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Acceptor, Session};
#[cfg(feature = "tls")]
pub(crate) use present::{Acceptor, Session};

/// Who the server is to its clients: files in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that it is signed with, up to one that clients know.
    pub certificates: PathBuf,
    /// The private key of the first: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// The files can't be used. The message says which, and why; whoever has put them there is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}
