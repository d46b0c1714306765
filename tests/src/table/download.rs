//! GET of finished uploads.

use tus_proto::ConfigBuilder;

use crate::{
    message::Request,
    row::{Expect, Row, created, refused, row, status},
};

fn enabled(config: ConfigBuilder) -> ConfigBuilder {
    config.downloads(true)
}

fn get() -> Request {
    Request::bare("GET", "{upload}")
}

fn range(value: &str) -> Request {
    get().with("Range", value)
}

/// All of "hello".
fn all() -> Expect {
    status(200).body("hello").with("Accept-Ranges", "bytes").having("ETag")
}

/// A row whose upload is "hello", with this metadata.
fn hello(case: &'static str, name: impl Into<String>, metadata: &str) -> Row {
    let post = Request::post().with("Upload-Length", 5).with("Upload-Metadata", metadata);
    row(case, name).config(enabled).send(post.upload_type().sized("hello"), created().offset(5))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = whole();
    rows.extend(ranges());
    rows.extend(names());
    rows.extend(heads());
    rows
}

fn whole() -> Vec<Row> {
    vec![
        hello("G1", "GET of a finished upload", "").send(
            get(),
            all()
                .with("Content-Type", "application/octet-stream")
                .without("Content-Range")
                .with("Cache-Control", "no-cache")
                .with("Content-Security-Policy", "sandbox; default-src 'none'")
                .with("Cross-Origin-Resource-Policy", "same-origin")
                .having("Content-Disposition"),
        ),
        row("G1", "GET of an empty upload").config(enabled).upload(0).send(get(), status(200).having("ETag")),
        row("G7", "GET of an upload under way")
            .config(enabled)
            .upload(5)
            .send(Request::patch(0).sized("hell"), status(204))
            .send(get(), refused(404, "ERR_UPLOAD_NOT_FINISHED"))
            .send(Request::patch(4).sized("o"), status(204))
            .send(get(), all()),
        row("G7", "GET of an upload that is not there")
            .config(enabled)
            .send(Request::bare("GET", "/files/unknown"), refused(404, "ERR_UPLOAD_NOT_FOUND")),
        hello("D1", "GET of an upload that was deleted", "")
            .send(Request::delete(), status(204))
            .send(get(), refused(404, "ERR_UPLOAD_NOT_FOUND")),
        row("G9", "GET where downloads are not enabled").upload(0).send(
            get(),
            refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, PATCH, DELETE"),
        ),
        row("R9", "what is allowed where downloads are enabled").config(enabled).upload(5).send(
            Request::tus("PUT", "{upload}"),
            refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, GET, PATCH, DELETE"),
        ),
        hello("G4", "GET of what the client has already", "")
            .send(get().with("If-None-Match", "*"), status(304).having("ETag"))
            .send(get().with("If-None-Match", "\"other\""), all()),
        hello("G6", "GET of another version than the client wants", "")
            .send(get().with("If-Match", "\"other\""), refused(412, "ERR_PRECONDITION_FAILED"))
            .send(get().with("If-Match", "*"), all()),
        hello("G5", "a range of what the client has another version of", "")
            .send(range("bytes=1-2").with("If-Range", "\"other\""), all()),
    ]
}

fn ranges() -> Vec<Row> {
    let parts = [
        ("bytes=0-0", "h", "bytes 0-0/5"),
        ("bytes=1-3", "ell", "bytes 1-3/5"),
        ("bytes=1-", "ello", "bytes 1-4/5"),
        ("bytes=-2", "lo", "bytes 3-4/5"),
        ("bytes=-9", "hello", "bytes 0-4/5"),
        ("bytes=3-99", "lo", "bytes 3-4/5"),
    ];
    let mut rows: Vec<_> = parts
        .map(|(value, body, told)| {
            let part = status(206).body(body).with("Content-Range", told);
            hello("G2", format!("Range {value:?}"), "").send(range(value), part.having("ETag"))
        })
        .into();
    rows.extend(["bytes=5-", "bytes=9-12", "bytes=-0"].map(|value| {
        let nowhere = refused(416, "ERR_RANGE_NOT_SATISFIABLE").with("Content-Range", "bytes */5");
        hello("G3", format!("Range {value:?}"), "").send(range(value), nowhere)
    }));
    rows.extend(
        ["lines=1-2", "bytes=", "bytes=x-", "bytes=3-1", "bytes"]
            .map(|value| hello("G1", format!("Range {value:?} is ignored"), "").send(range(value), all())),
    );
    rows
}

