//! HEAD: what is committed.

use crate::{
    message::Request,
    row::{Row, created, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("H1", "HEAD of a new upload").upload(5).send(
            Request::head(),
            status(200)
                .offset(0)
                .with("Upload-Length", 5)
                .without("Upload-Defer-Length")
                .without("Upload-Metadata")
                .without("Upload-Concat")
                .without("Upload-Expires"),
        ),
        row("H1", "HEAD of an upload under way")
            .upload(9)
            .send(Request::patch(0).sized("hello"), status(204))
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 9)),
        row("H1", "HEAD of a finished upload")
            .upload(5)
            .send(Request::patch(0).sized("hello"), status(204))
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 5)),
        row("H1", "HEAD of an upload of unknown length")
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), status(204))
            .send(
                Request::head(),
                status(200).offset(5).with("Upload-Defer-Length", 1).without("Upload-Length"),
            ),
        row("H1", "HEAD tells metadata")
            .send(
                Request::post().with("Upload-Length", 5).with("Upload-Metadata", "name d29ybGQ=, private"),
                created(),
            )
            .send(Request::head(), status(200).with("Upload-Metadata", "name d29ybGQ=, private")),
        row("H1", "HEAD ignores what is a PATCH's").upload(5).send(
            Request::head().with("Upload-Offset", "x").with("Upload-Length", "x"),
            status(200).offset(0),
        ),
        row("H2", "HEAD of an unknown upload tells no offset")
            .send(Request::tus("HEAD", "/files/unknown"), status(404).without("Upload-Offset")),
    ]
}
