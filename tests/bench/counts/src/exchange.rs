//! Exchanges alone, with a lock table, over a store that remembers one record and says yes to everything.

use std::{hint::black_box, sync::Arc};

use tus_proto::{
    AppendEnd, Command, Completion, Config, Exchange, Framing, Head, Input, LockEvent, LockTable, OpId,
    Output, Owner, Record, Response, Trailers, UploadId,
};

use crate::NOW;

/// The length of an upload, bytes.
pub(crate) const LENGTH: u64 = 4096;

/// The path of one.
pub(crate) const PATH: &str = "/files/0HtFYqQyGJzWrKx3mNvBcDsT";

const METADATA: &str = "filename aG9saWRheS5qcGc=,filetype aW1hZ2UvanBlZw==";

/// What a client of tus sends with everything.
const COMMON: [(&str, &[u8]); 2] = [("Host", b"localhost:1080"), ("Tus-Resumable", b"1.0.0")];

const POST: [(&str, &[u8]); 2] = [("Upload-Length", b"4096"), ("Upload-Metadata", METADATA.as_bytes())];

const PATCH: [(&str, &[u8]); 2] =
    [("Upload-Offset", b"0"), ("Content-Type", b"application/offset+octet-stream")];

/// What exchanges need around them.
pub(crate) struct Surroundings {
    pub(crate) config: Arc<Config>,
    locks: LockTable,
    /// The one upload.
    record: Option<Record>,
}

impl Surroundings {
    /// With an upload that has no bytes yet.
    pub(crate) fn new() -> Self {
        let record = UploadId::new(PATH.trim_start_matches("/files/")).map(|id| Record {
            id,
            created: NOW.wall,
            offset: 0,
            length: Some(LENGTH),
            metadata: METADATA.to_owned(),
            expires: None,
            concat: None,
            explicit: None,
        });
        Self { config: Arc::default(), locks: LockTable::new(tus_proto::Fence(1)), record }
    }

    /// Carries out what the exchange wants, until it wants the body or is done. Tells the Append that waits for the
    /// body, if one does.
    pub(crate) fn carry_out(
        &mut self,
        exchange: &mut Exchange,
        mut answer: impl FnMut(&Response),
    ) -> Option<OpId> {
        let owner = Owner(1);
        while let Some(output) = exchange.poll() {
            match output {
                Output::Lock(op, call) => {
                    self.locks.call(NOW.monotonic, owner, op, call);
                    while let Some((_, LockEvent::Reply(op, reply))) = self.locks.poll() {
                        exchange.handle(NOW, Input::Lock(op, reply));
                    }
                }
                Output::Store(op, Command::Append { .. }) => return Some(op),
                Output::Store(op, command) => {
                    let completion = self.complete(command);
                    exchange.handle(NOW, Input::Store(op, completion));
                }
                Output::Respond(response) => answer(&response),
                Output::Hook(..)
                | Output::Continue
                | Output::Interim(_)
                | Output::Notify(_)
                | Output::Done => {}
            }
        }
        None
    }

    fn complete(&mut self, command: Command) -> Completion {
        match command {
            Command::Load { .. } => self.record.clone().map_or(Completion::Missing, Completion::Loaded),
            Command::Reserve { .. } => Completion::Declined,
            Command::Create { record, .. } => {
                self.record = Some(record);
                Completion::Created
            }
            // The offset stays: the next one starts there again.
            Command::Commit { to, .. } => Completion::Committed { offset: to },
            _ => Completion::Missing,
        }
    }
}

/// The body is there, all of it.
pub(crate) fn receive(exchange: &mut Exchange, append: OpId) {
    exchange.handle(NOW, Input::Staged(append, LENGTH));
    let end = AppendEnd::Complete(Trailers::default());
    let appended = Completion::Appended { total: LENGTH, end, digest: None };
    exchange.handle(NOW, Input::Store(append, appended));
}

/// The creation of an upload.
pub(crate) fn post(times: u32) {
    run(times, ("POST", "/files"), &POST, Framing::Length(0));
}

/// All of an upload's bytes in one PATCH.
pub(crate) fn patch(times: u32) {
    run(times, ("PATCH", PATH), &PATCH, Framing::Length(LENGTH));
}

/// How far an upload is.
pub(crate) fn head(times: u32) {
    run(times, ("HEAD", PATH), &[], Framing::Length(0));
}

fn run(times: u32, (method, target): (&str, &str), fields: &[(&str, &[u8])], framing: Framing) {
    let fields = [&COMMON, fields].concat();
    let head = Head { method, target, fields: &fields, framing, secure: false, direct: false };
    let mut around = Surroundings::new();
    for _ in 0..times {
        let mut exchange = Exchange::new(around.config.clone(), black_box(&head), [7; 10], NOW);
        let answer = |response: &Response| assert!(response.status() < 300);
        if let Some(append) = around.carry_out(&mut exchange, answer) {
            receive(&mut exchange, append);
            around.carry_out(&mut exchange, answer);
        }
    }
}
