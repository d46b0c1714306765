//! Where a server listens: at addresses of its own, TCP or UNIX, and at sockets that whoever started it had open.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use listenfd::ListenFd;
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, UnixListener},
};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};

use crate::{
    admin::reachable,
    runtime::{Accepted, Socket},
    server::error::ServeError,
};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Where to listen. As text `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` (127.0.0.1), `:8080` or `8080` (all
/// addresses, as `[::]:8080`), or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a TCP port; port 0 for one of the system's choice. `[::]` takes IPv4 as well, unless an IPv4
    /// address is listened to at the same port.
    Tcp(SocketAddr),
    /// The path of a UNIX socket. Its file is made when the server binds, with the permissions that the process's
    /// umask leaves, and removed when the server stops listening. One that a dead server has left is replaced.
    Unix(PathBuf),
}

impl Address {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AddressError(())),
            Some(path) => Ok(Self::Unix(path.into())),
            None => tcp_address(text).map(Self::Tcp).ok_or(AddressError(())),
        }
    }
}

fn tcp_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let ip: IpAddr = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        host if host.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
        _ => return None,
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits)?;
    Some(SocketAddr::new(ip, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text names no address to listen at. The fault is its author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(());

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "write an IP address and a port, as 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080, a port alone for all addresses, as \
             :8080, or a path, as unix:/run/tus.sock",
        )
    }
}

impl std::error::Error for AddressError {}

/// Listening sockets that this process was started with, by the protocol of systemd (`LISTEN_FDS`): they outlive
/// it, and what connects meanwhile waits for its successor.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Listener>);

impl Inherited {
    /// Takes them over, and the variables that tell of them out of the environment: to be called once, while the
    /// process has one thread.
    ///
    /// # Errors
    /// The environment's: a descriptor that is no listening TCP or UNIX socket.
    pub fn from_env() -> Result<Self, ServeError> {
        let mut passed = ListenFd::from_env();
        let taken = (0..passed.len()).map(|index| take(&mut passed, index).map_err(ServeError::Inherited));
        taken.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_listeners(self) -> Vec<Listener> {
        self.0
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    let (socket, address) = if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener);
        let address = Address::Tcp(listener.local_addr()?);
        (Listening::Tcp(listener), address)
    } else {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "a descriptor was passed twice");
        let listener = passed.take_unix_listener(index)?.ok_or_else(none)?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        (Listening::Unix(UnixListener::from_std(listener)), Address::Unix(path.unwrap_or_default()))
    };
    // Whoever opened it removes its file.
    Ok(Listener { socket, address, _file: None })
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Listening,
    address: Address,
    /// Removed with it.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at one of the addresses that are listened to.
    pub(crate) fn bind(address: &Address, all: &[Address]) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => bind_tcp(*address, takes_ipv4(*address, all)),
            Address::Unix(path) => bind_unix(path, Owner::Umask),
        }
    }

    /// Listens at a UNIX socket for this user alone, in a directory of which this process holds the lock: whatever
    /// socket stands there, nobody listens at it.
    pub(crate) fn bind_private(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path)?;
        }
        bind_unix(path, Owner::Alone)
    }

    /// The address, its port resolved.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection that waits.
    pub(crate) fn accept(&self) -> io::Result<Accepted> {
        Ok(match &self.socket {
            Listening::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                Accepted { socket: Socket::Tcp(socket), peer: Some(peer.ip().to_canonical()) }
            }
            Listening::Unix(listener) => Accepted { socket: Socket::Unix(listener.accept()?.0), peer: None },
        })
    }

    fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Listening::Tcp(listener) => listener,
            Listening::Unix(listener) => listener,
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

/// Whether a listener at this address takes IPv4 connections too: `[::]` does, unless one for IPv4 has the port.
fn takes_ipv4(address: SocketAddr, all: &[Address]) -> bool {
    let port = address.port();
    let has_port = |other: SocketAddr| other.is_ipv4() && other.port() == port && port != 0;
    let taken = all.iter().filter_map(Address::tcp).any(has_port);
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !taken
}

