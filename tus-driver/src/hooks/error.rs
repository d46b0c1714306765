//! How a hook says no, and how it fails.

use std::{error::Error, fmt};

use tus_proto::Rejection;

/// Why a hook does not let the thing go on: a decision ([`Reject`]), or a failure of its own. `?` turns any error
/// into the latter.
///
/// ```
/// use tus_driver::hooks::{HookError, Reject};
///
/// fn decide(quota: &str, wanted: u64) -> Result<(), HookError> {
///     let quota: u64 = quota.parse()?; // not the client's fault: 500
///     if wanted > quota {
///         return Err(Reject::with(403).body("too much\n").into());
///     }
///     Ok(())
/// }
/// assert!(decide("10", 5).is_ok());
/// assert_eq!(decide("10", 50).unwrap_err().rejection().map(|rejection| rejection.status), Some(403));
/// assert!(decide("ten", 5).unwrap_err().rejection().is_none());
/// ```
#[derive(Debug)]
pub struct HookError(Kind);

#[derive(Debug)]
enum Kind {
    Rejected(Rejection),
    Failed(Box<dyn Error + Send + Sync>),
}

impl HookError {
    /// A failure that is best told in words.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Kind::Failed(error.into()))
    }

    /// The answer it chooses; `None` if it is a failure.
    pub fn rejection(&self) -> Option<&Rejection> {
        match &self.0 {
            Kind::Rejected(rejection) => Some(rejection),
            Kind::Failed(_) => None,
        }
    }

    pub(super) fn into_rejection(self) -> Result<Rejection, Box<dyn Error + Send + Sync>> {
        match self.0 {
            Kind::Rejected(rejection) => Ok(rejection),
            Kind::Failed(error) => Err(error),
        }
    }
}

/// Not an [`Error`] itself, so that every error can become one.
impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Rejected(rejection) => write!(f, "rejected with {}", rejection.status),
            Kind::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HookError {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

impl From<Reject> for HookError {
    fn from(reject: Reject) -> Self {
        Self(Kind::Rejected(reject.0))
    }
}

/// The answer with which a hook rejects a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(Rejection);

impl Reject {
    /// With this status, 400 to 599; anything else is answered as 500. No headers, no body.
    pub fn with(status: u16) -> Self {
        Self(Rejection { status, headers: Vec::new(), body: String::new() })
    }

    /// Adds a header. Those that the protocol or the framing set themselves are left out.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// The body, `text/plain` unless a header says otherwise.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.0.body = body.into();
        self
    }
}