fn names() -> Vec<Row> {
    let typed = |case, metadata: &str, told: &'static str| {
        hello(case, format!("GET of an upload with {metadata:?} is {told}"), metadata)
            .send(get(), all().with("Content-Type", told))
    };
    let octets = "application/octet-stream";
    vec![
        typed("G1", "filetype aW1hZ2UvcG5n", "image/png"),
        // `text/plain\r\nX: y`, `nonsense`, nothing.
        typed("G8", "filetype dGV4dC9wbGFpbg0KWDogeQ==", octets),
        typed("G8", "filetype bm9uc2Vuc2U=", octets),
        typed("G8", "filetype", octets),
        // `multipart/byteranges; boundary=x`, `Multipart/x-mixed-replace`.
        typed("G8", "filetype bXVsdGlwYXJ0L2J5dGVyYW5nZXM7IGJvdW5kYXJ5PXg=", octets),
        typed("G8", "filetype TXVsdGlwYXJ0L3gtbWl4ZWQtcmVwbGFjZQ==", octets),
        // `a.txt`
        hello("G1", "GET tells the upload's name", "filename YS50eHQ=")
            .send(get(), all().with("Content-Disposition", "attachment; filename=\"a.txt\"")),
        // `../../etc/passwd`
        hello("G8", "GET of an upload whose name is a path", "filename Li4vLi4vZXRjL3Bhc3N3ZA==")
            .send(get(), all().with("Content-Disposition", "attachment; filename=\"passwd\"")),
    ]
}

/// HEAD as clients ask that know nothing of tus.
fn heads() -> Vec<Row> {
    let bare = |target: &str| Request::bare("HEAD", target);
    let head = || bare("{upload}");
    vec![
        hello(
            "G10",
            "HEAD of a finished upload, of a client that knows nothing of tus",
            "filetype aW1hZ2UvcG5n",
        )
        .send(
            head(),
            status(200)
                .having("ETag")
                .with("Content-Type", "image/png")
                .with("Accept-Ranges", "bytes")
                .with("Cache-Control", "no-cache")
                .without("Upload-Offset"),
        ),
        hello("G10", "such a HEAD of a range", "")
            .send(head().with("Range", "bytes=1-2"), status(206).with("Content-Range", "bytes 1-2/5"))
            .send(head().with("Range", "bytes=5-"), status(416).with("Content-Range", "bytes */5"))
            .send(head().with("If-None-Match", "*"), status(304))
            .send(head().with("If-Match", "\"other\""), status(412).without("Tus-Version")),
        hello("G10", "such a HEAD by an override", "")
            .send(
                Request::bare("POST", "{upload}").with("X-HTTP-Method-Override", "HEAD"),
                status(200).having("ETag"),
            )
            .tells(5),
        row("G10", "such a HEAD of an upload that is not finished, or not there")
            .config(enabled)
            .upload(5)
            .send(head(), status(404))
            .send(bare("/files/unknown"), status(404))
            .send(bare("/files"), status(405).with("Allow", "OPTIONS, POST"))
            .tells(0),
        hello("R1", "HEAD of another version where downloads are enabled", "")
            .send(head().with("Tus-Resumable", "0.2.2"), status(412).with("Tus-Version", "1.0.0")),
        hello("H1", "HEAD where downloads are enabled", "")
            .send(Request::head(), status(200).offset(5).without("ETag")),
    ]
}