fn bind_tcp(address: SocketAddr, takes_ipv4: bool) -> io::Result<Listener> {
    let (socket, address) = match socket2::Socket::new(Domain::for_address(address), Type::STREAM, None) {
        // A system without IPv6: all addresses are those of IPv4.
        Err(error) if takes_ipv4 && error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?, address)
        }
        socket => (socket?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!takes_ipv4)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into());
    let address = Address::Tcp(listener.local_addr()?);
    Ok(Listener { socket: Listening::Tcp(listener), address, _file: None })
}

/// Who may connect to a UNIX socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Whom the umask leaves.
    Umask,
    /// This user.
    Alone,
}

fn bind_unix(path: &Path, owner: Owner) -> io::Result<Listener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let (short, _dir) = reachable(path)?;
    let address = SockAddr::unix(short)?;
    if owner == Owner::Alone {
        // Linux makes the file with this mode: there is no moment at which others can connect.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    }
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path, &address)?;
        socket.bind(&address)?;
    }
    let file = SocketFile::at(path)?;
    if owner == Owner::Alone {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    socket.listen(BACKLOG)?;
    Ok(Listener {
        socket: Listening::Unix(UnixListener::from_std(socket.into())),
        address: Address::Unix(path.to_owned()),
        _file: Some(file),
    })
}

/// Removes the socket that a server has left that is no more. One that is alive answers, or is too busy to.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let taken = |text| Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    if !path.symlink_metadata()?.file_type().is_socket() {
        return taken("there is a file that is no socket; remove it, or choose another path");
    }
    let caller = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    caller.set_nonblocking(true)?;
    match caller.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => taken("another program listens there; choose another path"),
    }
}

/// The file of a UNIX socket that this process has bound.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server's socket may stand there by the time we go.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "a socket's file stays");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net;

    use super::*;

    #[test]
    fn addresses_are_told_as_they_are_read() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/a b.sock", "unix:here.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (text, address) in [
            ("8080", "[::]:8080"),
            (":0", "[::]:0"),
            ("localhost:80", "127.0.0.1:80"),
            ("LocalHost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), address, "{text}");
        }
        for bad in [
            "",
            ":",
            "unix:",
            "65536",
            ":+80",
            "localhost",
            "localhost:",
            "example.org:80",
            "::1",
            "/run/tus.sock",
            "UNIX:/run/tus.sock",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError(())), "{bad:?}");
        }
    }

    #[test]
    fn a_listener_at_all_addresses_takes_both_families() {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Address>>();
        let listener = Listener::bind(&all(&[":0"])[0], &[]).unwrap();
        let port = listener.address().tcp().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let accepted = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break accepted.unwrap(),
            }
        };
        assert_eq!(accepted.peer, Some(Ipv4Addr::LOCALHOST.into()));
        let any: SocketAddr = "[::]:80".parse().unwrap();
        for (texts, takes) in [
            (&["[::]:80"][..], true),
            (&["[::]:80", "0.0.0.0:81", "[::1]:80", "unix:/80"], true),
            (&["[::]:80", "0.0.0.0:80"], false),
            (&["127.0.0.1:80", "[::]:80"], false),
        ] {
            assert_eq!(takes_ipv4(any, &all(texts)), takes, "{texts:?}");
        }
        assert!(!takes_ipv4("[::1]:80".parse().unwrap(), &[]));
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // The standard library's listener leaves its file behind.
        drop(net::UnixListener::bind(&path).unwrap());
        let listener = bind_unix(&path, Owner::Umask).unwrap();
        assert_eq!(bind_unix(&path, Owner::Umask).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        net::UnixStream::connect(&path).unwrap();
        assert_eq!(listener.accept().unwrap().peer, None);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        assert!(bind_unix(&path, Owner::Umask).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_a_successor_has_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = bind_unix(&path, Owner::Umask).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _successor = net::UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(net::UnixStream::connect(&path).is_ok());
    }
}
