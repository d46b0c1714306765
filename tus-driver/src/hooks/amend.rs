//! What a hook adds to the answer of a request that succeeds.

use tus_proto::Amendment;

/// What a hook adds to an answer.
///
/// ```
/// use tus_driver::hooks::Amend;
///
/// let answer = Amend::none().header("X-Location", "/videos/7").body("thank you\n");
/// assert_ne!(answer, Amend::none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it does nothing until a hook returns it"]
pub struct Amend(Amendment);

impl Amend {
    /// Nothing: the answer stays as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// Replaces the status, by 200 to 599; anything else is ignored.
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds a header. Those that the protocol or the framing set themselves are left out.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// The body, `text/plain` unless a header says otherwise. With one, a status that allows none becomes 200.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.0.body = body.into();
        self
    }

    /// As an exchange takes it; `None` if it says nothing.
    pub(super) fn into_amendment(self) -> Option<Box<Amendment>> {
        (self != Self::none()).then(|| Box::new(self.0))
    }
}
