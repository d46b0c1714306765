//! OPTIONS: what this server can.

use crate::{
    message::Request,
    row::{Expect, Row, row, status},
};

const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,termination,checksum,checksum-trailer,\
     concatenation,concatenation-unfinished";

fn told() -> Expect {
    status(204).with("Tus-Version", "1.0.0").with("Tus-Extension", EXTENSIONS)
}

pub(super) fn rows() -> Vec<Row> {
    let options = |target| Request::bare("OPTIONS", target);
    vec![
        row("O1", "OPTIONS of the collection").send(
            options("/files"),
            told().with("Tus-Checksum-Algorithm", "sha1,sha256,sha512,md5").without("Tus-Max-Size"),
        ),
        row("O1", "OPTIONS of the collection with a slash").send(options("/files/"), told()),
        row("O1", "OPTIONS of an upload that is there").upload(5).send(options("{upload}"), told()),
        row("O1", "OPTIONS of an upload that is not there").send(options("/files/unknown"), told()),
        row("O1", "OPTIONS of the server").send(options("*"), told()),
        row("O2", "OPTIONS tells no checksum algorithm where none is enabled")
            .config(|config| config.checksum_algorithms(Vec::new()))
            .send(
                options("/files"),
                status(204)
                    .with("Tus-Extension", EXTENSIONS.replace(",checksum,checksum-trailer", ""))
                    .without("Tus-Checksum-Algorithm"),
            ),
        row("O3", "OPTIONS tells the largest upload")
            .config(|config| config.max_size(1 << 30))
            .send(options("/files"), told().with("Tus-Max-Size", 1 << 30)),
        row("O2", "OPTIONS tells no extension that is disabled")
            .config(|config| config.termination(false).concatenation(false))
            .send(
                options("/files"),
                status(204).with(
                    "Tus-Extension",
                    "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer",
                ),
            ),
        row("O2", "OPTIONS tells no concatenation of unfinished parts where that is disabled")
            .config(|config| config.concatenation_unfinished(false))
            .send(
                options("/files"),
                status(204).with("Tus-Extension", EXTENSIONS.replace(",concatenation-unfinished", "")),
            ),
        row("O1", "OPTIONS of another version is answered all the same")
            .send(options("/files").with("Tus-Resumable", "0.2.2"), told()),
        row("O1", "OPTIONS with a body").send(options("/files").sized("hello"), told()),
    ]
}
