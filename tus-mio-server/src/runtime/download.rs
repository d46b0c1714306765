//! An upload on its way to the socket: the runtime's half of an answer that bears one. The disk may make a reader
//! wait, so a worker sends it, a quantum at a time, whenever the socket takes more.

use tus_proto::{Body, Completion, Response, UploadId};
use tus_redb::Source;

use super::{
    connection::Connection,
    event_loop::EventLoop,
    sending::{SendEnd, Sent},
    workers::{Address, Job},
};

/// How much may wait in the kernel beyond what is under way: what the peer has not taken buys it no time, and
/// takes up no memory of ours.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 256 << 10;

/// The upload that the answer under way bears.
#[derive(Debug)]
pub(super) struct Download {
    /// None while a worker has it.
    source: Option<Source>,
    /// The next byte to be sent.
    at: u64,
}

impl EventLoop {
    /// Holds an upload for the answer that may bear it.
    pub(super) fn open_source(&self, connection: &mut Connection, id: &UploadId) -> Completion {
        let source = match self.shared.store.open_source(id) {
            Ok(source) => source,
            Err(refused) => return refused.into(),
        };
        let record = source.record().clone();
        if let Some(request) = &mut connection.request {
            request.source = Some(source);
        }
        Completion::Opened(record)
    }

    /// The answer was given: what it bears follows it.
    pub(super) fn begin_download(&self, connection: &mut Connection, response: &Response) {
        let Body::Upload { from, .. } = response.content() else { return };
        let source = connection.request.as_mut().and_then(|request| request.source.take());
        limit_unsent(connection);
        connection.download = Some(Download { source, at: *from });
    }

    /// Gives a worker the next quantum. Tells whether it did anything.
    pub(super) fn pump_download(&mut self, connection: &mut Connection) -> bool {
        let Some(download) = &mut connection.download else { return false };
        let limit = connection.http.send_credit();
        if limit == 0 || !connection.writable {
            return false;
        }
        let Some(source) = download.source.take() else { return false };
        let (to, socket) =
            (Address { loop_index: self.index, connection: connection.id }, &connection.socket);
        connection.writable_again = false;
        // From here on it is we who are not sending.
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

    /// A worker brings the source back.
    pub(super) fn on_sent(&mut self, connection: &mut Connection, sent: Sent) {
        let now = self.now.monotonic;
        let Some(download) = &mut connection.download else { return };
        download.source = Some(sent.source);
        download.at += sent.count;
        connection.http.sent_beside(now, sent.count);
        connection.http.set_sending(now, true);
        match sent.end {
            SendEnd::Done => {}
            SendEnd::WouldBlock => connection.writable = connection.writable_again,
            SendEnd::Broken => connection.give_up(),
            SendEnd::Failed(failure) => {
                // The head has promised more than there is: only an early end can tell.
                self.shared.metrics.store_failed(failure);
                connection.give_up();
            }
        }
    }

    /// Whether the upload is sent, or will not be: then it is let go. Tells whether it was.
    pub(super) fn end_download(&self, connection: &mut Connection) -> bool {
        let over = connection.http.send_credit() == 0 && !connection.http.wants_write();
        let ended = connection.download.take_if(|_| over).is_some();
        if ended {
            self.shared.metrics.busy.dec();
        }
        ended
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent(connection: &Connection) {
    if connection.peer.is_none() {
        return;
    }
    let socket = socket2::SockRef::from(&*connection.socket);
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "a download fills its send buffer");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent(_: &Connection) {}
