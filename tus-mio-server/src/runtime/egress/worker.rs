//! An upload's bytes from the store to a socket, a quantum at a time: from kernel to kernel where the store has
//! files and the system has `sendfile`, through a buffer everywhere else.

use std::{
    io::{ErrorKind, Write},
    task::{Poll, Waker},
};

use tus_driver::{Source, Store, read_some};
use tus_proto::Failure;

use crate::runtime::socket::Socket;

/// How much is copied at once where it must be copied.
const BUFFER: usize = 64 << 10;

/// What became of a stretch of a download.
#[derive(Debug)]
pub(crate) struct Sent<S: Store> {
    pub source: Box<S::Source>,
    /// How many bytes the socket took.
    pub count: u64,
    pub end: SendEnd,
}

/// Why a worker stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendEnd {
    /// All is sent that it was asked for.
    Done,
    /// The socket takes no more for now.
    WouldBlock,
    /// The store has no more bytes for now: the connection's waker says when it has.
    NotRead,
    /// The connection broke.
    Broken,
    /// The store could not read it.
    Failed(Failure),
}

/// A stretch of a download that is not sent yet.
#[derive(Debug)]
pub(crate) struct ReadAhead<S: Store> {
    pub source: Box<S::Source>,
    /// Empty if the store has no bytes for now: the connection's waker says when it has.
    pub data: Vec<u8>,
    pub result: Result<(), Failure>,
}

/// Reads what is in an upload from `from` on into `data`, a buffer's worth, at most `limit`.
pub(in crate::runtime) fn read_ahead<S: Store>(
    mut source: Box<S::Source>,
    from: u64,
    limit: u64,
    mut data: Vec<u8>,
    waker: &dyn Fn() -> Waker,
) -> ReadAhead<S> {
    data.resize(usize::try_from(limit).unwrap_or(BUFFER).min(BUFFER), 0);
    let result = match read_some(&mut *source, from, &mut data, waker) {
        Poll::Ready(Ok(count)) => {
            data.truncate(count);
            Ok(())
        }
        Poll::Ready(Err(failure)) => Err(failure),
        Poll::Pending => {
            data.clear();
            Ok(())
        }
    };
    ReadAhead { source, data, result }
}

/// Sends what is in an upload from `from` up to `to`, or as much of it as the socket takes. `buffer` is made
/// large enough when it is needed.
pub(in crate::runtime) fn send<S: Store>(
    socket: &Socket,
    mut source: Box<S::Source>,
    (from, to): (u64, u64),
    buffer: &mut Vec<u8>,
    waker: &dyn Fn() -> Waker,
) -> Sent<S> {
    let mut at = from;
    let mut copy = false;
    let end = loop {
        if at >= to {
            break SendEnd::Done;
        }
        let step = if copy { None } else { by_kernel(socket, &mut *source, at, to) };
        // What the kernel can't send, or can't read, is read here: then it shows whose fault that is.
        copy |= step.is_none();
        match step.unwrap_or_else(|| by_hand(socket, &mut *source, (at, to), buffer, waker)) {
            Ok(count) => at += count,
            Err(end) => break end,
        }
    };
    Sent { source, count: at - from, end }
}

