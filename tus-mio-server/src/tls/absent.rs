//! In place of TLS, where the server was built without it.

use std::io;

use tus_proto::Instant;

use super::{TlsError, TlsFiles};
use crate::runtime::Socket;

/// There is none.
#[derive(Debug)]
pub(crate) enum Acceptor {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Session {}

impl Acceptor {
    pub(crate) fn load(_: &TlsFiles) -> Result<Self, TlsError> {
        Err(TlsError("this server was built without TLS: build it with the feature tls".into()))
    }

    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        match *self {}
    }

    pub(crate) fn session(&self, _: Instant) -> Option<Session> {
        match *self {}
    }
}

impl Session {
    /// Whether [`flush`](Self::flush) has something to do.
    pub(crate) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(crate) fn readable(&mut self) -> u64 {
        match *self {}
    }

    pub(crate) fn handshake_until(&self) -> Option<Instant> {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: &Socket, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: &Socket, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn is_pending(&self) -> bool {
        match *self {}
    }

    pub(crate) fn flush(&mut self, _: &Socket) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _: &Socket) -> io::Result<()> {
        match *self {}
    }
}
