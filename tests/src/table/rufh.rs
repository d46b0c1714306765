//! The IETF's resumable uploads: on the same URLs, and on the same uploads as tus 1.0.0.

use super::rufh_mixed::mixed;
use crate::{
    message::Request,
    row::{End, Expect, Row, created, problem, row, status},
};

/// `sha-256` of "hello", as a digest field has it, and of something else.
const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
const OTHER: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

/// A creation; `complete` is its `Upload-Complete`.
pub(super) fn create(complete: &str) -> Request {
    Request::bare("POST", "/files").with("Upload-Complete", complete)
}

/// An append by the newest version.
pub(super) fn append(offset: u64, complete: &str) -> Request {
    Request::bare("PATCH", "{upload}")
        .with("Content-Type", "application/partial-upload")
        .with("Upload-Offset", offset)
        .with("Upload-Complete", complete)
}

pub(super) fn retrieve(method: &str) -> Request {
    Request::bare(method, "{upload}").with("Upload-Draft-Interop-Version", 9)
}

/// An upload is made that is not complete.
pub(super) fn begun() -> Expect {
    created().with("Upload-Complete", "?0").having("Upload-Limit")
}

/// The upload is complete.
pub(super) fn done() -> Expect {
    status(200).with("Upload-Complete", "?1")
}

/// So much of it is there.
pub(super) fn state(offset: u64, complete: &str) -> Expect {
    status(204).offset(offset).with("Upload-Complete", complete).having("Upload-Limit")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = creations();
    rows.extend(lengths());
    rows.extend(appends());
    rows.extend(offsets());
    rows.extend(complete());
    rows.extend(digests());
    rows.extend(versions());
    rows.extend(mixed());
    rows
}

