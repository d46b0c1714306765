//! Uploads that expire say so, as long as they do. When their time is over, a clock is needed: other tests show
//! that.

use std::time::Duration;

use crate::{
    message::Request,
    row::{Expect, Row, created, refused, row, status},
};

fn day(config: tus_proto::ConfigBuilder) -> tus_proto::ConfigBuilder {
    config.upload_expiry(Some(Duration::from_secs(24 * 3600)))
}

fn expires(expect: Expect) -> Expect {
    expect.having("Upload-Expires")
}

fn lasts(expect: Expect) -> Expect {
    expect.without("Upload-Expires")
}

pub(super) fn rows() -> Vec<Row> {
    let expiring = |case, name: &str| {
        row(case, name).config(day).send(Request::post().with("Upload-Length", 5), expires(created()))
    };
    let part = || Request::post().with("Upload-Concat", "partial");
    vec![
        expiring("E1", "an upload that expires says so in every answer")
            .send(Request::head(), expires(status(200)))
            .send(Request::patch(0).sized("hel"), expires(status(204).offset(3)))
            .send(Request::patch(0).sized("hel"), expires(refused(409, "ERR_MISMATCHED_OFFSET").offset(3)))
            .send(Request::patch(3).sized("loo"), expires(refused(413, "ERR_UPLOAD_SIZE_EXCEEDED"))),
        row("E1", "OPTIONS tells that uploads expire").config(day).send(
            Request::bare("OPTIONS", "/files"),
            lasts(status(204)).with(
                "Tus-Extension",
                "creation,creation-with-upload,creation-defer-length,termination,checksum,checksum-trailer,\
                 expiration,concatenation,concatenation-unfinished",
            ),
        ),
        expiring("E3", "a finished upload does not expire")
            .send(Request::patch(0).sized("hello"), lasts(status(204).offset(5)))
            .send(Request::head(), lasts(status(200).offset(5))),
        row("E3", "an empty upload is finished, and does not expire")
            .config(day)
            .send(Request::post().with("Upload-Length", 0), lasts(created())),
        row("E3", "an upload that is finished by its creation does not expire").config(day).send(
            Request::post().with("Upload-Length", 5).upload_type().sized("hello"),
            lasts(created().offset(5)),
        ),
        row("E4", "a part expires, finished or not")
            .config(day)
            .send(part().with("Upload-Length", 5), expires(created()))
            .send(Request::patch(0).sized("hello"), expires(status(204).offset(5)))
            .send(Request::head(), expires(status(200).offset(5)))
            .send(part().with("Upload-Length", 0), expires(created())),
        row("E4", "a finished part that a pending final needs does not, and does when the final is complete")
            .config(day)
            .send(part().with("Upload-Length", 5).upload_type().sized("hello"), expires(created()).named("a"))
            .send(part().with("Upload-Length", 1), expires(created()).named("b"))
            .send(Request::post().with("Upload-Concat", "final;{a} {b}"), expires(created()).named("final"))
            .send(Request::tus("HEAD", "{a}"), lasts(status(200).offset(5)))
            .send(Request::tus("HEAD", "{b}"), expires(status(200).offset(0)))
            .send(
                Request::tus("PATCH", "{b}").with("Upload-Offset", 0).upload_type().sized("!"),
                expires(status(204).offset(1)),
            )
            .send(Request::tus("HEAD", "{final}"), lasts(status(200).offset(6)))
            .send(Request::tus("HEAD", "{a}"), expires(status(200).offset(5))),
        row("E3", "a final that is complete at once does not expire")
            .config(day)
            .send(part().with("Upload-Length", 1).upload_type().sized("a"), expires(created()).named("a"))
            .send(Request::post().with("Upload-Concat", "final;{a}"), lasts(created().offset(1))),
    ]
}
