//! Upload-Concat: parts, finals of finished parts, and finals that wait for theirs.

use crate::{
    message::Request,
    row::{Expect, Row, created, refused, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = parts();
    rows.extend(finals());
    rows.extend(pending());
    rows.extend(names_of_parts());
    rows.extend(bad_finals());
    rows.extend(limits());
    rows.extend(untouchable());
    rows.extend(deletions());
    rows.extend(finished_parts_alone());
    rows
}

fn part(length: u64) -> Request {
    Request::post().with("Upload-Concat", "partial").with("Upload-Length", length)
}

fn concat(value: &str) -> Request {
    Request::post().with("Upload-Concat", value)
}

fn patch(upload: &str, offset: u64) -> Request {
    Request::tus("PATCH", upload).with("Upload-Offset", offset).upload_type()
}

fn head(upload: &str) -> Request {
    Request::tus("HEAD", upload)
}

/// A final that is complete at once.
fn complete(length: u64) -> Expect {
    created().offset(length).with("Upload-Length", length)
}

/// HEAD of a final that waits.
fn waiting() -> Expect {
    status(200).without("Upload-Offset")
}

/// HEAD of a final that is complete.
fn whole(length: u64) -> Expect {
    status(200).offset(length).with("Upload-Length", length)
}

fn nothing(status: u16, code: &'static str) -> Expect {
    refused(status, code).without("Location")
}

/// Two finished parts, "hel" and "lo".
fn two_parts(case: &'static str, name: impl Into<String>) -> Row {
    row(case, name)
        .send(part(3).upload_type().sized("hel"), created().offset(3).named("a"))
        .send(part(2).upload_type().sized("lo"), created().offset(2).named("b"))
}

/// A finished part "hel" and one of two bytes that is empty yet.
fn one_of_two(case: &'static str, name: impl Into<String>) -> Row {
    row(case, name)
        .send(part(3).upload_type().sized("hel"), created().offset(3).named("a"))
        .send(part(2), created().offset(0).named("b"))
}

fn parts() -> Vec<Row> {
    vec![
        row("N1", "a part is an upload like any other, and says what it is")
            .send(part(5).with("Upload-Metadata", "k dg=="), created().offset(0).without("Upload-Concat"))
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(
                Request::head(),
                whole(5).with("Upload-Concat", "partial").with("Upload-Metadata", "k dg=="),
            ),
        row("N1", "a part of unknown length")
            .send(concat("partial").with("Upload-Defer-Length", 1), created().offset(0))
            .send(Request::patch(0).with("Upload-Length", 5).sized("hel"), status(204).offset(3))
            .send(Request::head(), status(200).offset(3).with("Upload-Length", 5)),
        row("N1", "a part without any length")
            .send(concat("partial"), nothing(400, "ERR_INVALID_UPLOAD_LENGTH")),
        row("N1", "an empty part is finished")
            .send(part(0), created().offset(0).named("a"))
            .send(concat("final;{a}"), complete(0)),
    ]
}

fn finals() -> Vec<Row> {
    vec![
        two_parts("N2", "a final of finished parts is complete at once")
            .send(concat("final;{a} {b}").with("Upload-Metadata", "name eA=="), complete(5))
            .send(
                Request::head(),
                whole(5).with("Upload-Concat", "final;{a} {b}").with("Upload-Metadata", "name eA=="),
            ),
        two_parts("N2", "a final's bytes are its parts', in its order")
            .config(|config| config.downloads(true))
            .send(concat("final;{b} {a}"), complete(5))
            .send(Request::bare("GET", "{upload}"), status(200).body("lohel").having("ETag")),
        two_parts("N2", "a final has no metadata but its own")
            .send(part(1).with("Upload-Metadata", "k dg==").upload_type().sized("x"), created().named("c"))
            .send(concat("final;{c}"), complete(1))
            .send(Request::head(), whole(1).without("Upload-Metadata")),
        two_parts("N10", "a part may be in several finals")
            .send(concat("final;{a} {b}"), complete(5).named("one"))
            .send(concat("final;{b}"), complete(2).named("two"))
            .send(head("{one}"), whole(5))
            .send(head("{a}"), whole(3).with("Upload-Concat", "partial")),
        two_parts("N9", "a final's length is its parts', whatever the client says")
            .send(concat("final;{a} {b}").with("Upload-Length", 77), complete(5)),
    ]
}

fn pending() -> Vec<Row> {
    vec![
        one_of_two("N3", "a final is complete when its last part is")
            .send(concat("final;{a} {b}"), created().without("Upload-Offset").named("final"))
            .send(head("{final}"), waiting().with("Upload-Concat", "final;{a} {b}"))
            .send(patch("{b}", 0).sized("l"), status(204).offset(1))
            .send(head("{final}"), waiting())
            .send(patch("{b}", 1).sized("o"), status(204).offset(2))
            .send(head("{final}"), whole(5)),
        one_of_two("N3", "the bytes of a final that had to wait are its parts'")
            .config(|config| config.downloads(true))
            .send(concat("final;{a} {b} {a}"), created().without("Upload-Offset").named("final"))
            .send(Request::bare("GET", "{final}"), refused(404, "ERR_UPLOAD_NOT_FINISHED"))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(Request::bare("GET", "{final}"), status(200).body("hellohel").having("ETag")),
        one_of_two("N3", "two finals wait for the same part")
            .send(concat("final;{b}"), created().without("Upload-Offset").named("one"))
            .send(concat("final;{b} {a}"), created().without("Upload-Offset").named("two"))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(head("{one}"), whole(2))
            .send(head("{two}"), whole(5)),
        one_of_two("N3", "a part that stands twice in a final that waits")
            .send(concat("final;{b} {b}"), created().without("Upload-Offset").named("final"))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(head("{final}"), whole(4)),
        one_of_two("N4", "the length of a final that waits is told when all its parts have one")
            .send(concat("partial").with("Upload-Defer-Length", 1), created().named("c"))
            .send(concat("final;{a} {c}"), created().without("Upload-Offset").named("final"))
            .send(head("{final}"), waiting().without("Upload-Length"))
            .send(patch("{c}", 0).with("Upload-Length", 2).sized("l"), status(204).offset(1))
            .send(head("{final}"), waiting().with("Upload-Length", 5))
            .send(patch("{c}", 1).sized("o"), status(204).offset(2))
            .send(head("{final}"), whole(5)),
        one_of_two("N4", "it is told at once where the parts have theirs")
            .send(concat("final;{a} {b}"), created().without("Upload-Offset"))
            .send(Request::head(), waiting().with("Upload-Length", 5)),
        row("N3", "a part of unknown length that its length alone finishes")
            .send(concat("partial").with("Upload-Defer-Length", 1), created().named("a"))
            .send(patch("{a}", 0).sized("hello"), status(204).offset(5))
            .send(concat("final;{a}"), created().without("Upload-Offset").named("final"))
            .send(patch("{a}", 5).with("Upload-Length", 5), status(204).offset(5))
            .send(head("{final}"), whole(5)),
    ]
}

fn names_of_parts() -> Vec<Row> {
    let forms = [
        "final;{a} {b}",
        "final;http://localhost:1080{a} https://elsewhere.example{b}",
        "final;https://proxy.example/some/prefix{a} /prefix{b}",
        "final;{a}?x=y {b}#z",
        "final; {a}  {b} ",
        "final;/files/x{a} {b}",
    ];
    let mut rows: Vec<_> = forms
        .map(|form| two_parts("N5", format!("parts are named as {form:?}")).send(concat(form), complete(5)))
        .into();
    rows.push(two_parts("N5", "the same part twice").send(concat("final;{a} {b} {a}"), complete(8)));
    rows
}

fn bad_finals() -> Vec<Row> {
    let bad = || nothing(400, "ERR_INVALID_CONCAT");
    let values = [
        "final",
        "final;",
        "final; ",
        "final;/files/unknown",
        "final;/elsewhere",
        "final;/files/",
        "final;x",
        "final;{a} /files/a.b",
        "final;{a},{b}",
        "partials",
        "",
        "PARTIAL",
    ];
    let mut rows: Vec<_> = values
        .map(|value| {
            two_parts("N6", format!("Upload-Concat {value:?}"))
                .send(concat(value).with("Upload-Length", 1), bad())
        })
        .into();
    rows.extend([
        row("N6", "a final of an upload that is no part").upload(0).send(concat("final;{upload}"), bad()),
        two_parts("N6", "a final of a final")
            .send(concat("final;{a}"), complete(3))
            .send(concat("final;{upload}"), bad()),
        two_parts("N6", "a final of a part that was deleted")
            .send(Request::tus("DELETE", "{a}"), status(204))
            .send(concat("final;{a} {b}"), bad()),
        two_parts("N6", "two different Upload-Concat")
            .send(concat("final;{a}").with("Upload-Concat", "final;{b}"), bad()),
        two_parts("N6", "more parts than are allowed")
            .config(|config| config.max_parts(2))
            .send(concat("final;{a} {b} {a}"), bad())
            .send(concat("final;{a} {b}"), complete(5)),
    ]);
    rows
}

fn limits() -> Vec<Row> {
    vec![
        two_parts("N7", "a final over the largest upload")
            .config(|config| config.max_size(4))
            .send(concat("final;{a} {b}"), nothing(413, "ERR_MAX_SIZE_EXCEEDED")),
        two_parts("N7", "a final of exactly the largest upload")
            .config(|config| config.max_size(5))
            .send(concat("final;{a} {b}"), complete(5)),
        one_of_two("N7", "a final over it that would have to wait")
            .config(|config| config.max_size(4))
            .send(concat("final;{a} {b}"), nothing(413, "ERR_MAX_SIZE_EXCEEDED")),
        row("N7", "where there is a largest upload, a final of a part of unknown length")
            .config(|config| config.max_size(9))
            .send(concat("partial").with("Upload-Defer-Length", 1), created().named("a"))
            .send(concat("final;{a}"), nothing(400, "ERR_INVALID_CONCAT")),
        row("N13", "Upload-Concat where uploads are not concatenated")
            .config(|config| config.concatenation(false))
            .send(part(5), nothing(400, "ERR_CONCATENATION_UNSUPPORTED"))
            .send(concat("final;/files/x"), nothing(400, "ERR_CONCATENATION_UNSUPPORTED")),
    ]
}

fn untouchable() -> Vec<Row> {
    let no = || refused(403, "ERR_MODIFY_FINAL");
    vec![
        two_parts("N8", "a final with a body")
            .send(concat("final;{a} {b}").upload_type().sized("x"), no().without("Location")),
        two_parts("N8", "a PATCH of a finished final")
            .send(concat("final;{a} {b}"), complete(5))
            .send(Request::patch(5).sized("x"), no())
            .send(Request::patch(5), no())
            .tells(5),
        one_of_two("N8", "a PATCH of a final that waits")
            .send(concat("final;{a} {b}"), created())
            .send(Request::patch(0).sized("x"), no())
            .send(Request::head(), waiting()),
        two_parts("K3", "the final before the offset")
            .send(concat("final;{a} {b}"), complete(5))
            .send(Request::patch(3).sized("x"), no())
            .send(Request::patch(9).sized("x"), no()),
    ]
}

fn deletions() -> Vec<Row> {
    let delete = |upload: &str| Request::tus("DELETE", upload);
    vec![
        two_parts("N10", "a final is whole without its parts")
            .config(|config| config.downloads(true))
            .send(concat("final;{a} {b}"), complete(5).named("final"))
            .send(delete("{a}"), status(204))
            .send(delete("{b}"), status(204))
            .send(head("{a}"), status(404))
            .send(Request::bare("GET", "{final}"), status(200).body("hello").having("ETag")),
        two_parts("D1", "a final is deleted, and its parts stay")
            .send(concat("final;{a} {b}"), complete(5).named("final"))
            .send(delete("{final}"), status(204))
            .send(head("{final}"), status(404))
            .send(head("{a}"), whole(3))
            .send(concat("final;{a} {b}"), complete(5)),
        one_of_two("D3", "a finished part is deleted while a final waits for another")
            .config(|config| config.downloads(true))
            .send(concat("final;{a} {b}"), created().named("final"))
            .send(delete("{a}"), status(204))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(head("{final}"), whole(5))
            .send(Request::bare("GET", "{final}"), status(200).body("hello").having("ETag")),
        one_of_two("N11", "an unfinished part that is deleted takes the final that waits along")
            .send(concat("final;{a} {b}"), created().named("final"))
            .send(delete("{b}"), status(204))
            .send(head("{final}"), status(404))
            .send(head("{a}"), whole(3)),
        one_of_two("D3", "a final that waits is deleted, and its parts go on")
            .send(concat("final;{a} {b}"), created().named("final"))
            .send(delete("{final}"), status(204))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(head("{final}"), status(404)),
        two_parts("N12", "with delete_parts the parts go when the final is complete")
            .config(|config| config.delete_parts(true))
            .send(concat("final;{a} {b}"), complete(5).named("final"))
            .send(head("{a}"), status(404))
            .send(head("{b}"), status(404))
            .send(head("{final}"), whole(5)),
        one_of_two("N12", "with delete_parts they stay while it waits")
            .config(|config| config.delete_parts(true))
            .send(concat("final;{a} {b}"), created().named("final"))
            .send(head("{a}"), whole(3))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(head("{a}"), status(404))
            .send(head("{b}"), status(404))
            .send(head("{final}"), whole(5)),
    ]
}

/// Where finals of unfinished parts are not wanted.
fn finished_parts_alone() -> Vec<Row> {
    let strict = |config: tus_proto::ConfigBuilder| config.concatenation_unfinished(false);
    vec![
        one_of_two("N14", "a final of a part that is not finished is refused where that is disabled")
            .config(strict)
            .send(concat("final;{a} {b}"), nothing(400, "ERR_INVALID_CONCAT"))
            .send(patch("{b}", 0).sized("lo"), status(204).offset(2))
            .send(concat("final;{a} {b} {a}"), complete(8))
            .send(concat("final;{a} /files/unknown"), nothing(400, "ERR_INVALID_CONCAT")),
        two_parts("N5", "blanks around the semicolon and between the URLs")
            .send(concat("final ; {a}   {b} "), complete(5))
            .send(Request::head(), whole(5)),
    ]
}
