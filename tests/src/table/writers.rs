//! More than one request at an upload: a HEAD beside a writer, and a newcomer that takes over.

use crate::{
    message::Request,
    row::{End, Expect, Row, refused, row, status},
};

/// What a writer is told that gave way.
fn interrupted() -> Expect {
    refused(400, "ERR_UPLOAD_INTERRUPTED")
}

/// Commits only when it must: no checkpoint comes by itself during a row.
fn lazy(config: tus_proto::ConfigBuilder) -> tus_proto::ConfigBuilder {
    config.checkpoint_interval(std::time::Duration::from_secs(3600))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = beside();
    rows.extend(takeovers());
    rows
}

fn beside() -> Vec<Row> {
    let writer = || Request::patch(0).announcing(9, "hello");
    vec![
        row("H3", "HEAD beside a writer tells what has arrived, and the writer goes on")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .more("writer", "you")
            .tells(8)
            .more("writer", "!")
            .answered("writer", status(204).offset(9))
            .tells(9),
        row("H3", "HEAD beside a chunked writer")
            .config(lazy)
            .deferred_upload()
            .begin("writer", Request::patch(0).chunked_so_far(&["hel", "lo"]))
            .tells(5)
            .end("writer", End::Complete)
            .answered("writer", status(204).offset(5)),
        row("W3", "an offset below the committed one leaves the writer undisturbed")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(2).sized("llo"), refused(409, "ERR_MISMATCHED_OFFSET").offset(5))
            .more("writer", "you!")
            .answered("writer", status(204).offset(9)),
        row("W4", "OPTIONS and other uploads do not concern a writer")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::bare("OPTIONS", "{upload}"), status(204))
            .send(Request::bare("GET", "{upload}"), refused(405, "ERR_METHOD_NOT_ALLOWED"))
            .more("writer", "you!")
            .answered("writer", status(204).offset(9)),
    ]
}

fn takeovers() -> Vec<Row> {
    let writer = || Request::patch(0).announcing(9, "hello");
    vec![
        row("W1", "a newcomer at the committed offset takes over")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(5).sized("you!"), status(204).offset(9))
            .answered("writer", interrupted())
            .tells(9),
        row("W1", "to a newcomer at the committed offset the writer leaves what is not committed")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .more("writer", "yo")
            .send(Request::patch(5).sized("YOU!"), status(204).offset(9))
            .answered("writer", interrupted()),
        row("W2", "before a newcomer above the committed offset the writer commits, and the offsets are compared then")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(7).sized("u!"), refused(409, "ERR_MISMATCHED_OFFSET").offset(5))
            .answered("writer", interrupted())
            .tells(5),
        row("W1", "an empty PATCH takes over too")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(5), status(204).offset(5))
            .answered("writer", interrupted()),
        row("W1", "a newcomer takes over from a newcomer")
            .config(lazy)
            .upload(9)
            .begin("first", writer())
            .tells(5)
            .begin("second", Request::patch(5).announcing(4, "y"))
            .answered("first", interrupted())
            .tells(6)
            .send(Request::patch(6).sized("ou!"), status(204).offset(9))
            .answered("second", interrupted()),
        row("W1", "a newcomer takes over with a chunked body")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(5).chunked(&["you!"]), status(204).offset(9))
            .answered("writer", interrupted()),
        row("D2", "a DELETE takes over, and no late write brings the upload back")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .more("writer", "yo")
            .send(Request::delete(), status(204))
            .answered("writer", interrupted())
            .send(Request::head(), status(404)),
        row("W7", "a request whose peer has left leaves the writer undisturbed")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .break_off("dead", Request::patch(5).announcing(4, "yo"))
            .answered("dead", refused(423, "ERR_UPLOAD_LOCKED"))
            .more("writer", "you!")
            .answered("writer", status(204).offset(9)),
        row("W7", "the same with a chunked body")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .break_off("dead", Request::patch(5).chunked_so_far(&["yo"]))
            .answered("dead", refused(423, "ERR_UPLOAD_LOCKED"))
            .more("writer", "you!")
            .answered("writer", status(204).offset(9)),
        row("W7", "what such a request brought is kept where nobody else writes")
            .config(lazy)
            .upload(9)
            .break_off("dead", Request::patch(0).announcing(9, "hello"))
            .answered("dead", refused(400, "ERR_UNEXPECTED_EOF"))
            .tells(5),
        row("W4", "a refused newcomer disturbs nobody")
            .config(lazy)
            .upload(9)
            .begin("writer", writer())
            .tells(5)
            .send(Request::patch(5).without("Content-Type").sized("x"), refused(415, "ERR_INVALID_CONTENT_TYPE"))
            .more("writer", "you!")
            .answered("writer", status(204).offset(9)),
    ]
}
