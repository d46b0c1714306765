//! One turn of one connection: everything that can be done for it without waiting.

use tus_driver::Store;

use super::{
    connection::{Connection, ReadEnd},
    event_loop::EventLoop,
};
use crate::http1::{Eof, Event};

/// How many steps one connection may take before others have their turn.
const STEPS: usize = 64;

impl<S: Store> EventLoop<S> {
    /// Moves a connection on as far as it goes; what is left after its share comes in the loop's next round.
    pub(super) fn turn(&mut self, connection: &mut Connection<S>) {
        for _ in 0..STEPS {
            let ran = self.run_session(connection);
            let pumped = self.pump_body(connection);
            let read = connection.request.is_none() && self.read(connection);
            let written = connection.write(self.now);
            let sending = self.pump_download(connection);
            let lost = connection.broken && self.on_broken(connection);
            let sent = self.end_download(connection);
            if !(ran || pumped || read || written || sending || lost || sent) {
                return;
            }
        }
        self.again.push(connection.id);
    }

    /// The system says that the connection is broken. A request finds out by reading its body, for what arrived
    /// before is still there, or ends by itself. Returns whether it did anything.
    fn on_broken(&mut self, connection: &mut Connection<S>) -> bool {
        if connection.gone || connection.request.is_some() {
            return false;
        }
        connection.give_up();
        true
    }

    /// Between requests: takes the next head, or forgets what is left of the last body. Returns whether it did
    /// anything.
    fn read(&mut self, connection: &mut Connection<S>) -> bool {
        if !connection.unread.is_empty() {
            let mut unread = std::mem::take(&mut connection.unread);
            let before = unread.as_slice().len();
            let rest = self.parse(connection, unread.as_slice());
            unread.keep_last(rest);
            connection.unread = unread;
            return rest < before || connection.request.is_some();
        }
        if connection.ended {
            let before = connection.http.is_closed();
            return connection.http.eof(self.now.monotonic) == Eof::Closed && !before;
        }
        if !connection.readable || !connection.http.wants_read() {
            return false;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        match connection.read(&mut scratch) {
            ReadEnd::Bytes(count) => {
                let rest = self.parse(connection, &scratch[..count]);
                connection.unread.push(&scratch[count - rest..count]);
            }
            ReadEnd::Nothing => {}
            ReadEnd::Eof => {
                connection.ended = true;
                connection.http.eof(self.now.monotonic);
            }
            ReadEnd::Broken => connection.give_up(),
        }
        self.scratch = scratch;
        true
    }

    /// Gives input to the connection's HTTP, and tells how much of it is left.
    fn parse(&mut self, connection: &mut Connection<S>, input: &[u8]) -> usize {
        let mut rest = input;
        loop {
            match connection.http.next(self.now.monotonic, &mut rest) {
                Some(Event::Head) => {
                    self.begin_request(connection);
                    if let Some(request) = &mut connection.request {
                        if let Some(access) = &mut request.access {
                            access.body_at = connection.taken.saturating_sub(rest.len() as u64);
                        }
                        return rest.len();
                    }
                }
                Some(Event::Rejected(code)) => {
                    self.shared.metrics.request(None);
                    self.refuse(connection, code);
                }
                Some(Event::Body(_) | Event::End(_)) => {}
                None => return rest.len(),
            }
        }
    }
}
