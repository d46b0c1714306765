//! A body of `http_body`, as the driver reads it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame};
use tus_driver::{BodyPiece, BodyReader, BoxError};
use tus_proto::Trailers;

/// Any body.
pub(crate) struct Frames<B>(Pin<Box<B>>);

impl<B> Frames<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Box::pin(body))
    }
}

impl<B: Body<Error: Into<BoxError>> + Send> BodyReader for Frames<B> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BodyPiece, BoxError>>> {
        self.0.as_mut().poll_frame(cx).map_ok(piece).map_err(Into::into)
    }
}

fn piece<D: Buf>(frame: Frame<D>) -> BodyPiece {
    match frame.into_data() {
        Ok(mut data) => BodyPiece::Data(data.copy_to_bytes(data.remaining())),
        Err(frame) => {
            let mut trailers = Trailers::default();
            for (name, value) in frame.into_trailers().iter().flatten() {
                trailers.push(name.as_str(), value.as_bytes());
            }
            BodyPiece::Trailers(trailers)
        }
    }
}
