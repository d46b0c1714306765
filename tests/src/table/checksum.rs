//! Checksums in the header: a body is taken whole or not at all. Trailers need a connection of their own.

use crate::{
    message::Request,
    row::{End, Row, created, refused, row, status},
};

const NAME: &str = "Upload-Checksum";
const SHA1: &str = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";

/// `hello`, hashed by each algorithm.
const HELLO: [&str; 4] = [
    SHA1,
    "sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "sha512 m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==",
    "md5 XUFAKrxLKna5cZ2REBfFkg==",
];

pub(super) fn rows() -> Vec<Row> {
    let patch = |value: &str| Request::patch(0).with(NAME, value);
    let post = || Request::post().with("Upload-Length", 9).upload_type();
    let mut rows: Vec<Row> = Vec::new();
    for value in HELLO {
        let algorithm = value.split(' ').next().unwrap_or_default();
        rows.push(
            row("S1", format!("PATCH with the right {algorithm}"))
                .upload(9)
                .send(patch(value).sized("hello"), status(204).offset(5))
                .tells(5),
        );
        rows.push(
            row("S1", format!("PATCH with the right {algorithm}, chunked"))
                .upload(9)
                .send(patch(value).chunked(&["he", "llo"]), status(204).offset(5)),
        );
        rows.push(
            row("S2", format!("PATCH with the wrong {algorithm} leaves no trace"))
                .upload(9)
                .send(patch(value).sized("hallo"), refused(460, "ERR_CHECKSUM_MISMATCH"))
                .tells(0)
                .send(patch(value).sized("hello"), status(204).offset(5)),
        );
    }
    for value in ["sha1 YWJj", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        rows.push(
            row("S2", format!("PATCH with the digest of no sha1: {value:?}"))
                .upload(9)
                .send(patch(value).sized("hello"), refused(460, "ERR_CHECKSUM_MISMATCH"))
                .tells(0),
        );
    }
    for (value, code) in [
        ("crc32 AAAAAA==", "ERR_UNSUPPORTED_CHECKSUM"),
        ("SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=", "ERR_UNSUPPORTED_CHECKSUM"),
        ("sha1", "ERR_INVALID_CHECKSUM"),
        ("sha1 !", "ERR_INVALID_CHECKSUM"),
        ("sha1 AAAA==", "ERR_INVALID_CHECKSUM"),
    ] {
        rows.push(
            row("S3", format!("PATCH with the checksum {value:?}"))
                .upload(9)
                .send(patch(value).sized("hello"), refused(400, code))
                .tells(0),
        );
    }
    rows.extend([
        row("S3", "PATCH with an algorithm that is not enabled")
            .config(|config| config.checksum_algorithms(vec![tus_proto::Algorithm::Md5]))
            .upload(9)
            .send(patch(SHA1).sized("hello"), refused(400, "ERR_UNSUPPORTED_CHECKSUM"))
            .send(patch(HELLO[3]).sized("hello"), status(204).offset(5)),
        row("S4", "PATCH with a checksum that is cut short keeps nothing")
            .upload(9)
            .begin("cut", patch(SHA1).announcing(5, "hel"))
            .end("cut", End::HalfClose)
            .answered("cut", refused(400, "ERR_UNEXPECTED_EOF"))
            .tells(0),
        row("S4", "PATCH with a checksum past the end keeps nothing")
            .upload(4)
            .send(patch(SHA1).chunked(&["hello"]), refused(413, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .tells(0),
        row("S5", "POST with the right checksum")
            .send(post().with(NAME, SHA1).sized("hello"), created().offset(5))
            .tells(5),
        row("S5", "POST with the wrong checksum creates the upload and keeps nothing of it")
            .send(
                post().with(NAME, SHA1).sized("hallo"),
                refused(460, "ERR_CHECKSUM_MISMATCH").creates("{origin}/files/"),
            )
            .tells(0),
    ]);
    rows
}
