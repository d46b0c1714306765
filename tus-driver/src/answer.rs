//! How a store answers: at once, or later through a ticket.

use std::fmt;

/// The answer to a call of a [`Store`](crate::Store).
#[derive(Debug)]
pub enum Answer<T> {
    /// The answer is here; no ticket was taken.
    Now(T),
    /// The ticket was taken, and will be answered.
    Later,
}

impl<T> Answer<T> {
    /// The same answer, changed by `change` if it is here.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Now(answer) => Answer::Now(change(answer)),
            Self::Later => Answer::Later,
        }
    }
}

/// The right, and the duty, to answer one call, from any thread. A ticket that is dropped without an answer leaves
/// its request waiting until it is cancelled: a store answers [`Failure::Unavailable`](tus_proto::Failure) instead.
pub struct Ticket<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Ticket<T> {
    /// A ticket whose answer goes to `deliver`.
    pub fn new(deliver: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(deliver))
    }

    /// A ticket for another call, whose answer `change` makes this one's: for a store around another.
    pub fn map<U>(self, change: impl FnOnce(U) -> T + Send + 'static) -> Ticket<U>
    where
        T: 'static,
    {
        Ticket::new(move |answer| self.answer(change(answer)))
    }

    /// Answers the call.
    pub fn answer(self, answer: T) {
        (self.0)(answer);
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}
