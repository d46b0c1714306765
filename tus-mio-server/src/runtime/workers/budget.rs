//! How long a worker stays with one body. Handing a body back to its loop and fetching it again costs more than a
//! small burst of it; so a worker goes on while bytes come fast, nobody else needs it, and its time is not over. A
//! client that is slow, or stalls, holds none: it is the loop that waits for those.

use std::time::{Duration, Instant};

use tus_driver::Store;

use crate::runtime::{
    socket::Socket,
    workers::{Workers, job::QUANTUM},
};

/// The most bytes moved in one stay. Fewer cost more hand-overs; with more, strict durability has less to sync while
/// the rest arrives.
pub(in crate::runtime) const MAX_BYTES: u64 = 16 * QUANTUM;

/// The longest stay. A HEAD that wants a checkpoint, a newcomer and a shutdown wait for its end.
const MAX_TIME: Duration = Duration::from_millis(20);

/// The least that must have come since the last wait for another to be worth a worker's time.
const BURST: u64 = 64 << 10;

/// How long it waits for the next burst.
const WAIT: Duration = Duration::from_millis(2);

/// One stay.
#[derive(Debug)]
pub(in crate::runtime) struct WorkerBudget<'a, S: Store> {
    workers: &'a Workers<S>,
    began: Instant,
    moved: u64,
    /// Of it, since the last wait.
    burst: u64,
}

impl<'a, S: Store> WorkerBudget<'a, S> {
    pub(in crate::runtime) fn begin(workers: &'a Workers<S>) -> Self {
        Self { workers, began: Instant::now(), moved: 0, burst: 0 }
    }

    /// So many bytes were moved. Returns whether to go on with what the socket has.
    pub(in crate::runtime) fn goes_on(&mut self, count: u64) -> bool {
        self.moved += count;
        self.burst += count;
        self.moved < QUANTUM || (!self.is_over() && !self.workers.are_wanted())
    }

    /// The socket has no more. Waits for a moment, where that is likely to pay. Returns whether there is more now.
    pub(in crate::runtime) fn wait(&mut self, socket: &Socket) -> bool {
        if self.burst < BURST || self.is_over() || self.workers.are_wanted() {
            return false;
        }
        self.burst = 0;
        self.workers.wait(|| readable(socket, WAIT))
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= MAX_TIME
    }
}

/// Whether there is something to read, or to learn by reading, within this time.
fn readable(socket: &Socket, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut sockets = [PollFd::new(socket, PollFlags::IN)];
    let Ok(within) = Timespec::try_from(within) else { return false };
    poll(&mut sockets, Some(&within)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::Write,
        net::{TcpListener, TcpStream as Peer},
    };

    use mio::net::TcpStream;

    use tus_driver::{Class, MemoryStore};

    use super::*;
    use crate::runtime::workers::job::{Job, Step};

    /// Both ends of a connection.
    fn connection() -> (Socket, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        (Socket::Tcp(TcpStream::from_std(socket)), peer)
    }

    /// A stay that is not over in this test, however slow the machine is.
    fn young(workers: &Workers<MemoryStore>) -> WorkerBudget<'_, MemoryStore> {
        WorkerBudget { began: Instant::now() + Duration::from_secs(60), ..WorkerBudget::begin(workers) }
    }

    #[test]
    fn a_worker_waits_only_after_a_burst_and_once_for_each() {
        let (workers, (socket, mut peer)) = (Workers::<MemoryStore>::new(2, 2), connection());
        peer.write_all(b"more").unwrap();
        let mut budget = young(&workers);
        assert!(!budget.wait(&socket), "nothing came before");
        assert!(budget.goes_on(BURST - 1) && !budget.wait(&socket), "too little came before");
        let mut budget = young(&workers);
        assert!(budget.goes_on(BURST) && budget.wait(&socket));
        assert!(!budget.wait(&socket), "nothing was moved since");
    }

    #[test]
    fn a_silent_client_holds_a_worker_no_longer_than_a_wait() {
        let (workers, (socket, _peer)) = (Workers::new(2, 2), connection());
        let mut budget = young(&workers);
        assert!(budget.goes_on(BURST) && !budget.wait(&socket));
    }

    #[test]
    fn a_stay_has_an_end() {
        let (workers, (socket, mut peer)) = (Workers::<MemoryStore>::new(2, 2), connection());
        peer.write_all(b"more").unwrap();
        let Some(began) = Instant::now().checked_sub(MAX_TIME) else { return };
        let mut budget = WorkerBudget { began, ..WorkerBudget::begin(&workers) };
        assert!(budget.goes_on(QUANTUM - 1), "a quantum is everybody's");
        assert!(!budget.wait(&socket) && !budget.goes_on(1));
    }

    #[test]
    fn who_waits_for_a_worker_gets_it_after_a_quantum() {
        let (workers, (socket, mut peer)) = (Workers::<MemoryStore>::new(2, 2), connection());
        peer.write_all(b"more").unwrap();
        let mut budget = young(&workers);
        assert!(budget.goes_on(QUANTUM));
        workers.submit(Job::Run(Class::Background, Step(Box::new(|| {}))));
        assert!(!budget.wait(&socket) && !budget.goes_on(1));
    }

    #[test]
    fn half_of_those_that_move_bodies_never_wait() {
        let workers = Workers::<MemoryStore>::new(4, 4);
        assert!(workers.wait(|| workers.wait(|| true)));
        assert!(!workers.wait(|| workers.wait(|| workers.wait(|| true))));
        assert!(workers.wait(|| true), "whoever waited has come back");
        let workers = Workers::<MemoryStore>::new(4, 2);
        assert!(workers.wait(|| true) && !workers.wait(|| workers.wait(|| true)));
        assert!(
            Workers::<MemoryStore>::new(4, 1).wait(|| true)
                && !Workers::<MemoryStore>::new(1, 1).wait(|| true)
        );
    }
}
