//! One PATCH of four bytes to the end of an upload, every output answered as a store and a lock service
//! would. Each step that goes wrong has a number.

use alloc::{sync::Arc, vec::Vec};

use tus_proto::{
    AppendEnd, Command, Completion, Config, Exchange, Fence, Framing, Head, Input, LockCall, LockReply, Now,
    Output, Record, Trailers, UploadId, WallTime,
};

/// Drives the PATCH; the error is the number of the step that went wrong.
pub(crate) fn run() -> Result<(), u8> {
    let config = Config::builder().base_path("/files").build().map_err(|_| 1u8)?;
    let id = UploadId::new("upload").ok_or(2u8)?;
    let fields: [(&str, &[u8]); 3] = [
        ("Tus-Resumable", b"1.0.0"),
        ("Content-Type", b"application/offset+octet-stream"),
        ("Upload-Offset", b"3"),
    ];
    let framing = Framing::Length(4);
    let head = Head {
        method: "PATCH",
        target: "/files/upload",
        fields: &fields,
        framing,
        secure: false,
        direct: false,
    };
    let now = Now::default();
    let mut exchange = Exchange::new(Arc::new(config), &head, [0; 10], now);
    let mut answers = Vec::new();
    while let Some(output) = exchange.poll() {
        match output {
            Output::Lock(op, LockCall::Acquire { .. }) => {
                let reply = LockReply::Granted { fence: Fence(1), rotate: false };
                exchange.handle(now, Input::Lock(op, reply));
            }
            Output::Lock(op, LockCall::Release { .. }) => {
                exchange.handle(now, Input::Lock(op, LockReply::Released));
            }
            Output::Store(op, Command::Append { at: 3, .. }) => {
                let end = AppendEnd::Complete(Trailers::default());
                let completion = Completion::Appended { total: 4, end, digest: None };
                exchange.handle(now, Input::Store(op, completion));
            }
            Output::Store(op, Command::Load { .. }) => {
                let (created, metadata) = (WallTime::default(), Default::default());
                let record = Record {
                    id: id.clone(),
                    created,
                    offset: 3,
                    length: Some(7),
                    metadata,
                    expires: None,
                    concat: None,
                    explicit: None,
                };
                exchange.handle(now, Input::Store(op, Completion::Loaded(record)));
            }
            Output::Store(op, Command::Commit { from: 3, to: 7, finish: true, .. }) => {
                exchange.handle(now, Input::Store(op, Completion::Committed { offset: 7 }));
            }
            Output::Continue | Output::Interim(_) | Output::Notify(_) => {}
            Output::Respond(response) => answers.push(response),
            Output::Done => {
                let [answer] = &answers[..] else { return Err(3) };
                let right = answer.status() == 204 && answer.header("Upload-Offset") == Some("7");
                return if right { Ok(()) } else { Err(4) };
            }
            Output::Lock(..) | Output::Store(..) | Output::Hook(..) => return Err(5),
        }
    }
    Err(6)
}
