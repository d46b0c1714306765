//! TLS by rustls, with the cryptography of ring.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Read, Write},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};
use tus_proto::Instant;

use super::{TlsError, TlsFiles};
use crate::runtime::Socket;

/// How much is encrypted at once: what a TLS record holds. It waits in memory until the socket has taken it.
const RECORD: usize = 16 << 10;

/// How much a client may send before its handshake is over: some hundreds of bytes are usual, and no certificate is
/// asked for. rustls alone would hold 64 KiB.
const HANDSHAKE: usize = 16 << 10;

/// What new connections are served with.
#[derive(Debug)]
pub(crate) struct Acceptor {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Acceptor {
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let config = RwLock::new(config(files)?);
        Ok(Self { files: files.clone(), config })
    }

    /// Reads the files again, for the connections to come. Where they can't be used, all stays as it is.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let config = config(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// For one connection, whose handshake must be over by then; `None` if rustls does not give one.
    pub(crate) fn session(&self, until: Instant) -> Option<Session> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tls = ServerConnection::new(config);
        let tls = tls.inspect_err(|error| tracing::error!(%error, "a connection gets no TLS")).ok()?;
        Some(Session { tls, until, greeting: 0, pending: 0, closed: false })
    }
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let cant = |path: &Path, why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let path = &files.certificates;
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| cant(path, &why(&error)))?;
    if certificates.is_empty() {
        return Err(cant(path, &"there is no certificate in PEM form in it"));
    }
    let path = &files.key;
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        _ if is_encrypted(path) => cant(
            path,
            &"the key is encrypted: write it without its password by `openssl pkey -in KEY -out NEW`",
        ),
        PemError::NoItemsFound => cant(path, &"there is no private key in PEM form in it"),
        error => cant(path, &why(&error)),
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| cant(path, &error))?.with_no_client_auth();
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            cant(path, &format!("it is not the key of the certificate in {}", files.certificates.display()))
        }
        error => cant(path, &format!("with {}: {error}", files.certificates.display())),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether a key in PEM form says of itself that it is encrypted: as PKCS #8, or as older formats do in a field.
fn is_encrypted(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| {
        line == "-----BEGIN ENCRYPTED PRIVATE KEY-----" || line.starts_with("Proc-Type: 4,ENCRYPTED")
    })
}

fn why(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        error => format!("it is not in PEM form: {error}"),
    }
}

/// The TLS of one connection. It reads and writes as a socket does that does not block.
#[derive(Debug)]
pub(crate) struct Session {
    tls: ServerConnection,
    /// When its handshake must be over.
    until: Instant,
    /// How many bytes were read before the handshake was over.
    greeting: usize,
    /// How many bytes of the plaintext it was given are not all on the wire.
    pending: usize,
    /// The peer was told that nothing more comes.
    closed: bool,
}

impl Session {
    /// Whether [`flush`](Self::flush) has something to do.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// When its handshake must be over; `None` if it is.
    pub(crate) fn handshake_until(&self) -> Option<Instant> {
        self.tls.is_handshaking().then_some(self.until)
    }

    /// How many bytes of plaintext can be read without the socket.
    pub(crate) fn readable(&mut self) -> u64 {
        self.tls.process_new_packets().map_or(0, |state| state.plaintext_bytes_to_read() as u64)
    }

    /// Reads plaintext. 0 at the end of the input, whether it was announced or not: HTTP's framing tells whether
    /// something is missing.
    pub(crate) fn read(&mut self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let count = self.tls.read_tls(&mut &*socket)?;
            if count == 0 {
                return Ok(0);
            }
            if self.tls.is_handshaking() {
                self.greeting += count;
                if self.greeting > HANDSHAKE {
                    return Err(io::Error::new(ErrorKind::InvalidData, "a handshake that is too long"));
                }
            }
            let processed = self.tls.process_new_packets();
            // Its part of a handshake, or what it thinks of the peer's. What does not go now goes later.
            let _ = self.flush(socket);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Writes plaintext; tells how much of it is on the wire now. Where that would block, it has taken some in all
    /// the same: the next call must begin with the same bytes, or may be given none.
    pub(crate) fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        if self.pending == 0 {
            self.pending = self.tls.writer().write(bytes.get(..RECORD).unwrap_or(bytes))?;
        }
        self.flush(socket)?;
        Ok(std::mem::take(&mut self.pending))
    }

    /// Whether it has taken bytes in that are not on the wire.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending > 0
    }

    /// Writes what it has to say for itself.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut &*socket)?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn close(&mut self, socket: &Socket) -> io::Result<()> {
        if !std::mem::replace(&mut self.closed, true) {
            self.tls.send_close_notify();
        }
        self.flush(socket)
    }
}
