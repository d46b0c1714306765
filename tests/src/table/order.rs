//! The order of the checks: each request offends against several rules, and the first is told.

use crate::{
    message::Request,
    row::{Row, refused, row, status},
};

/// Breaks every rule behind the path.
fn wrong(target: &str) -> Request {
    Request::bare("POST", target)
        .with("X-HTTP-Method-Override", "BREW, BREW")
        .with("Upload-Offset", "x")
        .with("Upload-Length", "x")
        .with("Expect", "x")
        .with("If-Match", "x")
}

/// Breaks every rule behind the version.
fn versioned(method: &str, target: &str) -> Request {
    Request::tus(method, target).with("Upload-Offset", "x").with("Upload-Length", "x").with("Expect", "x")
}

pub(super) fn rows() -> Vec<Row> {
    let full = || row_of_finished();
    vec![
        row("K1", "the path before all else").send(wrong("/elsewhere"), refused(404, "ERR_NOT_FOUND")),
        row("K1", "the id's form with the path")
            .send(wrong("/files/a.b"), refused(404, "ERR_UPLOAD_NOT_FOUND")),
        row("K1", "the override before the version")
            .send(wrong("/files/x"), refused(400, "ERR_INVALID_METHOD_OVERRIDE")),
        row("K1", "OPTIONS before the version").send(
            Request { method: "OPTIONS".into(), ..wrong("/files/x") },
            status(204).with("Tus-Version", "1.0.0"),
        ),
        row("K1", "the version before the method").send(
            wrong("/files/x").without("X-HTTP-Method-Override"),
            refused(412, "ERR_UNSUPPORTED_VERSION"),
        ),
        row("K1", "the method before the syntax")
            .send(versioned("BREW", "/files/x"), refused(405, "ERR_METHOD_NOT_ALLOWED")),
        row("K1", "the syntax before the expectation")
            .send(versioned("PATCH", "/files/x").upload_type(), refused(400, "ERR_INVALID_OFFSET")),
        row("K1", "the expectation before the upload").send(
            Request::tus("PATCH", "/files/x").with("Upload-Offset", 0).upload_type().with("Expect", "x"),
            refused(417, "ERR_EXPECTATION_FAILED"),
        ),
        row("K1", "the upload before its offset").send(
            Request::tus("PATCH", "/files/x").with("Upload-Offset", 7).upload_type().sized("hello"),
            refused(404, "ERR_UPLOAD_NOT_FOUND"),
        ),
        row("K2", "an offset below before the completion")
            .upload(5)
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(Request::patch(2).sized("llo"), refused(409, "ERR_MISMATCHED_OFFSET").offset(5)),
        row("K2", "an offset above before the completion")
            .upload(5)
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(Request::patch(6).sized("x"), refused(409, "ERR_MISMATCHED_OFFSET").offset(5)),
        full().send(
            Request::patch(5).with("Upload-Length", 9).sized("x"),
            refused(403, "ERR_UPLOAD_COMPLETED"),
        ),
        row("K1", "the length rules before the size limits")
            .config(|config| config.max_chunk_size(3))
            .upload(5)
            .send(
                Request::patch(0).with("Upload-Length", 9).sized("hello"),
                refused(400, "ERR_INVALID_UPLOAD_LENGTH"),
            ),
    ]
}

fn row_of_finished() -> Row {
    row("K1", "the completion before the length rules")
        .upload(5)
        .send(Request::patch(0).sized("hello"), status(204).offset(5))
}
