//! Bodies into files: a thread for each connection, and in it nothing but the loop that moves bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Head;
use crate::{Trouble, args::How};

/// How much is moved at once.
const QUANTUM: usize = 1 << 20;

/// Serves until it is ended.
pub(super) fn serve(listener: &TcpListener, how: How, dir: &Path) -> Result<(), Trouble> {
    let uploads = AtomicU64::new(0);
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let (stream, uploads) = (stream?, &uploads);
            // A connection that fails is its client's to report.
            scope.spawn(move || Connection { stream, how, dir, uploads, pipe: None }.serve());
        }
        Ok(())
    })
}

struct Connection<'a> {
    stream: TcpStream,
    how: How,
    dir: &'a Path,
    uploads: &'a AtomicU64,
    pipe: Option<splice::Pipe>,
}

impl Connection<'_> {
    fn serve(mut self) -> Result<(), Trouble> {
        self.stream.set_nodelay(true)?;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((head, end)) = Head::parse(&received)? {
                let answer = self.answer(&head, received.split_off(end))?;
                received.clear();
                self.stream.write_all(answer.as_bytes())?;
                continue;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn answer(&mut self, head: &Head, early: Vec<u8>) -> Result<String, Trouble> {
        let file = self.dir.join(head.upload.to_string());
        Ok(match head.method.as_str() {
            "POST" => {
                let upload = self.uploads.fetch_add(1, Ordering::Relaxed) + 1;
                format!("HTTP/1.1 201 Created\r\nLocation: /files/{upload}\r\nContent-Length: 0\r\n\r\n")
            }
            "PATCH" => {
                let file = OpenOptions::new().create(true).write(true).truncate(false).open(file)?;
                self.take(head, &early, &file)?;
                let offset = head.offset + head.length;
                format!("HTTP/1.1 204 No Content\r\nUpload-Offset: {offset}\r\n\r\n")
            }
            "HEAD" => {
                let offset = fs::metadata(file).map_or(0, |file| file.len());
                format!("HTTP/1.1 200 OK\r\nUpload-Offset: {offset}\r\nContent-Length: 0\r\n\r\n")
            }
            "DELETE" => {
                fs::remove_file(file)?;
                "HTTP/1.1 204 No Content\r\n\r\n".into()
            }
            _ => format!("HTTP/1.1 204 No Content\r\n{}\r\n", self.abilities()),
        })
    }

    fn abilities(&self) -> &'static str {
        match self.how {
            How::Copy => {
                "Tus-Extension: creation,termination,checksum\r\nTus-Checksum-Algorithm: sha1,sha256\r\n"
            }
            _ => "Tus-Extension: creation,termination\r\n",
        }
    }

    /// Takes a body of which `early` came with the head.
    fn take(&mut self, head: &Head, early: &[u8], file: &File) -> Result<(), Trouble> {
        if self.how == How::Copy {
            return match head.algorithm.as_deref() {
                Some("sha1") => self.copy(head, early, file, &mut Sha1::new()),
                Some("sha256") => self.copy(head, early, file, &mut Sha256::new()),
                Some(_) => Err("an unknown algorithm".into()),
                None => self.copy(head, early, file, &mut Nothing),
            };
        }
        file.write_all_at(early, head.offset)?;
        let (at, length) = (head.offset + early.len() as u64, head.length - early.len() as u64);
        let pipe = match self.pipe.take() {
            Some(pipe) => pipe,
            None => splice::Pipe::open(QUANTUM)?,
        };
        pipe.move_all(&self.stream, file, at, length)?;
        self.pipe = Some(pipe);
        if self.how == How::SpliceSync {
            file.sync_data()?;
        }
        Ok(())
    }

    fn copy(&mut self, head: &Head, early: &[u8], file: &File, hash: &mut impl Hash) -> Result<(), Trouble> {
        let mut buffer = vec![0; QUANTUM];
        hash.take(early);
        file.write_all_at(early, head.offset)?;
        let (mut at, end) = (head.offset + early.len() as u64, head.offset + head.length);
        while at < end {
            let room = usize::try_from(end - at).unwrap_or(QUANTUM).min(QUANTUM);
            let count = self.stream.read(&mut buffer[..room])?;
            if count == 0 {
                return Err("the body was cut off".into());
            }
            hash.take(&buffer[..count]);
            file.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
        // The digest is worked out as it would have to be; that it is right is not this program's concern.
        std::hint::black_box(hash.finish());
        Ok(())
    }
}

/// A hash, or none.
trait Hash {
    fn take(&mut self, data: &[u8]);
    fn finish(&mut self) -> String;
}

impl<D: Digest + sha2::digest::FixedOutputReset> Hash for D {
    fn take(&mut self, data: &[u8]) {
        Digest::update(self, data);
    }

    fn finish(&mut self) -> String {
        STANDARD.encode(self.finalize_reset())
    }
}

struct Nothing;

impl Hash for Nothing {
    fn take(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> String {
        String::new()
    }
}

#[cfg(target_os = "linux")]
mod splice {
    use std::{fs::File, net::TcpStream, os::fd::OwnedFd};

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    use crate::Trouble;

    /// The way from socket to file.
    pub(super) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
    }

    impl Pipe {
        pub(super) fn open(size: usize) -> Result<Self, Trouble> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setpipe_size(&write, size)?;
            Ok(Self { read, write })
        }

        pub(super) fn move_all(
            &self,
            from: &TcpStream,
            to: &File,
            mut at: u64,
            length: u64,
        ) -> Result<(), Trouble> {
            let end = at + length;
            while at < end {
                let room = usize::try_from(end - at).unwrap_or(usize::MAX);
                let mut held = splice(from, None, &self.write, None, room, SpliceFlags::MOVE)?;
                if held == 0 {
                    return Err("the body was cut off".into());
                }
                while held > 0 {
                    // It moves `at` on.
                    held -= splice(&self.read, None, to, Some(&mut at), held, SpliceFlags::MOVE)?;
                }
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod splice {
    use std::{fs::File, net::TcpStream};

    use crate::Trouble;

    /// There is none here.
    pub(super) struct Pipe;

    impl Pipe {
        pub(super) fn open(_: usize) -> Result<Self, Trouble> {
            Err("this system has no splice".into())
        }

        pub(super) fn move_all(&self, _: &TcpStream, _: &File, _: u64, _: u64) -> Result<(), Trouble> {
            Err("this system has no splice".into())
        }
    }
}
