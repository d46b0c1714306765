//! An upload on its way to a client: read by a worker and sent beside the connection, a piece at a time.

use tus_proto::{Body, Response};
use tus_redb::Source;

use super::{
    Connection, Server,
    jobs::{Job, Work},
};
use crate::sim::env::{Env, LinkId};

/// The upload that the answer under way carries.
#[derive(Debug)]
pub(super) struct Download {
    /// None while a worker has it.
    source: Option<Source>,
    /// The next byte to be sent.
    at: u64,
    /// A worker has had it.
    begun: bool,
}

/// What became of a piece.
#[derive(Debug)]
pub(in crate::sim) struct Sent {
    source: Source,
    count: u64,
    end: SendEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendEnd {
    Done,
    Broken,
    Failed,
}

impl Server {
    /// Gives a worker the next piece, or lets go of what is sent, or will not be. Returns whether it did anything.
    pub(super) fn pump_download(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let over = connection.http.send_credit() == 0 && !connection.http.wants_write();
        if connection.download.take_if(|_| over).is_some() {
            return true;
        }
        if !connection.wants_to_send(env) {
            return false;
        }
        let Some(download) = &mut connection.download else { return false };
        let Some(source) = download.source.take() else { return false };
        let limit = env.choice.part(connection.http.send_credit());
        // Between being promised and being read an upload may go.
        let late = !std::mem::replace(&mut download.begun, true) && !env.choice.one_in(4);
        let work = Work::Send { source, from: download.at, limit, late };
        self.jobs.push(Job { link: Some(connection.link), owner: None, work });
        // Stop the peer's timer: from here on the worker is the bottleneck, not the peer.
        connection.http.set_sending(env.now.monotonic, false);
        true
    }

    /// A worker brings the source back.
    pub(super) fn on_sent(&mut self, env: &Env, connection: &mut Connection, sent: Sent) {
        let now = env.now.monotonic;
        let Some(download) = &mut connection.download else { return };
        download.source = Some(sent.source);
        download.at += sent.count;
        connection.http.sent_beside(now, sent.count);
        connection.http.set_sending(now, true);
        let faults = &env.plan.faults;
        // Each file of an upload is opened when its turn comes.
        let excused = !faults.spare_the_disk() || faults.descriptors > 0;
        let readable = sent.end != SendEnd::Failed || excused;
        assert!(readable, "an upload that is held can't be read, and nothing is wrong with the disk");
        if sent.end != SendEnd::Done {
            // The head has promised more than there is: only an early end can tell.
            connection.give_up();
        }
    }
}

impl Connection {
    /// The answer was given: what it carries follows it.
    pub(super) fn begin_download(&mut self, response: &Response) {
        let Body::Upload { from, .. } = response.content() else { return };
        let source = self.request.as_mut().and_then(|request| request.session.take_source());
        self.download = Some(Download { source, at: *from, begun: false });
    }

    /// Whether there is more of an upload to send, and the network takes it.
    pub(in crate::sim) fn wants_to_send(&self, env: &Env) -> bool {
        let here = self.download.as_ref().is_some_and(|download| download.source.is_some());
        let takes = env.links.get(&self.link).is_some_and(|link| link.broken || link.down.room() > 0);
        here && takes && self.http.send_credit() > 0
    }
}

/// Sends what is in an upload from `from` on, at most `limit` bytes, as many as the network takes.
pub(super) fn send(env: &mut Env, link: LinkId, mut source: Source, from: u64, limit: u64) -> Sent {
    let Some(link) = env.links.get_mut(&link).filter(|link| !link.broken) else {
        return Sent { source, count: 0, end: SendEnd::Broken };
    };
    let mut buffer = vec![0; link.down.room().min(limit as usize)];
    let read = if buffer.is_empty() { Ok(0) } else { source.read_at(from, &mut buffer) };
    match read {
        Ok(count) => {
            link.down.send(&buffer[..count]);
            Sent { source, count: count as u64, end: SendEnd::Done }
        }
        Err(_) => Sent { source, count: 0, end: SendEnd::Failed },
    }
}
