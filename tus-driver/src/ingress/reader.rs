//! The body of a request, as a runtime reads it.

use std::{
    error::Error,
    task::{Context, Poll},
};

use bytes::Bytes;
use tus_proto::Trailers;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A request's body, as a framework has decoded it. It is dropped once it has ended, and when no more of it is wanted.
pub trait BodyReader: Send {
    /// The next piece; `None` after the last. It is polled only when there is room, so that back-pressure reaches the
    /// socket. The first poll comes when only the body can still fail, so a runtime may send `100 Continue` then.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BodyPiece, BoxError>>>;
}

/// A piece of a body.
#[derive(Debug)]
pub enum BodyPiece {
    /// Bytes.
    Data(Bytes),
    /// Fields of the trailer section.
    Trailers(Trailers),
}

impl<B: BodyReader + ?Sized> BodyReader for Box<B> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BodyPiece, BoxError>>> {
        (**self).poll_piece(cx)
    }
}