fn creations() -> Vec<Row> {
    let mut rows: Vec<_> = ["POST", "PUT", "PATCH"]
        .map(|method| {
            row("I1", format!("{method} on the collection begins an upload"))
                .send(
                    Request::bare(method, "/files").with("Upload-Complete", "?0").sized("hello"),
                    begun().with("Upload-Limit", "min-size=0"),
                )
                .send(retrieve("HEAD"), state(5, "?0").without("Upload-Length"))
        })
        .into();
    rows.extend([
        row("I1", "an upload begins without content")
            .send(create("?0"), begun())
            .send(retrieve("HEAD"), state(0, "?0")),
        row("I1", "other methods do not create").send(
            Request::bare("DELETE", "/files").with("Upload-Complete", "?1"),
            problem(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, POST, PUT, PATCH"),
        ),
        row("I2", "a whole upload in one request")
            .send(create("?1").sized("hello"), done().creates("{origin}/files/"))
            .send(retrieve("HEAD"), state(5, "?1").with("Upload-Length", 5)),
        row("I2", "a whole upload in chunks")
            .send(create("?1").chunked(&["hel", "lo"]), done().creates("{origin}/files/"))
            .send(retrieve("HEAD"), state(5, "?1").with("Upload-Length", 5)),
        row("I2", "an upload without content")
            .send(create("?1"), done().creates("{origin}/files/"))
            .send(retrieve("HEAD"), state(0, "?1").with("Upload-Length", 0)),
        row("I4", "what came of a cut creation is kept, and the upload is not complete")
            .begin("creation", create("?1").announcing(9, "hello"))
            .end("creation", End::HalfClose)
            .answered("creation", problem(400, "ERR_UNEXPECTED_EOF").creates("{origin}/files/"))
            .send(retrieve("HEAD"), state(5, "?0").with("Upload-Length", 9))
            .send(append(5, "?1").sized("you!"), done())
            .send(retrieve("HEAD"), state(9, "?1")),
        row("I7", "the representation's fields become metadata")
            .send(
                create("?0")
                    .with("Content-Type", "text/plain")
                    .with("Content-Disposition", "inline; filename=\"a.txt\""),
                begun(),
            )
            .send(
                Request::head(),
                status(200).with("Upload-Metadata", "filetype dGV4dC9wbGFpbg==,filename YS50eHQ="),
            ),
        row("I28", "a malformed field counts as absent")
            .send(create("?0").with("Upload-Length", "five"), begun())
            .send(retrieve("HEAD"), state(0, "?0").without("Upload-Length")),
        row("I28", "without Upload-Complete nothing is created").send(
            Request::bare("POST", "/files").with("Upload-Draft-Interop-Version", 9),
            problem(400, "ERR_INVALID_UPLOAD_COMPLETE"),
        ),
        row("I28", "a malformed Upload-Complete is none")
            .send(create("yes").sized("hello"), problem(400, "ERR_INVALID_UPLOAD_COMPLETE")),
    ]);
    rows
}

fn lengths() -> Vec<Row> {
    vec![
        row("I5", "lengths that contradict each other").send(
            create("?1").with("Upload-Length", 6).sized("hello"),
            problem(400, "ERR_INCONSISTENT_UPLOAD_LENGTH"),
        ),
        row("I5", "a length that is not the upload's")
            .send(create("?0").with("Upload-Length", 9).sized("hello"), begun())
            .send(
                append(5, "?0").with("Upload-Length", 8).sized("yo"),
                problem(400, "ERR_INCONSISTENT_UPLOAD_LENGTH"),
            )
            .send(append(5, "?1").sized("yo"), problem(400, "ERR_INCONSISTENT_UPLOAD_LENGTH"))
            .send(append(5, "?1").with("Upload-Length", 9).sized("you!"), done()),
        row("I5", "content that ends before the length does not complete")
            .send(create("?0").with("Upload-Length", 9), begun())
            .send(append(0, "?1").chunked(&["hello"]), problem(400, "ERR_INCONSISTENT_UPLOAD_LENGTH"))
            .send(retrieve("HEAD"), state(5, "?0")),
        row("I6", "OPTIONS tells the limits")
            .config(|config| config.max_size(9).max_chunk_size(5))
            .send(
                Request::bare("OPTIONS", "/files"),
                status(204).with("Upload-Limit", "max-size=9, max-append-size=5"),
            )
            .send(Request::bare("OPTIONS", "*"), status(204).having("Upload-Limit")),
        row("I6", "OPTIONS says so where there is no limit")
            .send(Request::bare("OPTIONS", "/files"), status(204).with("Upload-Limit", "min-size=0")),
        row("I6", "what is too large is told the limits")
            .config(|config| config.max_size(9).max_chunk_size(5))
            .send(
                create("?0").with("Upload-Length", 10),
                problem(413, "ERR_MAX_SIZE_EXCEEDED").having("Upload-Limit").without("Location"),
            )
            .send(
                create("?0").sized("hello!"),
                problem(413, "ERR_CHUNK_SIZE_EXCEEDED").having("Upload-Limit"),
            )
            .send(create("?0").sized("hello"), begun())
            .send(
                append(5, "?0").chunked(&["hello"]),
                problem(413, "ERR_MAX_SIZE_EXCEEDED").having("Upload-Limit"),
            ),
        row("I6", "the limits come before lengths that contradict each other, and the upload stays valid")
            .config(|config| config.max_size(9).max_chunk_size(5))
            .send(
                create("?1").with("Upload-Length", 10).sized("x"),
                problem(413, "ERR_MAX_SIZE_EXCEEDED").having("Upload-Limit"),
            )
            .send(create("?0").with("Upload-Length", 4), begun())
            .send(append(0, "?0").sized("hello!"), problem(413, "ERR_CHUNK_SIZE_EXCEEDED"))
            .send(retrieve("HEAD"), state(0, "?0")),
        row("I15", "a request past the length is refused, and the upload is gone for good")
            .send(create("?0").with("Upload-Length", 7).sized("hello"), begun())
            .send(append(5, "?0").sized("you!"), problem(400, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .send(retrieve("HEAD"), status(404))
            .send(append(5, "?0").sized("yo"), problem(404, "ERR_UPLOAD_NOT_FOUND")),
        row("I15", "content that goes past the length is refused, and the upload is gone for good")
            .send(create("?0").with("Upload-Length", 7).sized("hello"), begun())
            .send(append(5, "?0").chunked(&["you!"]), problem(400, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .send(retrieve("HEAD"), status(404)),
    ]
}

fn appends() -> Vec<Row> {
    vec![
        row("I10", "an append, and the last one")
            .send(create("?0").sized("hello"), begun())
            .send(append(5, "?0").sized(" you"), status(204).with("Upload-Complete", "?0"))
            .send(append(9, "?1").sized("!"), done())
            .send(retrieve("HEAD"), state(10, "?1").with("Upload-Length", 10)),
        row("I10", "an empty append completes")
            .send(create("?0").sized("hello"), begun())
            .send(append(5, "?1"), done())
            .send(retrieve("HEAD"), state(5, "?1").with("Upload-Length", 5)),
        row("I10", "an append in chunks that completes")
            .send(create("?0").sized("hello"), begun())
            .send(append(5, "?1").chunked(&["yo", "u"]), done())
            .send(retrieve("HEAD"), state(8, "?1")),
        row("I11", "to reach the length does not complete")
            .send(create("?0").with("Upload-Length", 9).sized("hello"), begun())
            .send(append(5, "?0").sized("you!"), status(204).with("Upload-Complete", "?0"))
            .send(retrieve("HEAD"), state(9, "?0").with("Upload-Length", 9))
            .send(append(9, "?1"), done()),
        row("I12", "another offset is told the right one")
            .send(create("?0").sized("hello"), begun())
            .send(
                append(4, "?1").sized("o"),
                problem(409, "ERR_MISMATCHED_OFFSET").offset(5).with("Upload-Complete", "?0"),
            )
            .send(append(6, "?0").sized("o"), problem(409, "ERR_MISMATCHED_OFFSET").offset(5))
            .send(retrieve("HEAD"), state(5, "?0")),
        row("I13", "an append of another type, or without its offset")
            .send(create("?0"), begun())
            .send(
                append(0, "?1").without("Content-Type").sized("x"),
                problem(415, "ERR_INVALID_CONTENT_TYPE"),
            )
            .send(append(0, "?1").without("Upload-Offset").sized("x"), problem(400, "ERR_INVALID_OFFSET"))
            .send(
                append(0, "?1").without("Upload-Complete").sized("x"),
                problem(400, "ERR_INVALID_UPLOAD_COMPLETE"),
            )
            .send(retrieve("HEAD"), state(0, "?0")),
        row("I13", "an append to nothing").send(
            Request { target: "/files/unknown".into(), ..append(0, "?1") },
            problem(404, "ERR_UPLOAD_NOT_FOUND"),
        ),
        row("I14", "a complete upload takes nothing")
            .send(create("?1").sized("hello"), done().creates("{origin}/files/"))
            .send(
                append(5, "?0").sized("x"),
                problem(400, "ERR_UPLOAD_COMPLETED").with("Upload-Complete", "?0"),
            )
            .send(append(0, "?1").sized("hello"), problem(400, "ERR_UPLOAD_COMPLETED"))
            .send(append(5, "?1"), done())
            .send(retrieve("HEAD"), state(5, "?1")),
        row("I17", "a newcomer takes over from an append that hangs")
            .send(create("?0"), begun())
            .begin("writer", append(0, "?1").announcing(9, "hello"))
            .tells(5)
            .send(append(5, "?1").sized("you!"), done())
            .answered("writer", problem(400, "ERR_UPLOAD_INTERRUPTED"))
            .send(retrieve("HEAD"), state(9, "?1")),
        row("I4", "what came of a cut append is kept")
            .send(create("?0"), begun())
            .begin("writer", append(0, "?1").announcing(9, "hello"))
            .end("writer", End::HalfClose)
            .answered("writer", problem(400, "ERR_UNEXPECTED_EOF"))
            .send(append(5, "?1").with("Upload-Length", 9).sized("you!"), done()),
    ]
}

fn offsets() -> Vec<Row> {
    vec![
        row("I9", "GET tells what HEAD tells")
            .send(create("?0").with("Upload-Length", 9).sized("hello"), begun())
            .send(retrieve("GET"), state(5, "?0").with("Upload-Length", 9))
            .send(retrieve("HEAD"), state(5, "?0").with("Upload-Length", 9)),
        row("I9", "of what is not there nothing is told").send(
            Request { target: "/files/unknown".into(), ..retrieve("HEAD") },
            status(404).without("Upload-Offset"),
        ),
        row("I9", "a HEAD while content comes tells what has come")
            .send(create("?0"), begun())
            .begin("writer", append(0, "?0").chunked_so_far(&["hello"]))
            .tells(5)
            .more("writer", "you")
            .end("writer", End::Complete)
            .answered("writer", status(204).with("Upload-Complete", "?0"))
            .send(retrieve("HEAD"), state(8, "?0")),
        row("I9", "what is left of its life")
            .config(|config| config.upload_expiry(Some(std::time::Duration::from_secs(3600))))
            .send(create("?0"), begun().without("Upload-Expires"))
            .send(retrieve("HEAD"), state(0, "?0").without("Upload-Expires")),
    ]
}

fn complete() -> Vec<Row> {
    vec![
        row("I16", "DELETE cancels")
            .send(create("?0").sized("hello"), begun())
            .send(retrieve("DELETE"), status(204))
            .send(retrieve("HEAD"), status(404)),
        row("I16", "DELETE ends the request that is under way")
            .send(create("?0"), begun())
            .begin("writer", append(0, "?0").announcing(9, "hello"))
            .tells(5)
            .send(retrieve("DELETE"), status(204))
            .answered("writer", problem(400, "ERR_UPLOAD_INTERRUPTED"))
            .send(retrieve("HEAD"), status(404)),
        row("I16", "where DELETE is disabled")
            .config(|config| config.termination(false))
            .send(create("?0"), begun())
            .send(
                retrieve("DELETE"),
                problem(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, GET, PATCH"),
            ),
    ]
}

fn digests() -> Vec<Row> {
    vec![
        row("I18", "content is held against its digest")
            .send(create("?0").with("Content-Digest", HELLO).sized("hello"), begun())
            .send(
                append(5, "?0").with("Content-Digest", HELLO).sized("hallo"),
                problem(400, "ERR_CHECKSUM_MISMATCH"),
            )
            .send(retrieve("HEAD"), state(5, "?0"))
            .send(append(5, "?1").with("Content-Digest", HELLO).sized("hello"), done()),
        row("I18", "unknown and malformed digests are ignored")
            .send(create("?0").with("Content-Digest", "md5=:AA==:, x").sized("hello"), begun())
            .send(append(5, "?1").with("Content-Digest", "sha-256=5").sized("hello"), done()),
        row("I19", "the whole upload is held against its digest, however it came")
            .send(create("?0").with("Repr-Digest", HELLO).sized("he"), begun())
            .send(append(2, "?0").sized("ll"), status(204).with("Upload-Complete", "?0"))
            .send(append(4, "?1").sized("o"), done())
            .send(retrieve("HEAD"), state(5, "?1")),
        row("I19", "an upload that is not what its digest says is never complete")
            .send(create("?0").with("Repr-Digest", OTHER).sized("he"), begun())
            .send(append(2, "?1").sized("llo"), problem(400, "ERR_CHECKSUM_MISMATCH"))
            .send(retrieve("HEAD"), state(5, "?0"))
            .send(append(5, "?1"), problem(400, "ERR_CHECKSUM_MISMATCH")),
        row("I20", "the digest is told with the last answer, to who wants it")
            .send(create("?0").sized("he"), begun())
            .send(
                append(2, "?1").with("Want-Repr-Digest", "md5=9, sha-256=5").sized("llo"),
                done().with("Repr-Digest", HELLO),
            ),
        row("I20", "so it is where all came at once").send(
            create("?1").with("Want-Repr-Digest", "sha-256=5").sized("hello"),
            done().with("Repr-Digest", HELLO).creates("{origin}/files/"),
        ),
    ]
}

fn versions() -> Vec<Row> {
    let rows = (3..=9).map(|version: u64| {
        let says = |complete: bool| match version {
            3 => ("Upload-Incomplete", if complete { "?0" } else { "?1" }),
            _ => ("Upload-Complete", if complete { "?1" } else { "?0" }),
        };
        let request = |method: &str, target: &str, complete| {
            let (name, value) = says(complete);
            let request = Request::bare(method, target).with("Upload-Draft-Interop-Version", version);
            request.with(name, value)
        };
        let append = |offset: u64, complete| {
            let request = request("PATCH", "{upload}", complete).with("Upload-Offset", offset);
            if version > 5 { request.with("Content-Type", "application/partial-upload") } else { request }
        };
        let (part, whole) = (says(false), says(true));
        row("I21", format!("an upload by version {version}"))
            .send(request("POST", "/files", false).sized("hel"), created().with(part.0, part.1).offset(3))
            .send(
                append(3, false).sized("lo"),
                status(if version < 7 { 201 } else { 204 }).with(part.0, part.1).offset(5),
            )
            .send(
                Request::bare("HEAD", "{upload}").with("Upload-Draft-Interop-Version", version),
                status(204).offset(5).with(part.0, part.1),
            )
            .send(append(5, true).sized("!"), status(200).with(whole.0, whole.1).offset(6))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.extend([
        row("I22", "up to version 6 a HEAD has no field of an upload")
            .send(create("?0"), begun())
            .send(
                Request::bare("HEAD", "{upload}")
                    .with("Upload-Draft-Interop-Version", 6)
                    .with("Upload-Offset", 0),
                status(400),
            )
            .send(retrieve("HEAD").with("Upload-Offset", 0), state(0, "?0")),
        row("I22", "appends of versions before the sixth are of any type").send(create("?0"), begun()).send(
            append(0, "?1")
                .without("Content-Type")
                .with("Content-Type", "text/plain")
                .with("Upload-Draft-Interop-Version", 5)
                .sized("x"),
            done(),
        ),
    ]);
    rows
}
