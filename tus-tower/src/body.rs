//! The body of a response: nothing, a text, or the bytes of an upload, which are read while they are taken.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tus_driver::{Egress, Source, UploadReader};
use tus_proto::Failure;

use crate::executor::Pool;

/// The body of a response of [`Tus`](crate::Tus).
pub struct TusBody {
    left: u64,
    content: Content,
}

enum Content {
    Text(Bytes),
    Upload(Box<ReadUpload>),
}

/// Reads the next piece of an upload.
type ReadUpload = dyn FnMut(&Waker) -> Poll<Result<Bytes, Failure>> + Send;

impl TusBody {
    pub(crate) fn text(text: &str) -> Self {
        Self { left: text.len() as u64, content: Content::Text(Bytes::copy_from_slice(text.as_bytes())) }
    }

    /// The bytes `from` up to `to`.
    pub(crate) fn upload(source: impl Source, from: u64, to: u64, pool: Arc<Pool>) -> Self {
        let mut egress = Egress::new(UploadReader::new(source, from, to), pool);
        let read = move |waker: &Waker| egress.poll(waker);
        Self { left: to - from, content: Content::Upload(Box::new(read)) }
    }
}

impl Body for TusBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = match &mut self.content {
            Content::Text(text) => Ok(std::mem::take(text)),
            Content::Upload(read) => match read(cx.waker()) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
        };
        // The announced bytes can't be sent: the connection must end.
        let failed =
            |failure| io::Error::other(format!("the upload can't be read: the store failed ({failure:?})"));
        let piece = piece.map_err(failed)?;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for TusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TusBody").field("left", &self.left).finish()
    }
}
