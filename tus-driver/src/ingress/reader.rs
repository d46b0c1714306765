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
    /// The next piece; `None` after the last. It is asked only when there is room, so that back-pressure reaches the
    /// socket; the first time when nothing but the body can still fail, so that `100 Continue` may go out by that.
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
