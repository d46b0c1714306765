//! UNIX sockets by paths of any length, and the one at which a server answers its administrator.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
};

/// The name of the administrator's socket in the data directory.
pub const SOCKET: &str = "admin.sock";

/// The longest path that a socket's address takes, in bytes (unix(7): `sun_path` without the NUL).
const LONGEST: usize = 107;

/// A path to the same place that fits into a socket's address, good as long as what comes with it lives. It leads through
/// a descriptor of the directory, because a process has only one current directory for all its threads.
pub(crate) fn reachable(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= LONGEST {
        return Ok((path.to_owned(), None));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket's path must name a file"));
    };
    let dir = directory(dir)?;
    let mut short = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir)));
    short.push(name);
    Ok((short, Some(dir)))
}

#[cfg(target_os = "linux")]
fn directory(dir: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    Ok(open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn directory(_: &Path) -> io::Result<OwnedFd> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the path is longer than 107 bytes: choose a shorter one",
    ))
}

/// A connection to the server that has this data directory open; `None` if none has.
///
/// # Errors
/// The system's: the socket belongs to another user, above all.
pub fn connect(data_dir: &Path) -> io::Result<Option<UnixStream>> {
    let path = data_dir.join(SOCKET);
    let connected = match reachable(&path) {
        Ok((short, _dir)) => UnixStream::connect(short),
        Err(error) => Err(error),
    };
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        // There is no directory on the way.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_is_reached_by_a_path_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        for depth in [0, 60, 97, 200] {
            let data_dir = dir.path().join("d".repeat(depth));
            std::fs::create_dir_all(&data_dir).unwrap();
            assert!(connect(&data_dir).unwrap().is_none(), "nobody is there yet");
            let (short, held) = reachable(&data_dir.join(SOCKET)).unwrap();
            let listener = UnixListener::bind(short).unwrap();
            drop(held);
            assert!(data_dir.join(SOCKET).exists());
            assert!(connect(&data_dir).unwrap().is_some(), "{depth}");
            drop(listener);
            assert!(connect(&data_dir).unwrap().is_none(), "its server is dead");
        }
        assert!(connect(&dir.path().join("missing")).unwrap().is_none());
    }
}
