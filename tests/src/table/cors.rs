//! Requests of pages from other origins, as browsers send them.

use std::time::Duration;

use crate::{
    message::Request,
    row::{Expect, Row, created, created_below, refused, row, status},
};

const HERE: &str = "https://app.example";
const ELSEWHERE: &str = "https://elsewhere.example";

fn listed(config: tus_proto::ConfigBuilder) -> tus_proto::ConfigBuilder {
    config.cors_allow_origins(vec![HERE.to_owned(), "http://localhost:8080".to_owned()])
}

fn anybody(config: tus_proto::ConfigBuilder) -> tus_proto::ConfigBuilder {
    config.cors_allow_origins(vec!["*".to_owned()])
}

/// With what a page of this origin needs to read the answer.
fn readable(expect: Expect, origin: &str) -> Expect {
    expect.with("Access-Control-Allow-Origin", origin).having("Access-Control-Expose-Headers")
}

/// With nothing that would let a browser hand the answer to a page.
fn unreadable(expect: Expect) -> Expect {
    expect
        .without("Access-Control-Allow-Origin")
        .without("Access-Control-Allow-Methods")
        .without("Access-Control-Allow-Credentials")
        .without("Access-Control-Expose-Headers")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = preflights();
    rows.extend(requests());
    rows
}

fn preflight(target: &str) -> Request {
    Request::bare("OPTIONS", target)
        .with("Access-Control-Request-Method", "PATCH")
        .with("Access-Control-Request-Headers", "tus-resumable,upload-offset")
}

fn preflights() -> Vec<Row> {
    let allowed = || {
        readable(status(204), HERE)
            .with("Vary", "Origin")
            .having("Access-Control-Allow-Methods")
            .having("Access-Control-Allow-Headers")
    };
    vec![
        row("X1", "a preflight of a listed origin")
            .config(listed)
            .send(preflight("/files").with("Origin", HERE), allowed().without("Access-Control-Max-Age")),
        row("X1", "a preflight for an upload that is not there")
            .config(listed)
            .send(preflight("/files/unknown").with("Origin", HERE), allowed()),
        row("X1", "a preflight where every origin is allowed").config(anybody).send(
            preflight("/files").with("Origin", ELSEWHERE),
            status(204).with("Access-Control-Allow-Origin", "*").without("Vary"),
        ),
        row("X3", "a preflight of another origin").config(listed).send(
            preflight("/files").with("Origin", ELSEWHERE),
            unreadable(status(204)).with("Vary", "Origin"),
        ),
        row("X3", "a preflight where no origin is allowed")
            .send(preflight("/files").with("Origin", HERE), unreadable(status(204)).without("Vary")),
        row("X4", "a preflight tells of credentials and how long it is good")
            .config(|config| {
                listed(config).cors_allow_credentials(true).cors_max_age(Some(Duration::from_secs(600)))
            })
            .send(
                preflight("/files").with("Origin", HERE),
                allowed()
                    .with("Access-Control-Allow-Credentials", "true")
                    .with("Access-Control-Max-Age", 600),
            ),
        row("X4", "a preflight of another origin learns nothing of credentials")
            .config(|config| listed(config).cors_allow_credentials(true))
            .send(
                preflight("/files").with("Origin", ELSEWHERE),
                unreadable(status(204)).with("Vary", "Origin"),
            ),
        row("X1", "a preflight of an origin that is listed with its port and in capitals")
            .config(|config| config.cors_allow_origins(vec!["HTTPS://App.Example:443".to_owned()]))
            .send(preflight("/files").with("Origin", HERE), allowed()),
    ]
}

fn requests() -> Vec<Row> {
    let post = || Request::post().with("Upload-Length", 5);
    vec![
        row("X2", "a page of a listed origin can read every answer")
            .config(listed)
            .send(post().with("Origin", HERE), readable(created_below(), HERE).with("Vary", "Origin"))
            .send(Request::head().with("Origin", HERE), readable(status(200), HERE))
            .send(
                Request::patch(3).with("Origin", HERE).sized("x"),
                readable(refused(409, "ERR_MISMATCHED_OFFSET").offset(0), HERE),
            )
            .send(Request::delete().with("Origin", HERE), readable(status(204), HERE)),
        row("X2", "it can read refusals by the head alone")
            .config(listed)
            .send(
                post().without("Tus-Resumable").with("Origin", HERE),
                readable(refused(412, "ERR_UNSUPPORTED_VERSION"), HERE),
            )
            .send(
                Request::tus("POST", "/elsewhere").with("Origin", HERE),
                readable(refused(404, "ERR_NOT_FOUND"), HERE),
            )
            .send(
                Request::tus("PUT", "/files").with("Origin", HERE),
                readable(refused(405, "ERR_METHOD_NOT_ALLOWED"), HERE),
            ),
        row("X2", "where every origin is allowed, none is named")
            .config(anybody)
            .send(post().with("Origin", ELSEWHERE), readable(created_below(), "*").without("Vary")),
        row("X5", "pages of other origins may not show a download")
            .config(|config| listed(config).downloads(true))
            .send(post().upload_type().sized("hello"), created().offset(5))
            .send(get(), download("same-origin"))
            .send(get().with("Origin", ELSEWHERE), download("same-origin"))
            .send(get().with("Origin", HERE), download("cross-origin")),
        row("X5", "every page may show a download where every origin is allowed")
            .config(|config| anybody(config).downloads(true))
            .send(post().upload_type().sized("hello"), created().offset(5))
            .send(get(), download("cross-origin")),
        row("X3", "a request of another origin is served as any client's")
            .config(listed)
            .send(
                post().with("Origin", ELSEWHERE),
                unreadable(created_below().offset(0)).with("Vary", "Origin"),
            )
            .tells(0),
        row("X3", "a request of no origin at all is too")
            .config(listed)
            .send(post(), unreadable(created().offset(0)).with("Vary", "Origin")),
    ]
}

fn get() -> Request {
    Request::bare("GET", "{upload}")
}

/// All of "hello", for these pages.
fn download(pages: &str) -> Expect {
    status(200).body("hello").with("Cross-Origin-Resource-Policy", pages)
}
