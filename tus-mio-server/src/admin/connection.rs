//! One administrator's connection, in a thread of its own: the server's HTTP/1.1 over a socket that blocks.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tus_driver::Clock;
use tus_proto::ErrorCode;

use super::{
    guard::Guard,
    requests::{Desk, broken},
};
use crate::{
    http1::{self, Conn, Event, Reason},
    runtime::Socket,
};

/// How often a thread that waits for its peer looks whether the server ends, or its peer's time is over.
const TICK: Duration = Duration::from_millis(250);

/// How much is read, or written of an upload, at once.
const PIECE: usize = 64 << 10;

/// A socket that blocks for a tick.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn of(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => {
                let socket = TcpStream::from(socket);
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(TICK))?;
                socket.set_write_timeout(Some(TICK))?;
                Self::Tcp(socket)
            }
            Socket::Unix(socket) => {
                let socket = UnixStream::from(socket);
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(TICK))?;
                socket.set_write_timeout(Some(TICK))?;
                Self::Unix(socket)
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn shut_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

/// A connection while it is served.
pub(super) struct Talk<'a> {
    pub stream: Stream,
    pub guard: &'a Guard,
    pub desk: &'a Desk,
    pub clock: Clock,
    pub stopping: &'a AtomicBool,
}

/// What an administrator's connection may cost.
pub(super) fn limits() -> http1::Settings {
    http1::Settings {
        head_bytes: 16 << 10,
        idle_timeout: Duration::from_secs(10),
        head_timeout: Duration::from_secs(10),
        linger_timeout: Duration::from_secs(1),
        ..http1::Settings::default()
    }
}

impl Talk<'_> {
    /// Serves it to its end, or that of the server.
    pub(super) fn run(mut self, http: &Arc<http1::Settings>) -> io::Result<()> {
        let mut conn = Conn::new(http.clone(), self.clock.now().monotonic);
        let (mut input, mut buffer) = (Vec::new(), vec![0; PIECE]);
        let mut content: Option<Box<dyn Read + Send>> = None;
        while !conn.is_closed() && !self.stopping.load(Ordering::Acquire) {
            self.expire(&mut conn);
            if let Some(bytes) = self.take_in(&mut conn, &mut input) {
                content = bytes;
                continue;
            }
            let now = || self.clock.now().monotonic;
            if conn.wants_write() {
                if let Some(count) = waited(self.stream.write(conn.output()))? {
                    conn.sent(now(), count);
                }
            } else if conn.send_credit() > 0 {
                self.send(&mut conn, &mut content, &mut buffer)?;
            } else if conn.wants_shutdown_write() {
                self.stream.shut_write()?;
                conn.write_shut();
            } else if conn.wants_read() {
                match waited(self.stream.read(&mut buffer))? {
                    Some(0) => drop(conn.eof(now())),
                    Some(count) => input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                    None => {}
                }
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes of the input what is there. `None` if that is nothing; else the bytes that are to follow the answer.
    fn take_in(&self, conn: &mut Conn, input: &mut Vec<u8>) -> Option<Option<Box<dyn Read + Send>>> {
        let now = self.clock.now();
        let mut rest = input.as_slice();
        let event = conn.next(now.monotonic, &mut rest).map(|event| match event {
            Event::Head => Ok(true),
            Event::Rejected(code) => Err(code),
            Event::Body(_) | Event::End(_) => Ok(false),
        });
        let taken = input.len() - rest.len();
        input.drain(..taken);
        match event? {
            Ok(true) => {
                let answer = conn.with_head(false, |head| self.desk.answer(self.guard, head, now.date))?;
                conn.respond(self.clock.now().monotonic, &answer.response);
                Some(answer.content)
            }
            Ok(false) => Some(None),
            Err(code) => {
                conn.respond(now.monotonic, &broken(code, now.date));
                Some(None)
            }
        }
    }

    /// Sends a piece of an upload. Where its bytes fail, the connection ends: what was promised can't be sent.
    fn send(
        &mut self,
        conn: &mut Conn,
        content: &mut Option<Box<dyn Read + Send>>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let room = usize::try_from(conn.send_credit()).unwrap_or(PIECE).min(buffer.len());
        let Some(bytes) = content else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let count = bytes.read(buffer.get_mut(..room).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            if let Some(count) = waited(self.stream.write(rest))? {
                rest = rest.get(count..).unwrap_or_default();
                conn.sent_beside(self.clock.now().monotonic, count as u64);
            }
            self.expire(conn);
            if self.stopping.load(Ordering::Acquire) || conn.is_closed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn expire(&self, conn: &mut Conn) {
        let now = self.clock.now();
        match conn.expired(now.monotonic) {
            Some(Reason::Head | Reason::Body) => {
                conn.respond(now.monotonic, &broken(ErrorCode::HeadTimeout, now.date));
            }
            Some(Reason::Idle | Reason::Response | Reason::Linger) | None => {}
        }
    }
}

/// What a call has done; `None` if it only waited.
fn waited(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