/// One step, at least one byte. `None` if it can't be done this way.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn by_kernel(socket: &Socket, source: &mut impl Source, at: u64, to: u64) -> Option<Result<u64, SendEnd>> {
    use rustix::io::Errno;

    let run = match source.file_at(at) {
        Ok(run) => run?,
        Err(failure) => return Some(Err(SendEnd::Failed(failure))),
    };
    let room = usize::try_from(run.len.min(to - at)).unwrap_or(usize::MAX);
    let mut position = run.position;
    loop {
        return match rustix::fs::sendfile(socket, run.fd, Some(&mut position), room) {
            Ok(0) | Err(Errno::INVAL | Errno::NOSYS | Errno::IO) => None,
            Ok(count) => Some(Ok(count as u64)),
            Err(Errno::AGAIN) => Some(Err(SendEnd::WouldBlock)),
            Err(Errno::INTR) => continue,
            Err(_) => Some(Err(SendEnd::Broken)),
        };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn by_kernel(_: &Socket, _: &mut impl Source, _: u64, _: u64) -> Option<Result<u64, SendEnd>> {
    None
}

/// One step through a buffer. What the socket does not take of it is read again the next time.
fn by_hand(
    mut socket: &Socket,
    source: &mut impl Source,
    (at, to): (u64, u64),
    buffer: &mut Vec<u8>,
    waker: &dyn Fn() -> Waker,
) -> Result<u64, SendEnd> {
    buffer.resize(BUFFER, 0);
    let room = usize::try_from(to - at).unwrap_or(BUFFER).min(BUFFER);
    let Poll::Ready(read) = read_some(source, at, &mut buffer[..room], waker) else {
        return Err(SendEnd::NotRead);
    };
    let count = read.map_err(SendEnd::Failed)?;
    loop {
        return match socket.write(&buffer[..count]) {
            Ok(0) => Err(SendEnd::Broken),
            Ok(count) => Ok(count as u64),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(SendEnd::WouldBlock),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Err(SendEnd::Broken),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Read, net, sync::Arc, thread, time::Duration};

    use mio::net::TcpStream;
    use tus_proto::{Completion, Fence, UploadId};
    use tus_redb::{
        Change, Options, RedbStore,
        sim::{Fault, SimDisk},
    };

    use super::*;

    /// The waker of nobody: what is in files is here at once.
    fn idle() -> Waker {
        Waker::noop().clone()
    }

    fn upload(store: &tus_redb::Store, bytes: &[u8]) -> UploadId {
        let id = UploadId::new("upload").unwrap();
        let length = Some(bytes.len() as u64);
        let record = tus_proto::Record {
            id: id.clone(),
            created: tus_proto::WallTime::default(),
            expires: None,
            concat: None,
            offset: 0,
            length,
            metadata: String::new(),
            explicit: None,
        };
        let to = bytes.len() as u64;
        assert_eq!(store.commit(&[Change::Create { record, first: None }]), [Completion::Created]);
        let mut sink = store.append(&id, Fence(1), 0).unwrap();
        sink.write(bytes).unwrap();
        let syncer = sink.syncer();
        syncer.sync(Some(to)).unwrap();
        let (fence, syncer) = (Fence(1), Some(syncer));
        let commit = Change::Commit {
            id: id.clone(),
            fence,
            from: 0,
            to,
            length: None,
            expires: None,
            finish: true,
            syncer,
        };
        assert_eq!(store.commit(&[commit]), [Completion::Committed { offset: to }]);
        id
    }

    fn pair() -> (Socket, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (Socket::Tcp(TcpStream::from_std(socket)), peer)
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
    }

    /// Sends all but the first and the last byte to a peer that reads, and holds what comes against `bytes`.
    fn arrives(store: &tus_redb::Store, id: &UploadId, bytes: &[u8]) {
        let (socket, mut peer) = pair();
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            peer.read_to_end(&mut read).unwrap();
            read
        });
        let (mut source, mut at, to) = (Box::new(store.open_source(id).unwrap()), 1, bytes.len() as u64 - 1);
        let mut buffer = Vec::new();
        while at < to {
            let sent = send::<RedbStore>(&socket, source, (at, to), &mut buffer, &idle);
            assert!(matches!(sent.end, SendEnd::Done | SendEnd::WouldBlock), "{:?}", sent.end);
            (source, at) = (sent.source, at + sent.count);
        }
        drop(socket);
        assert!(reader.join().unwrap() == bytes[1..bytes.len() - 1], "other bytes arrive");
    }

    #[test]
    fn bytes_arrive_from_files_and_from_what_stands_for_them() {
        let bytes = bytes((1 << 20) + 17);
        let dir = tempfile::tempdir().unwrap();
        let store = tus_redb::Store::open(dir.path(), &Options::default()).unwrap();
        let id = upload(&store, &bytes);
        arrives(&store, &id, &bytes);
        let simulated = tus_redb::Store::open_on(Arc::new(SimDisk::new()), &Options::default()).unwrap();
        let id = upload(&simulated, &bytes);
        arrives(&simulated, &id, &bytes);
    }

    #[test]
    fn a_socket_that_is_full_and_one_that_is_gone_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = tus_redb::Store::open(dir.path(), &Options::default()).unwrap();
        let bytes = bytes(32 << 20);
        let id = upload(&store, &bytes);
        let (socket, peer) = pair();
        let source = Box::new(store.open_source(&id).unwrap());
        let sent = send::<RedbStore>(&socket, source, (0, bytes.len() as u64), &mut Vec::new(), &idle);
        assert_eq!(sent.end, SendEnd::WouldBlock);
        assert!((1..bytes.len() as u64).contains(&sent.count));
        drop(peer);
        let mut gone = sent;
        while gone.end == SendEnd::WouldBlock {
            gone = send(&socket, gone.source, (0, 1 << 20), &mut Vec::new(), &idle);
        }
        assert_eq!(gone.end, SendEnd::Broken);
    }

    #[test]
    fn a_disk_that_fails_is_no_peers_fault() {
        let disk = SimDisk::new();
        let store = tus_redb::Store::open_on(Arc::new(disk.clone()), &Options::default()).unwrap();
        let id = upload(&store, b"hello");
        let source = Box::new(store.open_source(&id).unwrap());
        disk.fail(0..u64::MAX, Fault::Io);
        let (socket, _peer) = pair();
        let sent = send::<RedbStore>(&socket, source, (0, 5), &mut Vec::new(), &idle);
        assert_eq!((sent.count, sent.end), (0, SendEnd::Failed(Failure::Io)));
    }
}
