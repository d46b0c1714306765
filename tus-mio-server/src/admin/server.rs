//! The administrator's listeners: a thread accepts, and each connection has a thread of its own while it lasts. So a look
//! at every record, or a slow reader, keeps neither the event loops nor the workers from uploads.

use std::{
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, Waker};
use tus_driver::Clock;

pub(crate) use super::requests::{Desk, Status};
use super::{
    connection::{Stream, Talk, limits},
    guard::Guard,
};
use crate::{http1, listen::Listener, sync::lock};

/// How many connections there may be. More are told to come again.
const MOST: usize = 32;

/// What those are told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

/// How long to wait before accepting again where the system could not.
const PAUSE: Duration = Duration::from_millis(100);

const WAKER: Token = Token(usize::MAX);

/// A listener, and what a request must show there.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub listener: Listener,
    pub guard: Guard,
}

/// All listeners of the administrator's.
pub(crate) struct AdminServer {
    poll: Poll,
    endpoints: Vec<Endpoint>,
    desk: Desk,
    clock: Clock,
    http: Arc<http1::Settings>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    stopping: AtomicBool,
    waker: Waker,
    open: Mutex<usize>,
    ended: Condvar,
}

/// Ends an [`AdminServer`].
#[derive(Clone, Debug)]
pub(crate) struct Stopper(Arc<State>);

impl Stopper {
    /// Lets it end: requests that are answered at once still are, downloads are cut.
    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        if let Err(error) = self.0.waker.wake() {
            tracing::error!(%error, "the administrator's thread can't be woken");
        }
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl AdminServer {
    pub(crate) fn new(mut endpoints: Vec<Endpoint>, desk: Desk, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        for (index, endpoint) in endpoints.iter_mut().enumerate() {
            poll.registry().register(&mut endpoint.listener, Token(index), Interest::READABLE)?;
        }
        let state =
            State { stopping: AtomicBool::new(false), waker, open: Mutex::new(0), ended: Condvar::new() };
        Ok(Self { poll, endpoints, desk, clock, http: Arc::new(limits()), state: Arc::new(state) })
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.state.clone())
    }

    /// Accepts until it is stopped, and returns when the last connection has ended.
    ///
    /// # Errors
    /// The system's, if it can't wait for events any more.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        let mut pause = None;
        let mut result = Ok(());
        while !self.state.stopping.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, pause) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    result = Err(error);
                    break;
                }
                Ok(()) => {}
            }
            // Few listeners, and few connections: all are looked at.
            pause = (0..self.endpoints.len()).any(|index| !self.accept_all(index)).then_some(PAUSE);
        }
        // Their files go first: nobody shall come any more.
        self.endpoints.clear();
        let mut open = lock(&self.state.open);
        while *open > 0 {
            open = self.state.ended.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        result
    }

    /// Accepts all that wait. Returns whether the system could.
    fn accept_all(&self, index: usize) -> bool {
        let Some(endpoint) = self.endpoints.get(index) else { return true };
        loop {
            match endpoint.listener.accept() {
                Ok(accepted) => {
                    let served =
                        Stream::of(accepted.socket).and_then(|stream| self.serve(stream, &endpoint.guard));
                    if let Err(error) = served {
                        tracing::warn!(%error, "an administrator's connection can't be served");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::debug!(%error, "an administrator's connection can't be accepted; trying again");
                    return false;
                }
            }
        }
    }

    fn serve(&self, mut stream: Stream, guard: &Guard) -> io::Result<()> {
        let place = {
            let mut open = lock(&self.state.open);
            if *open >= MOST {
                drop(open);
                return stream.write(BUSY).map(drop);
            }
            *open += 1;
            Place(self.state.clone())
        };
        let (desk, guard, clock, http) = (self.desk.clone(), guard.clone(), self.clock, self.http.clone());
        let talk = move || {
            // Goes last: the server's store is let go by then.
            let place = place;
            let talk = Talk { stream, guard: &guard, desk: &desk, clock, stopping: &place.0.stopping };
            if let Err(error) = talk.run(&http) {
                tracing::debug!(%error, "an administrator's connection ended early");
            }
            drop(desk);
        };
        thread::Builder::new().name("admin".into()).stack_size(1 << 20).spawn(talk).map(drop)
    }
}

/// A connection's place among the others.
struct Place(Arc<State>);

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.open) -= 1;
        self.0.ended.notify_all();
    }
}
