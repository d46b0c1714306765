//! PATCH by one writer.

use crate::{
    message::Request,
    row::{Row, refused, row, status},
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = bytes();
    rows.extend(empty_bodies());
    rows.extend(refusals());
    rows.extend(too_long());
    rows.extend(deferred());
    rows
}

fn bytes() -> Vec<Row> {
    vec![
        row("P1", "PATCH with the whole upload")
            .upload(5)
            .send(Request::patch(0).sized("hello"), status(204).offset(5).without("Upload-Expires"))
            .tells(5),
        row("P1", "PATCH piece by piece")
            .upload(9)
            .send(Request::patch(0).sized("he"), status(204).offset(2))
            .send(Request::patch(2).chunked(&["l", "l", "o"]), status(204).offset(5))
            .send(Request::patch(5).sized("you!"), status(204).offset(9))
            .tells(9),
        row("P1", "PATCH with parameters behind the type").upload(5).send(
            Request::patch(0)
                .without("Content-Type")
                .with("Content-Type", "application/offset+octet-stream; charset=binary")
                .sized("hello"),
            status(204).offset(5),
        ),
        row("P5", "PATCH that is repeated, because its answer was lost, learns where it is")
            .upload(9)
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(Request::patch(0).sized("hello"), refused(409, "ERR_MISMATCHED_OFFSET").offset(5))
            .send(Request::patch(5).sized("you!"), status(204).offset(9))
            .send(Request::patch(5).sized("you!"), refused(409, "ERR_MISMATCHED_OFFSET").offset(9)),
        row("P5", "PATCH above the committed offset")
            .upload(9)
            .send(Request::patch(1).sized("hello"), refused(409, "ERR_MISMATCHED_OFFSET").offset(0))
            .tells(0),
    ]
}

