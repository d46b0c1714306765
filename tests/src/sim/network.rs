//! The network between a client and the server: bytes are under way for as long as the run likes, arrive in any
//! pieces, and stop arriving when either side, or nobody in particular, breaks the connection.

use std::collections::VecDeque;

/// How many bytes one direction holds: whoever sends more waits.
const WINDOW: usize = 16 << 10;

/// One connection's two directions.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// From the client.
    pub(super) up: Pipe,
    /// To the client.
    pub(super) down: Pipe,
    /// The server has taken it up.
    pub(super) accepted: bool,
    /// It is broken: what has not arrived never will.
    pub(super) broken: bool,
    /// The server has closed it.
    pub(super) closed: bool,
    /// The client is no longer interested.
    pub(super) forgotten: bool,
    /// The client has closed its side in the middle of a request's body.
    pub(super) cut_short: bool,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    under_way: VecDeque<u8>,
    arrived: VecDeque<u8>,
    end: End,
    /// Something has happened that the reader does not know.
    pub(super) news: bool,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    None,
    Sent,
    Arrived,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Broken,
}

impl Link {
    /// The connection breaks. What has arrived may be lost with it.
    pub(super) fn break_off(&mut self, lose_arrived: bool) {
        self.broken = true;
        for pipe in [&mut self.up, &mut self.down] {
            pipe.under_way.clear();
            if lose_arrived {
                pipe.arrived.clear();
            }
            pipe.news = true;
        }
    }

    pub(super) fn read_up(&mut self, most: usize) -> Read {
        self.up.read(most, self.broken)
    }

    pub(super) fn read_down(&mut self, most: usize) -> Read {
        self.down.read(most, self.broken)
    }
}

impl Pipe {
    /// How many bytes it takes now.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.under_way.len() + self.arrived.len())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.under_way.extend(bytes);
    }

    /// Nothing follows what was sent.
    pub(super) fn finish(&mut self) {
        if self.end == End::None {
            self.end = End::Sent;
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.end != End::None
    }

    /// How many deliveries there may be: one for each byte, and one for the end.
    pub(super) fn deliverable(&self) -> u64 {
        self.under_way.len() as u64 + u64::from(self.end == End::Sent)
    }

    /// Lets so many of them happen.
    pub(super) fn deliver(&mut self, count: u64) {
        let bytes = (count as usize).min(self.under_way.len());
        self.arrived.extend(self.under_way.drain(..bytes));
        if count as usize > bytes && self.end == End::Sent {
            self.end = End::Arrived;
        }
        self.news = true;
    }

    /// Whether the reader can know that nothing follows what has arrived.
    pub(super) fn has_ended(&self) -> bool {
        self.end == End::Arrived
    }

    /// Whether what has arrived ends with these bytes.
    pub(super) fn ends_with(&self, tail: &[u8]) -> bool {
        self.arrived.len() >= tail.len() && self.arrived.range(self.arrived.len() - tail.len()..).eq(tail)
    }

    pub(super) fn arrived(&self) -> usize {
        self.arrived.len()
    }

    fn read(&mut self, most: usize, broken: bool) -> Read {
        if !self.arrived.is_empty() && most > 0 {
            let count = most.min(self.arrived.len());
            return Read::Bytes(self.arrived.drain(..count).collect());
        }
        match self.end {
            _ if broken => Read::Broken,
            End::Arrived => Read::End,
            End::None | End::Sent => Read::Nothing,
        }
    }
}
