//! POST: creation, creation-with-upload, creation-defer-length.

use tus_proto::{ConfigBuilder, Locations, ProxyHeaders};

use crate::{
    message::Request,
    row::{Expect, Row, created, created_below, refused, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = lengths();
    rows.extend(metadata());
    rows.extend(bad_metadata());
    rows.extend(with_upload());
    rows.extend(too_long());
    rows.extend(locations());
    rows
}

fn post(length: u64) -> Request {
    Request::post().with("Upload-Length", length)
}

/// Nothing was created.
fn nothing(status: u16, code: &'static str) -> Expect {
    refused(status, code).without("Location")
}

fn lengths() -> Vec<Row> {
    let defer = |value: &str| Request::post().with("Upload-Defer-Length", value);
    let mut rows = vec![
        row("C1", "POST with a length").send(post(5), created().offset(0).without("Upload-Expires")).tells(0),
        row("C2", "POST of an empty upload is complete at once")
            .send(post(0), created().offset(0))
            .send(Request::head(), status(200).offset(0).with("Upload-Length", 0))
            .send(Request::patch(0).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED")),
        row("C6", "POST without any length").send(Request::post(), nothing(400, "ERR_INVALID_UPLOAD_LENGTH")),
        row("C3", "POST with a deferred length").send(defer("1"), created().offset(0)).send(
            Request::head(),
            status(200).offset(0).with("Upload-Defer-Length", 1).without("Upload-Length"),
        ),
        row("C5", "POST with a length now and later")
            .send(defer("1").with("Upload-Length", 5), nothing(400, "ERR_AMBIGUOUS_UPLOAD_LENGTH")),
        row("C3", "POST with a deferred length said twice")
            .send(defer("1").with("Upload-Defer-Length", 1), created().offset(0)),
        row("C7", "POST of exactly the largest upload")
            .config(|config| config.max_size(5))
            .send(post(5), created().offset(0)),
        row("C7", "POST over the largest upload")
            .config(|config| config.max_size(5))
            .send(post(6), nothing(413, "ERR_MAX_SIZE_EXCEEDED")),
    ];
    rows.extend(["0", "2", "true", "", "01"].map(|value| {
        row("C4", format!("Upload-Defer-Length {value:?}"))
            .send(defer(value), nothing(400, "ERR_INVALID_UPLOAD_LENGTH_DEFER"))
    }));
    rows
}

fn metadata() -> Vec<Row> {
    let kept = |text: &str| {
        row("C8", format!("Upload-Metadata {text:?} is told as it was sent"))
            .send(post(5).with("Upload-Metadata", text), created())
            .send(Request::head(), status(200).with("Upload-Metadata", text))
    };
    let texts = [
        "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
        "k1 YQ==, k2 Yg==",
        "k1 YQ==,  k2",
        "k",
        "k1,k2 Yg==",
        "K! Zm9v",
    ];
    let mut rows: Vec<_> = texts.map(kept).into();
    let long = "k ".to_owned() + &"QUFB".repeat(1023);
    rows.extend([
        row("C8", "Upload-Metadata that is empty is as none")
            .send(post(5).with("Upload-Metadata", ""), created())
            .send(Request::head(), status(200).without("Upload-Metadata")),
        row("C8", "Upload-Metadata on several lines is joined")
            .send(post(5).with("Upload-Metadata", "a YQ==").with("upload-metadata", "b Yg=="), created())
            .send(Request::head(), status(200).with("Upload-Metadata", "a YQ==, b Yg==")),
        row("C9", "Upload-Metadata of 4094 bytes")
            .send(post(5).with("Upload-Metadata", &long), created())
            .send(Request::head(), status(200).with("Upload-Metadata", &long)),
        row("C9", "Upload-Metadata over 4096 bytes")
            .send(post(5).with("Upload-Metadata", long + "QUFB"), nothing(400, "ERR_METADATA_TOO_LARGE")),
    ]);
    rows
}

fn bad_metadata() -> Vec<Row> {
    let texts = ["a !", "a YQ", "a YQ==,a Yg==", ",", "a YQ==,", "\u{e9} YQ==", "a YQ== YQ=="];
    texts
        .map(|text| {
            row("C10", format!("Upload-Metadata {text:?} is refused"))
                .send(post(5).with("Upload-Metadata", text), nothing(400, "ERR_INVALID_METADATA"))
        })
        .into()
}

fn with_upload() -> Vec<Row> {
    let upload = |length| post(length).upload_type();
    vec![
        row("C11", "POST with the first bytes").send(upload(9).sized("hello"), created().offset(5)).tells(5),
        row("C11", "POST with the first bytes, chunked")
            .send(upload(9).chunked(&["he", "llo"]), created().offset(5))
            .send(Request::patch(5).sized("you!"), status(204).offset(9)),
        row("C11", "POST with the whole upload")
            .send(upload(5).sized("hello"), created().offset(5))
            .send(Request::patch(5).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED")),
        row("C11", "POST with the first bytes of an upload of unknown length")
            .send(
                Request::post().with("Upload-Defer-Length", 1).upload_type().sized("hello"),
                created().offset(5),
            )
            .send(Request::head(), status(200).offset(5).with("Upload-Defer-Length", 1)),
        row("C11", "POST with an empty body of the uploads' type").send(upload(9), created().offset(0)),
        row("C11", "POST with an empty chunked body").send(upload(9).chunked(&[]), created().offset(0)),
        row("C11", "POST of an empty upload with an empty chunked body")
            .send(upload(0).chunked(&[]), created().offset(0)),
        row("C11", "POST with a parameter behind the type").send(
            post(9).with("Content-Type", "Application/Offset+Octet-Stream; charset=x").sized("hello"),
            created().offset(5),
        ),
        row("C12", "POST with a body of another type does not store it")
            .send(post(9).with("Content-Type", "text/plain").sized("hello"), created().offset(0))
            .tells(0),
        row("C12", "POST with a body of no type does not store it")
            .send(post(9).sized("hello"), created().offset(0))
            .tells(0),
        row("C12", "POST with a long body of another type is not too long")
            .config(|config| config.max_chunk_size(2))
            .send(post(3).with("Content-Type", "text/plain").sized("hello"), created().offset(0)),
        row("R12", "POST with 100-continue")
            .send(upload(9).with("Expect", "100-continue").sized("hello"), created().offset(5)),
        row("S3", "POST with a checksum that would not be verified")
            .config(|config| config.checksum_algorithms(Vec::new()))
            .send(
                upload(9).with("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").sized("hello"),
                nothing(400, "ERR_UNSUPPORTED_CHECKSUM"),
            ),
    ]
}

fn too_long() -> Vec<Row> {
    let upload = |length| post(length).upload_type();
    let small = |config: ConfigBuilder| config.max_chunk_size(4);
    vec![
        row("C13", "POST with more bytes than the upload has")
            .send(upload(4).sized("hello"), nothing(413, "ERR_UPLOAD_SIZE_EXCEEDED")),
        row("C13", "POST with a body over max_chunk_size")
            .config(small)
            .send(upload(9).sized("hello"), nothing(413, "ERR_CHUNK_SIZE_EXCEEDED")),
        row("C13", "POST of unknown length with a body over max_size")
            .config(|config| config.max_size(4))
            .send(
                Request::post().with("Upload-Defer-Length", 1).upload_type().sized("hello"),
                nothing(413, "ERR_MAX_SIZE_EXCEEDED"),
            ),
        row("C14", "POST with more bytes than the upload has, chunked, keeps what belongs to it")
            .send(
                upload(4).chunked(&["hello"]),
                refused(413, "ERR_UPLOAD_SIZE_EXCEEDED").creates("{origin}/files/"),
            )
            .send(Request::head(), status(200).offset(4).with("Upload-Length", 4)),
        row("C14", "POST with a body over max_chunk_size, chunked, keeps the beginning")
            .config(small)
            .send(
                upload(9).chunked(&["hello"]),
                refused(413, "ERR_CHUNK_SIZE_EXCEEDED").creates("{origin}/files/"),
            )
            .tells(4),
    ]
}

/// A creation at a host that is not the one of every request, and what a proxy would say of another.
fn forwarded() -> Request {
    post(5).with("Host", "inner:81").with("X-Forwarded-Host", "outer").with("X-Forwarded-Proto", "https")
}

fn locations() -> Vec<Row> {
    let inner = || post(5).with("Host", "inner:81");
    let mut rows = vec![
        row("C16", "Location is a URL where nothing shows a proxy")
            .send(inner(), status(201).creates("{origin}/files/"))
            .tells(0),
        row("C16", "Location is as by default where that is said")
            .config(|config| config.locations(Locations::Auto))
            .send(inner(), status(201).creates("{origin}/files/")),
    ];
    rows.push(row("C16", "Location does not believe anybody").send(forwarded(), created_below()));
    let signs = [
        ("Forwarded", "for=1.2.3.4"),
        ("Via", "1.1 cache"),
        ("X-Real-IP", "1.2.3.4"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("x-forwarded-prefix", ""),
        ("Origin", "https://page.example"),
        ("Sec-Fetch-Mode", "cors"),
    ];
    rows.extend(signs.map(|(name, value)| {
        row("C16", format!("Location is a path where there is {name}"))
            .send(inner().with(name, value), created_below())
            .tells(0)
    }));
    rows.extend([
        row("C19", "Location is a path always")
            .config(|config| config.locations(Locations::Relative))
            .send(inner(), created_below()),
        row("C19", "Location is a URL always, and does not believe anybody")
            .config(|config| config.locations(Locations::Absolute))
            .send(
                forwarded().with("Forwarded", "host=outer").with("Origin", "https://page.example"),
                status(201).creates("{scheme}://inner:81/files/"),
            ),
        row("C19", "Location is a path always, behind a proxy too")
            .config(|config| config.locations(Locations::Relative).behind_proxy(true))
            .send(forwarded(), created_below()),
        row("C17", "Location under a given URL")
            .config(|config| config.location_base_url("https://cdn.example/up/"))
            .send(forwarded(), status(201).creates("https://cdn.example/up/"))
            .tells(0),
    ]);
    rows.extend(behind_a_proxy());
    rows
}

fn behind_a_proxy() -> Vec<Row> {
    let behind = |config: ConfigBuilder| config.behind_proxy(true);
    let standard = |config: ConfigBuilder| config.behind_proxy(true).proxy_headers(ProxyHeaders::Forwarded);
    let says = "for=1.2.3.4;host=\"front:8443\";proto=https";
    vec![
        row("C18", "Location behind a proxy")
            .config(behind)
            .send(forwarded(), status(201).creates("https://outer/files/")),
        row("C18", "Location behind a proxy that adds to what the client says").config(behind).send(
            post(5)
                .with("X-Forwarded-Host", "evil")
                .with("X-Forwarded-Host", "evil:1, outer")
                .with("X-Forwarded-Proto", "http,https")
                .with("X-Forwarded-Port", "1, 8443"),
            status(201).creates("https://outer:8443/files/"),
        ),
        row("C18", "Location behind a proxy does not believe headers that it does not set")
            .config(behind)
            .send(forwarded().with("Forwarded", says), status(201).creates("https://outer/files/")),
        row("C18", "Location behind a proxy that says Forwarded")
            .config(standard)
            .send(forwarded().with("Forwarded", says), status(201).creates("https://front:8443/files/")),
        row("C18", "Location behind a proxy that adds to the client's Forwarded").config(standard).send(
            post(5).with("Forwarded", format!("host=evil;proto=http;x=\", {says}")),
            status(201).creates("https://front:8443/files/"),
        ),
        row("C18", "Location behind a proxy that says nothing")
            .config(behind)
            .send(post(5).with("Host", "inner:81"), status(201).creates("{scheme}://inner:81/files/")),
        row("C18", "Location behind a proxy that says nonsense").config(behind).send(
            post(5)
                .with("Host", "inner:81")
                .with("X-Forwarded-Host", "a b")
                .with("X-Forwarded-Proto", "gopher"),
            status(201).creates("{scheme}://inner:81/files/"),
        ),
    ]
}
