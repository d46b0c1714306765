//! A body that is cut short: every byte that reached the server is kept.

use crate::{
    message::Request,
    row::{End, Row, created, refused, row, status},
};

/// A writer of "hello" and more, and how it ends.
fn cut(case: &'static str, name: &str, end: End) -> Row {
    row(case, name)
        .upload(9)
        .begin("writer", Request::patch(0).announcing(9, "hello"))
        .tells(5)
        .end("writer", end)
}

pub(super) fn rows() -> Vec<Row> {
    let go_on = |row: Row| row.tells(5).send(Request::patch(5).sized("you!"), status(204).offset(9));
    let chunked = || Request::patch(0).chunked_so_far(&["hel", "lo"]);
    vec![
        go_on(cut("P13", "a client that closes loses nothing that arrived", End::Close)),
        go_on(cut("P13", "a client that resets loses nothing that was taken in", End::Reset)),
        go_on(
            cut("P13", "a client that closes its side is told, and loses nothing", End::HalfClose)
                .answered("writer", refused(400, "ERR_UNEXPECTED_EOF")),
        ),
        go_on(
            cut("P13", "a client that stalls is told, and loses nothing", End::Stall)
                .stalls()
                .answered("writer", refused(500, "ERR_READ_TIMEOUT")),
        ),
        go_on(
            row("P13", "a body whose framing breaks is kept up to there")
                .upload(9)
                .begin("writer", chunked())
                .end("writer", End::BadFraming)
                .answered("writer", refused(400, "ERR_BAD_REQUEST")),
        ),
        row("P13", "what was not committed yet is committed when the client closes its side")
            .upload(9)
            .begin("writer", Request::patch(0).announcing(9, "hello"))
            .end("writer", End::HalfClose)
            .answered("writer", refused(400, "ERR_UNEXPECTED_EOF"))
            .tells(5),
        row("P13", "a chunked body without its last chunk is kept")
            .upload(9)
            .begin("writer", chunked())
            .end("writer", End::HalfClose)
            .answered("writer", refused(400, "ERR_UNEXPECTED_EOF"))
            .tells(5),
        row("P13", "a client that closes at once")
            .upload(9)
            .begin("writer", Request::patch(0).announcing(9, "hello"))
            .end("writer", End::Close)
            .tells(5),
        row("P13", "a body of which nothing came")
            .upload(9)
            .begin("writer", Request::patch(0).announcing(9, ""))
            .end("writer", End::HalfClose)
            .answered("writer", refused(400, "ERR_UNEXPECTED_EOF"))
            .tells(0),
        row("P10", "a deferred length is known from a body that was cut")
            .deferred_upload()
            .begin("writer", Request::patch(0).with("Upload-Length", 9).announcing(9, "hello"))
            .end("writer", End::HalfClose)
            .answered("writer", refused(400, "ERR_UNEXPECTED_EOF"))
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 9)),
        row("C15", "a creation whose body is cut tells where the upload is")
            .begin("creation", Request::post().with("Upload-Length", 9).upload_type().announcing(9, "hello"))
            .end("creation", End::HalfClose)
            .answered("creation", refused(400, "ERR_UNEXPECTED_EOF").creates("{origin}/files/"))
            .tells(5)
            .send(Request::patch(5).sized("you!"), status(204).offset(9)),
        row("C11", "a creation that completes after a pause")
            .begin(
                "creation",
                Request::post().with("Upload-Length", 9).upload_type().chunked_so_far(&["hello"]),
            )
            .more("creation", "you!")
            .end("creation", End::Complete)
            .answered("creation", created().offset(9)),
    ]
}
