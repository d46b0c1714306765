//! Every request: version, method override, path, method, numbers, expectation.

use tus_proto::MethodOverride;

use super::NO_NUMBERS;
use crate::{
    message::Request,
    row::{Expect, Row, created, refused, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = versions();
    rows.extend(overrides());
    rows.extend(bad_overrides());
    rows.extend(paths());
    rows.extend(methods());
    rows.extend(numbers());
    rows.extend(expectations());
    rows.extend(conditions());
    rows
}

fn versions() -> Vec<Row> {
    let old = || refused(412, "ERR_UNSUPPORTED_VERSION").with("Tus-Version", "1.0.0");
    let unversioned = |request: Request| request.without("Tus-Resumable");
    let create = || Request::post().with("Upload-Length", 5);
    vec![
        row("R1", "POST without a version").send(unversioned(create()), old().without("Location")),
        row("R1", "POST with another version")
            .send(unversioned(create()).with("Tus-Resumable", "0.2.2"), old()),
        row("R1", "POST with an empty version").send(unversioned(create()).with("Tus-Resumable", ""), old()),
        row("R1", "POST with two versions").send(create().with("Tus-Resumable", "1.0.1"), old()),
        row("R1", "POST with the version twice")
            .send(create().with("tus-resumable", "1.0.0"), created().offset(0)),
        row("R1", "HEAD without a version")
            .upload(5)
            .send(unversioned(Request::head()), status(412).with("Tus-Version", "1.0.0")),
        row("R1", "PATCH without a version changes nothing")
            .upload(5)
            .send(unversioned(Request::patch(0)).sized("hello"), old())
            .tells(0),
        row("R1", "DELETE with another version deletes nothing")
            .upload(5)
            .send(unversioned(Request::delete()).with("Tus-Resumable", "2.0.0"), old())
            .tells(0),
        row("R9", "GET without a version is only not allowed").upload(5).send(
            Request::bare("GET", "{upload}"),
            refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, PATCH, DELETE"),
        ),
        row("R14", "X-Request-ID is echoed").send(
            Request::bare("OPTIONS", "/files").with("X-Request-ID", "a-1_b.c"),
            status(204).with("X-Request-ID", "a-1_b.c"),
        ),
        row("R14", "X-Request-ID is cut to 36 safe characters").send(
            Request::tus("PATCH", "/elsewhere").with("X-Request-ID", "(a b);".to_owned() + &"c".repeat(60)),
            refused(404, "ERR_NOT_FOUND").with("X-Request-ID", "ab".to_owned() + &"c".repeat(34)),
        ),
        row("R14", "an X-Request-ID without a safe character is not echoed").send(
            Request::bare("OPTIONS", "/files").with("X-Request-ID", "()"),
            status(204).without("X-Request-ID"),
        ),
    ]
}

fn over(actual: &str, target: &str, name: &str) -> Request {
    Request::tus(actual, target).with("X-HTTP-Method-Override", name)
}

fn over_patch(actual: &str, name: &str) -> Request {
    over(actual, "{upload}", name).with("Upload-Offset", 0).upload_type().sized("hello")
}

/// A 405 that tells what is allowed for an upload.
fn not_for_an_upload() -> Expect {
    refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", "OPTIONS, HEAD, PATCH, DELETE")
}

fn overrides() -> Vec<Row> {
    let mut rows: Vec<_> = ["PATCH", "Patch", "patch"]
        .map(|name| {
            row("R2", format!("POST overridden by {name} is a PATCH"))
                .upload(5)
                .send(over_patch("POST", name), status(204).offset(5))
                .tells(5)
        })
        .into();
    rows.extend([
        row("R2", "POST overridden by DELETE is a DELETE")
            .upload(5)
            .send(over("POST", "{upload}", "DELETE"), status(204))
            .send(Request::head(), status(404)),
        row("R2", "POST overridden by HEAD is a HEAD")
            .upload(5)
            .send(over("POST", "{upload}", "HEAD"), status(200).offset(0).with("Upload-Length", 5)),
        row("R2", "POST overridden by POST is a creation")
            .send(over("POST", "/files", "POST").with("Upload-Length", 5), created().offset(0)),
        row("R2", "POST overridden by OPTIONS is an OPTIONS")
            .send(over("POST", "/files", "options"), status(204).with("Tus-Version", "1.0.0")),
        row("R2", "POST overridden by GET is a GET")
            .upload(5)
            .send(over("POST", "{upload}", "GET"), not_for_an_upload()),
        row("R2", "POST overridden by GET is a GET where downloads are enabled")
            .config(|config| config.downloads(true))
            .send(Request::post().with("Upload-Length", 5).upload_type().sized("hello"), created().offset(5))
            .send(over("POST", "{upload}", "GET"), status(200).body("hello").having("ETag")),
        row("R2", "an override needs the version as the method itself does").upload(5).send(
            over_patch("POST", "PATCH").without("Tus-Resumable"),
            refused(412, "ERR_UNSUPPORTED_VERSION").with("Tus-Version", "1.0.0"),
        ),
        row("R2", "an override with the same value twice counts once")
            .upload(5)
            .send(over_patch("POST", "PATCH").with("X-HTTP-Method-Override", "PATCH"), status(204).offset(5)),
        row("R3", "OPTIONS ignores an override").send(over("OPTIONS", "/files", "PATCH"), status(204)),
        row("R3", "OPTIONS ignores a bad override").send(over("OPTIONS", "/files", "a b"), status(204)),
    ]);
    rows.extend(["GET", "PUT", "BREW"].map(|actual| {
        row("R3", format!("{actual} ignores an override"))
            .upload(5)
            .send(over(actual, "{upload}", "DELETE"), not_for_an_upload())
            .send(over(actual, "{upload}", ""), not_for_an_upload())
            .tells(0)
    }));
    rows.extend([
        row("R3", "HEAD ignores an override")
            .upload(5)
            .send(over("HEAD", "{upload}", "DELETE"), status(200).offset(0))
            .tells(0),
        row("R3", "PATCH ignores an override")
            .upload(5)
            .send(over_patch("PATCH", "DELETE"), status(204).offset(5))
            .tells(5),
        row("R15", "where any method may be overridden, GET can be a DELETE")
            .config(|config| config.method_override(MethodOverride::Any))
            .upload(5)
            .send(over("GET", "{upload}", "DELETE"), status(204))
            .send(Request::head(), status(404)),
        row("R15", "where any method may be overridden, PUT and unknown ones can be a PATCH")
            .config(|config| config.method_override(MethodOverride::Any))
            .upload(5)
            .send(over_patch("PUT", "PATCH"), status(204).offset(5))
            .send(over("BREW", "{upload}", "head"), status(200).offset(5))
            .send(over("PATCH", "{upload}", "DELETE"), status(204)),
        row("R15", "where any method may be overridden, OPTIONS still ignores it")
            .config(|config| config.method_override(MethodOverride::Any))
            .send(over("OPTIONS", "/files", "PATCH"), status(204)),
        row("R15", "where no method may be overridden, POST ignores it too")
            .config(|config| config.method_override(MethodOverride::Off))
            .upload(5)
            .send(over("POST", "{upload}", "DELETE"), not_for_an_upload())
            .send(over("POST", "/files", "").with("Upload-Length", 5), created().offset(0)),
    ]);
    rows
}

fn bad_overrides() -> Vec<Row> {
    let bad = || refused(400, "ERR_INVALID_METHOD_OVERRIDE");
    let mut rows: Vec<_> = ["PUT", "PATCHES", "brew"]
        .map(|name| {
            row("R4", format!("the override {name:?} is a method that is not there"))
                .upload(5)
                .send(over("POST", "{upload}", name), not_for_an_upload())
        })
        .into();
    rows.extend(["", "PATCH, PATCH", "a/b"].map(|name| {
        row("R4", format!("the override {name:?} is refused"))
            .upload(5)
            .send(over("POST", "{upload}", name), bad())
    }));
    rows.push(
        row("R4", "two different overrides are refused")
            .upload(5)
            .send(over("POST", "{upload}", "PATCH").with("X-HTTP-Method-Override", "DELETE"), bad()),
    );
    rows
}

fn paths() -> Vec<Row> {
    let nowhere = || refused(404, "ERR_NOT_FOUND");
    let mut rows: Vec<_> = ["/elsewhere", "/file", "/filesystem", "/FILES", "/x/files", "/fil%65s"]
        .map(|path| {
            row("R5", format!("nothing is at {path}"))
                .send(Request::tus("POST", path).with("Upload-Length", 5), nowhere())
        })
        .into();
    let long = "a".repeat(129);
    let ids = ["a.b", "a%20b", "a/b", "..", "~", "a+b", "a=", "/", &long];
    rows.extend(ids.map(|id| {
        let target = format!("/files/{id}");
        row("R6", format!("no upload can be at {target}"))
            .send(Request::tus("HEAD", &target), status(404))
            .send(
                Request::tus("PATCH", &target).with("Upload-Offset", 0).upload_type(),
                refused(404, "ERR_UPLOAD_NOT_FOUND"),
            )
    }));
    let at = |target: &str| Request::tus("POST", target).with("Upload-Length", 5);
    let absolute = "http://localhost/files";
    rows.extend([
        row("R8", "the collection with a trailing slash").send(at("/files/"), created().offset(0)),
        row("R8", "the collection with a query").send(at("/files?a=/b"), created().offset(0)),
        row("R8", "the collection in absolute form")
            .send(at(absolute).with("Host", "localhost"), created().offset(0)),
        row("R8", "the collection at the root of a URL without a path")
            .config(|config| config.base_path("/"))
            .send(
                at("http://localhost?x=/files").with("Host", "localhost"),
                status(201).creates("{origin}/").offset(0),
            ),
        row("R8", "an upload with a query")
            .upload(5)
            .send(Request::tus("HEAD", "{upload}?x=1/2"), status(200).offset(0)),
        row("R8", "an upload in absolute form").upload(5).send(
            Request::tus("HEAD", "http://localhost{upload}").with("Host", "localhost"),
            status(200).offset(0),
        ),
        row("R7", "an unknown upload")
            .send(Request::tus("HEAD", "/files/unknown"), status(404))
            .send(
                Request::tus("PATCH", "/files/unknown").with("Upload-Offset", 0).upload_type().sized("hello"),
                refused(404, "ERR_UPLOAD_NOT_FOUND"),
            )
            .send(Request::tus("DELETE", "/files/unknown"), refused(404, "ERR_UPLOAD_NOT_FOUND")),
        row("R6", "an id of 128 characters may be an upload")
            .send(Request::tus("HEAD", &format!("/files/{}", "a".repeat(128))), status(404)),
        row("R8", "another base path")
            .config(|config| config.base_path("/a/b/"))
            .send(at("/files"), nowhere())
            .send(at("/a/b"), status(201).creates("{origin}/a/b/").offset(0)),
        row("R8", "the root as base path")
            .config(|config| config.base_path("/"))
            .send(at("/"), status(201).creates("{origin}/").offset(0)),
    ]);
    rows
}

fn methods() -> Vec<Row> {
    let not = |allow: &str| refused(405, "ERR_METHOD_NOT_ALLOWED").with("Allow", allow);
    let upload = "OPTIONS, HEAD, PATCH, DELETE";
    let mut rows: Vec<_> = ["GET", "PUT", "PATCH", "DELETE", "BREW", "post"]
        .map(|method| {
            row("R9", format!("{method} is not for the collection"))
                .send(Request::tus(method, "/files"), not("OPTIONS, POST"))
        })
        .into();
    rows.extend(["GET", "PUT", "POST", "BREW", "patch"].map(|method| {
        row("R9", format!("{method} is not for an upload"))
            .upload(5)
            .send(Request::tus(method, "{upload}"), not(upload))
    }));
    rows.push(
        row("R9", "HEAD is not for the collection")
            .send(Request::tus("HEAD", "/files"), status(405).with("Allow", "OPTIONS, POST")),
    );
    rows
}

fn numbers() -> Vec<Row> {
    let mut rows = Vec::new();
    for value in NO_NUMBERS {
        let length = || refused(400, "ERR_INVALID_UPLOAD_LENGTH");
        let offset = || refused(400, "ERR_INVALID_OFFSET");
        rows.extend([
            row("R10", format!("Upload-Length {value:?} on POST"))
                .send(Request::post().with("Upload-Length", value), length().without("Location")),
            row("R10", format!("Upload-Length {value:?} on PATCH"))
                .deferred_upload()
                .send(Request::patch(0).with("Upload-Length", value).sized("hello"), length()),
            row("R10", format!("Upload-Offset {value:?}")).upload(5).send(
                Request::patch(0).without("Upload-Offset").with("Upload-Offset", value).sized("hello"),
                offset(),
            ),
        ]);
    }
    rows.extend([
        row("R11", "two different Upload-Length").send(
            Request::post().with("Upload-Length", 5).with("Upload-Length", 6),
            refused(400, "ERR_INVALID_UPLOAD_LENGTH"),
        ),
        row("R11", "the same Upload-Length twice")
            .send(Request::post().with("Upload-Length", 5).with("Upload-Length", 5), created().offset(0)),
        row("R11", "two different Upload-Offset")
            .upload(5)
            .send(
                Request::patch(0).with("Upload-Offset", 1).sized("hello"),
                refused(400, "ERR_INVALID_OFFSET"),
            )
            .tells(0),
        row("R11", "the same Upload-Offset twice")
            .upload(5)
            .send(Request::patch(0).with("Upload-Offset", 0).sized("hello"), status(204).offset(5)),
        row("R10", "the largest length of all")
            .send(Request::post().with("Upload-Length", i64::MAX), created().offset(0))
            .send(Request::head(), status(200).with("Upload-Length", i64::MAX)),
        row("R10", "leading zeros")
            .send(Request::post().with("Upload-Length", "0005"), created().offset(0))
            .send(Request::head(), status(200).with("Upload-Length", 5)),
    ]);
    rows
}

fn expectations() -> Vec<Row> {
    vec![
        row("R13", "another expectation is refused")
            .upload(5)
            .send(
                Request::patch(0).with("Expect", "202-reset").sized("hello"),
                refused(417, "ERR_EXPECTATION_FAILED"),
            )
            .tells(0),
        row("R13", "another expectation is refused on HEAD without a body")
            .upload(5)
            .send(Request::head().with("Expect", "x"), status(417)),
        row("R12", "100-continue is met, in any case of letters")
            .upload(5)
            .send(Request::patch(0).with("Expect", "100-Continue").sized("hello"), status(204).offset(5)),
    ]
}

fn conditions() -> Vec<Row> {
    let other = "\"other\"";
    let failed = || refused(412, "ERR_PRECONDITION_FAILED").without("Upload-Offset");
    vec![
        row("R16", "PATCH of an upload that If-Match does not name changes nothing")
            .upload(5)
            .send(Request::patch(0).with("If-Match", other).sized("hello"), failed())
            .tells(0),
        row("R16", "PATCH of an upload, whatever it is")
            .upload(5)
            .send(Request::patch(0).with("If-Match", "*").sized("hello"), status(204).offset(5)),
        row("R16", "an upload that is not there matches nothing").send(
            Request::tus("DELETE", "/files/unknown").with("If-Match", "*"),
            refused(404, "ERR_UPLOAD_NOT_FOUND"),
        ),
        row("R16", "DELETE of an upload that If-Match does not name deletes nothing")
            .upload(5)
            .send(Request::delete().with("If-Match", other), failed())
            .tells(0)
            .send(Request::delete().with("If-Match", "*"), status(204))
            .send(Request::head(), status(404)),
        row("R16", "DELETE of a finished upload that If-Match does not name deletes nothing")
            .upload(5)
            .send(Request::patch(0).sized("hello"), status(204))
            .send(Request::delete().with("If-Match", other), failed())
            .tells(5),
        row("K1", "the offset before the condition").upload(5).send(
            Request::patch(3).with("If-Match", other).sized("lo"),
            refused(409, "ERR_MISMATCHED_OFFSET").offset(0),
        ),
        row("K1", "the size limits before the condition").upload(5).send(
            Request::patch(0).with("If-Match", other).sized("hello, you"),
            refused(413, "ERR_UPLOAD_SIZE_EXCEEDED"),
        ),
    ]
}
