//! Body bytes from a socket to the store, a quantum at a time: from kernel to kernel through a pipe where the
//! store has a file and the system has `splice`, through a buffer everywhere else.

use std::io::{ErrorKind, Read};

use tus_driver::Store;

use crate::runtime::{
    socket::Socket,
    workers::{
        budget::WorkerBudget,
        job::{BodyDone, BodySink, MoveEnd},
    },
};

/// How much is copied at once where it must be copied.
const BUFFER: usize = 256 << 10;

/// What a worker keeps between quanta: a pipe that is empty, and a buffer that is made when it is needed.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Mover {
    #[cfg(target_os = "linux")]
    pipe: linux::Pipe,
    buffer: Vec<u8>,
}

impl Mover {
    /// Moves at most `limit` bytes, or as many as come while the stay lasts.
    pub(in crate::runtime) fn run<S: Store>(
        &mut self,
        socket: &Socket,
        mut sink: BodySink<S>,
        limit: u64,
        mut budget: WorkerBudget<'_, S>,
    ) -> BodyDone<S> {
        #[cfg(target_os = "linux")]
        if let Some((taken, end)) = self.pipe.run(socket, &mut sink, limit, &mut budget) {
            return BodyDone { sink, data: None, taken, end };
        }
        let (taken, end) = self.copy(socket, &mut sink, limit, &mut budget);
        BodyDone { sink, data: None, taken, end }
    }

    fn copy<S: Store>(
        &mut self,
        socket: &Socket,
        sink: &mut BodySink<S>,
        limit: u64,
        budget: &mut WorkerBudget<'_, S>,
    ) -> (u64, MoveEnd) {
        self.buffer.resize(BUFFER, 0);
        let mut taken = 0;
        while taken < limit {
            let room = usize::try_from(limit - taken).unwrap_or(BUFFER).min(BUFFER);
            match (&mut &*socket).read(&mut self.buffer[..room]) {
                Ok(0) => return (taken, MoveEnd::Eof),
                Ok(count) => {
                    taken += count as u64;
                    if let Err(failure) = sink.write(&mut &self.buffer[..count]) {
                        return (taken, MoveEnd::Failed(failure));
                    }
                    if !budget.goes_on(count as u64) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !budget.wait(socket) {
                        return (taken, MoveEnd::WouldBlock);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (taken, MoveEnd::Reset),
            }
        }
        (taken, MoveEnd::Done)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;

    use rustix::{
        io::Errno,
        pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
    };
    use tus_driver::Store;
    use tus_proto::Failure;

    use crate::runtime::{
        socket::Socket,
        workers::{
            budget::WorkerBudget,
            job::{BodySink, MoveEnd, QUANTUM},
        },
    };

    /// A pipe between socket and file. It is empty between quanta: one that could not be emptied is thrown away.
    #[derive(Debug, Default)]
    pub(in crate::runtime) enum Pipe {
        #[default]
        Untried,
        Open {
            read: OwnedFd,
            write: OwnedFd,
        },
        /// The system has none to give, or its files can't be spliced into.
        Unusable,
    }

    impl Pipe {
        /// None where it can't be done this way, with nothing taken.
        pub(in crate::runtime) fn run<S: Store>(
            &mut self,
            socket: &Socket,
            sink: &mut BodySink<S>,
            limit: u64,
            budget: &mut WorkerBudget<'_, S>,
        ) -> Option<(u64, MoveEnd)> {
            if !matches!(sink.splice_target(), Ok(Some(_))) {
                return None;
            }
            if matches!(self, Self::Untried) {
                *self = Self::open();
            }
            let Self::Open { read, write } = self else { return None };
            let mut taken = 0;
            while taken < limit {
                let room = usize::try_from((limit - taken).min(QUANTUM)).unwrap_or(usize::MAX);
                // An empty pipe has room: where it would block, it is for want of input.
                match splice(socket, None, &*write, None, room, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
                    Ok(0) => return Some((taken, MoveEnd::Eof)),
                    Ok(count) => {
                        taken += count as u64;
                        match empty::<S>(read, count, sink) {
                            Emptied::Spliced if budget.goes_on(count as u64) => {}
                            Emptied::Spliced => break,
                            Emptied::Copied => {
                                *self = Self::Unusable;
                                return Some((taken, MoveEnd::Done));
                            }
                            Emptied::Failed(failure) => {
                                *self = Self::Untried;
                                return Some((taken, MoveEnd::Failed(failure)));
                            }
                        }
                    }
                    Err(Errno::AGAIN) if budget.wait(socket) => {}
                    Err(Errno::AGAIN) => return Some((taken, MoveEnd::WouldBlock)),
                    Err(Errno::INTR) => {}
                    Err(Errno::INVAL | Errno::NOSYS) if taken == 0 => {
                        *self = Self::Unusable;
                        return None;
                    }
                    Err(_) => return Some((taken, MoveEnd::Reset)),
                }
            }
            Some((taken, MoveEnd::Done))
        }

        fn open() -> Self {
            let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC) else { return Self::Unusable };
            // A pipe of the usual 64 KiB only takes more calls.
            let _ = usize::try_from(QUANTUM).map(|size| fcntl_setpipe_size(&write, size));
            Self::Open { read, write }
        }
    }

    /// How a pipe was emptied.
    enum Emptied {
        Spliced,
        /// The file can't be spliced into; the bytes went through a buffer.
        Copied,
        /// It was not: the store could not take them.
        Failed(Failure),
    }

    fn empty<S: Store>(pipe: &OwnedFd, mut count: usize, sink: &mut BodySink<S>) -> Emptied {
        while count > 0 {
            let spliced = match sink.splice_target() {
                Ok(Some((file, mut at))) => splice(pipe, None, file, Some(&mut at), count, SpliceFlags::MOVE),
                Ok(None) => Err(Errno::INVAL),
                Err(failure) => return Emptied::Failed(failure),
            };
            match spliced {
                // A file that takes nothing and says nothing is none to wait for.
                Ok(0) => return Emptied::Failed(Failure::Io),
                Ok(moved) => {
                    sink.spliced(moved as u64);
                    count -= moved;
                }
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::NOSYS) => return copy_out::<S>(pipe, count, sink),
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => return Emptied::Failed(Failure::NoSpace),
                Err(_) => return Emptied::Failed(Failure::Io),
            }
        }
        Emptied::Spliced
    }

    fn copy_out<S: Store>(pipe: &OwnedFd, count: usize, sink: &mut BodySink<S>) -> Emptied {
        let mut data = vec![0; count];
        let mut filled = 0;
        while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(pipe, rest) {
                Ok(0) => return Emptied::Failed(Failure::Io),
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(_) => return Emptied::Failed(Failure::Io),
            }
        }
        sink.write(&mut &*data).map_or_else(Emptied::Failed, |()| Emptied::Copied)
    }
}