fn empty_bodies() -> Vec<Row> {
    let finished = |case, name: &str| {
        row(case, name).upload(5).send(Request::patch(0).sized("hello"), status(204).offset(5))
    };
    vec![
        row("P2", "an empty PATCH").upload(5).send(Request::patch(0).sized(""), status(204).offset(0)),
        row("P2", "an empty PATCH without any framing")
            .upload(5)
            .send(Request::patch(0), status(204).offset(0)),
        row("P2", "an empty chunked PATCH")
            .upload(5)
            .send(Request::patch(0).chunked(&[]), status(204).offset(0)),
        row("P5", "an empty PATCH at another offset")
            .upload(5)
            .send(Request::patch(3), refused(409, "ERR_MISMATCHED_OFFSET").offset(0)),
        finished("P2", "an empty PATCH of a finished upload").send(Request::patch(5), status(204).offset(5)),
        finished("P2", "an empty chunked PATCH of a finished upload")
            .send(Request::patch(5).chunked(&[]), status(204).offset(5)),
        finished("P6", "a byte to a finished upload")
            .send(Request::patch(5).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED"))
            .tells(5),
        finished("P6", "a byte to a finished upload, chunked")
            .send(Request::patch(5).chunked(&["x"]), refused(403, "ERR_UPLOAD_COMPLETED"))
            .tells(5),
    ]
}

fn refusals() -> Vec<Row> {
    let untyped = || Request::patch(0).without("Content-Type");
    let mut rows: Vec<_> = ["application/octet-stream", "", "text/plain", "application/offset+octet-streams"]
        .map(|content_type| {
            row("P3", format!("PATCH of type {content_type:?}"))
                .upload(5)
                .send(
                    untyped().with("Content-Type", content_type).sized("hello"),
                    refused(415, "ERR_INVALID_CONTENT_TYPE"),
                )
                .tells(0)
        })
        .into();
    rows.extend([
        row("P3", "PATCH without a type")
            .upload(5)
            .send(untyped().sized("hello"), refused(415, "ERR_INVALID_CONTENT_TYPE"))
            .tells(0),
        row("P4", "PATCH without an offset").upload(5).send(
            Request::patch(0).without("Upload-Offset").sized("hello"),
            refused(400, "ERR_INVALID_OFFSET"),
        ),
        row("S3", "PATCH with a checksum that would not be verified")
            .config(|config| config.checksum_algorithms(Vec::new()))
            .upload(5)
            .send(
                Request::patch(0).with("Upload-Checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=").sized("hello"),
                refused(400, "ERR_UNSUPPORTED_CHECKSUM"),
            )
            .tells(0),
        row("S3", "PATCH that announces a checksum that would not be verified")
            .config(|config| config.checksum_algorithms(Vec::new()))
            .upload(5)
            .send(
                Request::patch(0).with("Trailer", "Upload-Checksum").chunked(&["hello"]),
                refused(400, "ERR_UNSUPPORTED_CHECKSUM"),
            )
            .tells(0),
    ]);
    rows
}

fn too_long() -> Vec<Row> {
    let small = |config: tus_proto::ConfigBuilder| config.max_chunk_size(4);
    vec![
        row("P7", "PATCH past the end")
            .upload(4)
            .send(Request::patch(0).sized("hello"), refused(413, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .tells(0),
        row("P8", "PATCH past the end, chunked, completes the upload")
            .upload(4)
            .send(Request::patch(0).chunked(&["he", "llo"]), refused(413, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .tells(4)
            .send(Request::patch(4).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED")),
        row("P9", "PATCH over max_chunk_size")
            .config(small)
            .upload(9)
            .send(Request::patch(0).sized("hello"), refused(413, "ERR_CHUNK_SIZE_EXCEEDED"))
            .tells(0),
        row("P9", "PATCH over max_chunk_size, chunked, keeps the beginning")
            .config(small)
            .upload(9)
            .send(Request::patch(0).chunked(&["he", "llo"]), refused(413, "ERR_CHUNK_SIZE_EXCEEDED"))
            .tells(4)
            .send(Request::patch(4).sized("oyou"), status(204).offset(8)),
        row("P9", "PATCH of exactly max_chunk_size")
            .config(small)
            .upload(9)
            .send(Request::patch(0).sized("hell"), status(204).offset(4))
            .send(Request::patch(4).chunked(&["oyou"]), status(204).offset(8)),
    ]
}

fn deferred() -> Vec<Row> {
    let patch = |offset, length: u64| Request::patch(offset).with("Upload-Length", length);
    let invalid = || refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    let unknown = || status(200).with("Upload-Defer-Length", 1).without("Upload-Length");
    vec![
        row("P10", "a deferred length with the first PATCH")
            .deferred_upload()
            .send(patch(0, 9).sized("hello"), status(204).offset(5))
            .send(
                Request::head(),
                status(200).offset(5).with("Upload-Length", 9).without("Upload-Defer-Length"),
            )
            .send(Request::patch(5).sized("you!"), status(204).offset(9))
            .send(Request::patch(9).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED")),
        row("P10", "a deferred length with a later PATCH")
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(Request::head(), unknown().offset(5))
            .send(patch(5, 9).sized("yo"), status(204).offset(7))
            .send(Request::head(), status(200).offset(7).with("Upload-Length", 9)),
        row("P10", "a deferred length with an empty PATCH at the end")
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(patch(5, 5), status(204).offset(5))
            .send(Request::patch(5).sized("x"), refused(403, "ERR_UPLOAD_COMPLETED")),
        row("P10", "a deferred length with the last chunked PATCH")
            .deferred_upload()
            .send(patch(0, 5).chunked(&["hel", "lo"]), status(204).offset(5))
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 5)),
        row("P11", "a deferred length below the offset")
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), status(204).offset(5))
            .send(patch(5, 4), invalid())
            .send(Request::head(), unknown().offset(5)),
        row("P11", "a deferred length below the end of the body")
            .deferred_upload()
            .send(patch(0, 4).sized("hello"), invalid())
            .send(Request::head(), unknown().offset(0)),
        row("P11", "a deferred length over max_size")
            .config(|config| config.max_size(8))
            .deferred_upload()
            .send(patch(0, 9).sized("hello"), refused(413, "ERR_MAX_SIZE_EXCEEDED"))
            .send(Request::head(), unknown().offset(0)),
        row("P14", "a body of unknown length over max_size")
            .config(|config| config.max_size(4))
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), refused(413, "ERR_MAX_SIZE_EXCEEDED"))
            .tells(0)
            .send(Request::patch(0).chunked(&["hello"]), refused(413, "ERR_MAX_SIZE_EXCEEDED"))
            .tells(4),
        row("P12", "a length that is known already may be said again")
            .upload(9)
            .send(patch(0, 9).sized("hello"), status(204).offset(5))
            .send(patch(5, 8).sized("you"), invalid())
            .send(patch(5, 10).sized("you"), invalid())
            .send(patch(5, 9).sized("you!"), status(204).offset(9)),
    ]
}
