//! Which protocol a request speaks, and uploads that both write to.

use super::rufh::{append, begun, create, done, retrieve, state};
use crate::{
    message::Request,
    row::{Row, created, problem, refused, row, status},
};

pub(super) fn mixed() -> Vec<Row> {
    let bare = |method| Request::bare(method, "{upload}");
    let old = || refused(412, "ERR_UNSUPPORTED_VERSION").with("Tus-Version", "1.0.0");
    vec![
        row("I23", "a request that names no protocol is of that which began the upload")
            .send(create("?0").sized("hello"), begun())
            .send(bare("HEAD"), state(5, "?0"))
            .send(bare("GET"), state(5, "?0"))
            .send(bare("PATCH").with("Upload-Offset", 5).sized("x"), problem(415, "ERR_INVALID_CONTENT_TYPE"))
            .send(bare("DELETE"), status(204)),
        row("I23", "on an upload of tus it lacks the version")
            .upload(5)
            .send(bare("HEAD"), status(412).with("Tus-Version", "1.0.0").without("Upload-Offset"))
            .send(bare("PATCH").with("Upload-Offset", 0).sized("x"), old())
            .send(bare("DELETE"), old())
            .tells(0),
        row("I23", "where downloads are on, a complete upload is downloaded by a bare GET")
            .config(|config| config.downloads(true))
            .send(create("?0").sized("hello"), begun())
            .send(bare("GET"), state(5, "?0"))
            .send(append(5, "?1"), done())
            .send(bare("GET"), status(200).body("hello").having("ETag"))
            .send(bare("HEAD"), state(5, "?1")),
        row("I24", "fields of tus alone make a request one of tus")
            .send(create("?0"), begun())
            .send(bare("PATCH").with("Upload-Offset", 0).upload_type().sized("x"), old())
            .send(bare("HEAD").with("Upload-Metadata", "a"), status(412))
            .send(Request::bare("POST", "/files").with("Upload-Length", 5), old()),
        row("I24", "Tus-Resumable decides, whatever else is there").upload(5).send(
            Request::patch(0)
                .with("Upload-Complete", "?1")
                .with("Upload-Draft-Interop-Version", 9)
                .sized("he"),
            status(204).offset(2).without("Upload-Complete"),
        ),
        row("I25", "a tus HEAD tells a length that it does not take for the end")
            .send(create("?0").with("Upload-Length", 9).sized("hello"), begun())
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 9))
            .send(append(5, "?0").sized("you!"), status(204))
            .send(
                Request::head(),
                status(200).offset(9).with("Upload-Defer-Length", 1).without("Upload-Length"),
            )
            .send(append(9, "?1"), done())
            .send(Request::head(), status(200).offset(9).with("Upload-Length", 9)),
        row("I26", "a tus PATCH that reaches the length completes")
            .send(create("?0").with("Upload-Length", 9).sized("hello"), begun())
            .send(Request::patch(5).sized("you!"), status(204).offset(9))
            .send(retrieve("HEAD"), state(9, "?1")),
        row("I26", "a tus PATCH that tells the length completes")
            .send(create("?0").sized("hello"), begun())
            .send(Request::patch(5).with("Upload-Length", 5), status(204).offset(5))
            .send(retrieve("HEAD"), state(5, "?1").with("Upload-Length", 5)),
        row("I26", "where all bytes are there, an empty tus PATCH completes")
            .send(create("?0").with("Upload-Length", 5).sized("hello"), begun())
            .send(Request::patch(5), status(204).offset(5))
            .send(retrieve("HEAD"), state(5, "?1")),
        row("I27", "an append to an upload of tus")
            .upload(9)
            .send(append(0, "?0").sized("hello"), status(204).with("Upload-Complete", "?0"))
            .send(Request::head(), status(200).offset(5).with("Upload-Length", 9))
            .send(append(5, "?0").sized("you!"), done())
            .send(Request::head(), status(200).offset(9)),
        row("I27", "an append that completes an upload of tus whose length is not known")
            .deferred_upload()
            .send(Request::patch(0).sized("hello"), status(204))
            .send(append(5, "?1").sized("you!"), done())
            .send(Request::head(), status(200).offset(9).with("Upload-Length", 9)),
        row("I27", "content past the length of an upload of tus leaves it as it is")
            .upload(7)
            .send(append(0, "?0").sized("hello you"), problem(400, "ERR_UPLOAD_SIZE_EXCEEDED"))
            .tells(0),
        row("I29", "without the protocol its requests lack the version of tus")
            .config(|config| config.rufh(false))
            .send(create("?1").sized("hello"), old())
            .send(Request::post().with("Upload-Length", 5), created().offset(0))
            .send(append(0, "?1").sized("hello"), old())
            .send(Request::bare("OPTIONS", "/files"), status(204).without("Upload-Limit")),
    ]
}
