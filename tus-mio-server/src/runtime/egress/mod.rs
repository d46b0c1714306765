//! An upload on its way to the socket: the runtime's half of an answer that carries one. The disk may make a reader
//! wait, so a worker sends it, a quantum at a time, whenever the socket takes more.

pub(super) mod download;
pub(super) mod worker;

use std::io::ErrorKind;

use tus_driver::Store;
use tus_proto::{Body, Response};

use super::{
    ConnectionId,
    connection::Connection,
    egress::{
        download::Download,
        worker::{ReadAhead, SendEnd, Sent},
    },
    event_loop::EventLoop,
    workers::job::{Address, Job},
};

/// How much may wait in the kernel beyond what is under way: what the peer has not taken buys it no time, and
/// takes up no memory of ours.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 256 << 10;

impl<S: Store> EventLoop<S> {
    /// The answer was given: what it carries follows it.
    pub(super) fn begin_download(&self, connection: &mut Connection<S>, response: &Response) {
        let Body::Upload { from, .. } = response.content() else { return };
        let source = connection.request.as_mut().and_then(|request| request.session.take_source());
        limit_unsent(connection);
        connection.download = Some(Box::new(Download {
            source: source.map(Box::new),
            at: *from,
            from: *from,
            access: None,
            waits: false,
        }));
    }

    /// Gives a worker the next quantum. Returns whether it did anything.
    pub(super) fn pump_download(&mut self, connection: &mut Connection<S>) -> bool {
        if connection.tls.is_some() {
            return self.pump_encrypted(connection);
        }
        let Some(download) = &mut connection.download else { return false };
        let limit = connection.http.send_credit();
        if limit == 0 || !connection.writable || download.awaits(&mut connection.store_ready) {
            return false;
        }
        let Some(source) = download.source.take() else { return false };
        let (to, socket) =
            (Address { loop_index: self.index, connection: connection.id }, &connection.socket);
        connection.writable_again = false;
        // Stop the peer's timer: from here on the worker is the bottleneck, not the peer.
        connection.http.set_sending(self.now.monotonic, false);
        self.shared.workers.submit(Job::Send {
            to,
            socket: socket.clone(),
            source,
            from: download.at,
            limit,
        });
        true
    }

    /// Sends what was encrypted, then asks a worker to read the next stretch. Returns whether it did anything.
    fn pump_encrypted(&mut self, connection: &mut Connection<S>) -> bool {
        let pending = connection.tls.as_ref().is_some_and(|tls| tls.is_pending());
        let progress = pending && self.send_encrypted(connection, &[]);
        let limit = connection.http.send_credit();
        let Some(download) = &mut connection.download else { return progress };
        if limit == 0
            || !connection.writable
            || download.source.is_none()
            || download.awaits(&mut connection.store_ready)
        {
            return progress;
        }
        // Stop the peer's timer: from here on the worker is the bottleneck, not the peer.
        connection.http.set_sending(self.now.monotonic, false);
        let Some(data) = self.buffers.take(connection.id) else { return progress };
        let Some(source) = download.source.take() else { return progress };
        let (to, from) = (Address { loop_index: self.index, connection: connection.id }, download.at);
        self.shared.workers.submit(Job::Read { to, source, from, limit, data });
        true
    }

    /// Sends as much as the socket takes. What it does not take is read again: memory is for those who read.
    fn send_encrypted(&self, connection: &mut Connection<S>, mut data: &[u8]) -> bool {
        let (Some(tls), Some(download)) = (&mut connection.tls, &mut connection.download) else {
            return false;
        };
        let before = download.at;
        while connection.http.send_credit() > 0 && (tls.is_pending() || !data.is_empty()) {
            match tls.write(&connection.socket, data) {
                Ok(count) => {
                    data = data.get(count..).unwrap_or_default();
                    download.at += count as u64;
                    connection.http.sent_beside(self.now.monotonic, count as u64);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.writable = false;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    connection.give_up();
                    return true;
                }
            }
        }
        connection.download.as_ref().is_some_and(|download| download.at > before)
    }

    /// A worker brings what it has read. The buffer goes back even where the connection has ended meanwhile.
    pub(super) fn on_read(&mut self, id: ConnectionId, read: ReadAhead<S>) {
        let ReadAhead { source, data, result } = read;
        self.with_connection(id, |this, connection| {
            let Some(download) = &mut connection.download else { return };
            download.source = Some(source);
            connection.http.set_sending(this.now.monotonic, true);
            match result {
                Ok(()) if data.is_empty() => download.waits = true,
                Ok(()) => {
                    this.send_encrypted(connection, &data);
                }
                Err(failure) => {
                    this.shared.metrics.store_failed(failure);
                    connection.give_up();
                }
            }
        });
        self.recycle(data);
    }

    /// A worker brings the source back.
    pub(super) fn on_sent(&mut self, connection: &mut Connection<S>, sent: Sent<S>) {
        let now = self.now.monotonic;
        let Some(download) = &mut connection.download else { return };
        download.source = Some(sent.source);
        download.at += sent.count;
        connection.http.sent_beside(now, sent.count);
        connection.http.set_sending(now, true);
        match sent.end {
            SendEnd::Done => {}
            SendEnd::WouldBlock => connection.writable = connection.writable_again,
            SendEnd::NotRead => download.waits = true,
            SendEnd::Broken => connection.give_up(),
            SendEnd::Failed(failure) => {
                // The head has promised more than there is: only an early end can tell.
                self.shared.metrics.store_failed(failure);
                connection.give_up();
            }
        }
    }

    /// Whether the upload is sent, or will not be: then it is let go. Returns whether it was.
    pub(super) fn end_download(&self, connection: &mut Connection<S>) -> bool {
        let over = connection.http.send_credit() == 0 && !connection.http.wants_write();
        let Some(download) = connection.download.take_if(|_| over) else { return false };
        if let Some((access, mut outcome)) = download.access {
            outcome.sent = download.at - download.from;
            access.end(self.now.monotonic, &outcome);
        }
        self.shared.metrics.busy.dec();
        true
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent<S: Store>(connection: &Connection<S>) {
    if connection.peer.is_none() {
        return;
    }
    let socket = socket2::SockRef::from(&*connection.socket);
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "a download fills its send buffer");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent<S: Store>(_: &Connection<S>) {}
