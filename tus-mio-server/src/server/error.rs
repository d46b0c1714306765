//! Why a server can't start, or can't go on.

use std::{fmt, io, path::PathBuf};

use tus_redb::OpenError;

use crate::{admin::TokenError, listen::Address, paths::SettingsError, tls::TlsError};

/// Why a server can't start, or can't go on. But for the settings the environment's fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The settings contradict themselves.
    Settings(SettingsError),
    /// It can't listen on this address.
    Listen(Address, io::Error),
    /// What it was started with are not all sockets to listen on.
    Inherited(io::Error),
    /// The files for TLS can't be used.
    Tls(TlsError),
    /// There is no token to administer by.
    AdminToken(TokenError),
    /// The store of this server's own kind can't be opened.
    Store(OpenError),
    /// The store that was given can't be opened: see [`ServerBuilder::store`](crate::ServerBuilder::store).
    OwnStore(Box<dyn std::error::Error + Send + Sync>),
    /// The directory to publish in can't be used.
    Publish(PathBuf, io::Error),
    /// The system gives no threads, no sockets or no events.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address @ Address::Tcp(_), error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "can't listen on {address}: the address is in use by another program; choose another port, or 0"
                )
            }
            Self::Listen(address, error) => write!(f, "can't listen on {address}: {error}"),
            Self::Inherited(error) => write!(f, "can't listen on what the process was started with: {error}"),
            Self::Settings(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "can't speak TLS: {error}"),
            Self::AdminToken(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::OwnStore(error) => write!(f, "the store can't be opened: {error}"),
            Self::Publish(path, error) => write!(
                f,
                "can't publish in {}: {error}: make it a directory that this user may write to",
                path.display()
            ),
            Self::System(error) => write!(f, "the system can't run the server: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error)
            | Self::Inherited(error)
            | Self::Publish(_, error)
            | Self::System(error) => Some(error),
            Self::Settings(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::AdminToken(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::OwnStore(error) => Some(&**error),
        }
    }
}
