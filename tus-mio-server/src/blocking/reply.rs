//! A response together with its body, which may be an upload's bytes.

use std::{
    io::{self, Cursor, Read},
    ops::Deref,
    task::{Poll, Waker},
    thread,
};

use tus_driver::{Store, UploadReader, thread_waker};
use tus_proto::{Body, Response};
use tus_redb::{RedbStore, StoreError};

/// What [`Blocking`](super::Blocking) answers: a [`Response`], and the bytes that it carries.
///
/// Most bodies are text, which [`Response::body`] shows. That of a download is read from the disk, and is left
/// to [`into_parts`](Self::into_parts); it stays readable when the upload is deleted meanwhile.
#[derive(Debug)]
pub struct Reply<S: Store = RedbStore> {
    response: Response,
    source: Option<S::Source>,
}

impl<S: Store> Reply<S> {
    pub(super) fn new(response: Response, source: Option<S::Source>) -> Self {
        Self { response, source }
    }

    /// The response, for its status and its fields, and a reader of its body, whose length is
    /// `response.content().len()`; where the request was a HEAD, that is what `Content-Length` says, and there is no
    /// body.
    pub fn into_parts(self) -> (Response, ReplyBody<S>) {
        let bytes = match (self.response.content(), self.source) {
            (Body::Upload { from, to }, Some(source)) => Bytes::Upload(UploadReader::new(source, *from, *to)),
            _ => Bytes::Text(Cursor::new(self.response.body().to_owned())),
        };
        (self.response, ReplyBody(bytes))
    }
}

impl<S: Store> Deref for Reply<S> {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

/// The body of a [`Reply`]. Its errors are the disk's; then what was promised can't be sent, and the
/// connection must end.
#[derive(Debug)]
pub struct ReplyBody<S: Store = RedbStore>(Bytes<S::Source>);

#[derive(Debug)]
enum Bytes<T> {
    Text(Cursor<String>),
    Upload(UploadReader<T>),
}

impl<S: Store> Read for ReplyBody<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Bytes::Text(text) => text.read(buffer),
            Bytes::Upload(reader) => wait(|waker| reader.poll_read(buffer, waker))
                .map_err(|failure| io::Error::other(StoreError(failure))),
        }
    }
}

/// Waits in this thread until a store's call is ready.
fn wait<T>(mut poll: impl FnMut(&dyn Fn() -> Waker) -> Poll<T>) -> T {
    loop {
        match poll(&thread_waker) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
