//! What the service manager is told (systemd's `sd_notify`): that the server is ready, and that it is stopping.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
};

/// The server listens: who depends on it may start.
pub(crate) fn ready() {
    tell("READY=1");
}

/// The server is about to end.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

/// Where nobody wants to be told, this does nothing.
fn tell(state: &str) {
    if let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
        && let Err(error) = send(&name, state)
    {
        tracing::warn!(%error, "the service manager can't be told {state}");
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the server.
    socket.set_nonblocking(true)?;
    let sent = match name.as_bytes() {
        [b'@', name @ ..] => send_abstract(&socket, name, state),
        _ => socket.send_to(state.as_bytes(), name),
    };
    sent.map(|_| ())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_abstract(socket: &UnixDatagram, name: &[u8], state: &str) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(state.as_bytes(), &address)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_abstract(_: &UnixDatagram, _: &[u8], _: &str) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 32];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&manager), "READY=1");
        drop(manager);
        assert!(send(path.as_os_str(), "STOPPING=1").is_err(), "nobody listens any more");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_is_told_by_an_abstract_name() {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        let name = format!("tus-mio-server-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(received(&manager), "STOPPING=1");
    }
}
