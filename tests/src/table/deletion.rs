//! DELETE: termination.

use crate::{
    message::Request,
    row::{Row, refused, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    let gone = |row: Row| {
        row.send(Request::delete(), status(204).without("Upload-Offset"))
            .send(Request::head(), status(404))
            .send(Request::patch(0).sized("hello"), refused(404, "ERR_UPLOAD_NOT_FOUND"))
            .send(Request::delete(), refused(404, "ERR_UPLOAD_NOT_FOUND"))
    };
    vec![
        gone(row("D1", "DELETE of a new upload").upload(5)),
        gone(
            row("D1", "DELETE of an upload under way")
                .upload(9)
                .send(Request::patch(0).sized("hello"), status(204)),
        ),
        gone(
            row("D1", "DELETE of a finished upload")
                .upload(5)
                .send(Request::patch(0).sized("hello"), status(204)),
        ),
        gone(row("D1", "DELETE of an empty upload").upload(0)),
        row("D1", "DELETE ignores what is a PATCH's")
            .upload(5)
            .send(Request::delete().with("Upload-Offset", "x").with("Upload-Length", 7), status(204)),
        row("D1", "DELETE with a body").upload(5).send(Request::delete().sized("hello"), status(204)),
        row("R9", "DELETE where it is disabled")
            .config(|config| config.termination(false))
            .upload(5)
            .send(
                Request::delete(),
                refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, PATCH"),
            )
            .tells(0),
    ]
}
