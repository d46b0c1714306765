//! The body of a response: nothing, a text, or the bytes of an upload, which are read while they are taken.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tus_driver::{Class, Executor as _, Source};
use tus_proto::Failure;

use crate::executor::Pool;

/// How much of an upload is read at once, in bytes.
const PIECE: u64 = 128 << 10;

/// The body of a response of [`Tus`](crate::Tus).
pub struct TusBody(Kind);

enum Kind {
    Text(Bytes),
    Upload(Box<dyn Read>),
}

/// The rest of an upload's bytes.
trait Read: Send {
    /// How many there are.
    fn left(&self) -> u64;
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<Bytes>>;
}

impl TusBody {
    pub(crate) fn text(text: &str) -> Self {
        Self(Kind::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// The bytes `at` up to `to`.
    pub(crate) fn upload<S: Source>(source: S, at: u64, to: u64, pool: Arc<Pool>) -> Self {
        Self(Kind::Upload(Box::new(Reading { place: Place::Here(source), at, to, pool })))
    }

    fn left(&self) -> u64 {
        match &self.0 {
            Kind::Text(text) => text.len() as u64,
            Kind::Upload(rest) => rest.left(),
        }
    }
}

impl Body for TusBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        match &mut self.0 {
            Kind::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Kind::Upload(rest) => rest.poll(cx).map(|piece| Some(piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

struct Reading<S: Source> {
    place: Place<S>,
    at: u64,
    to: u64,
    pool: Arc<Pool>,
}

enum Place<S: Source> {
    Here(S),
    /// A blocking thread reads.
    Lent(oneshot::Receiver<(S, Poll<Result<Bytes, Failure>>)>),
    /// It failed.
    Gone,
}

impl<S: Source> Reading<S> {
    /// What a read brought.
    fn take(&mut self, read: Poll<Result<Bytes, Failure>>) -> Poll<io::Result<Bytes>> {
        let bytes = match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => bytes,
            Poll::Ready(Ok(_)) => return self.fail("the upload ends before its length"),
            Poll::Ready(Err(_)) => return self.fail("the store can't read the upload"),
        };
        self.at += bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }

    /// What was promised can't be sent: the connection must end.
    fn fail(&mut self, text: &str) -> Poll<io::Result<Bytes>> {
        self.place = Place::Gone;
        Poll::Ready(Err(io::Error::other(text)))
    }
}

impl<S: Source> Read for Reading<S> {
    fn left(&self) -> u64 {
        self.to - self.at
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<Bytes>> {
        let (at, len) = (self.at, self.left().min(PIECE));
        if let Place::Here(source) = &mut self.place {
            if !source.blocks() {
                let read = read(source, at, len, cx.waker());
                return self.take(read);
            }
            let (done, lent) = oneshot::channel();
            if let Place::Here(mut source) = std::mem::replace(&mut self.place, Place::Lent(lent)) {
                let waker = cx.waker().clone();
                let job = move || {
                    let bytes = read(&mut source, at, len, &waker);
                    // If nobody waits, the client is gone.
                    let _ = done.send((source, bytes));
                };
                self.pool.run(Class::Blocking, Box::new(job));
            }
        }
        let Place::Lent(lent) = &mut self.place else { return self.fail("the upload can't be read") };
        let mut cx = Context::from_waker(cx.waker());
        match Pin::new(lent).poll(&mut cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok((source, bytes))) => {
                self.place = Place::Here(source);
                self.take(bytes)
            }
            Poll::Ready(Err(_)) => self.fail("reading the upload was given up"),
        }
    }
}

fn read<S: Source>(source: &mut S, at: u64, len: u64, waker: &Waker) -> Poll<Result<Bytes, Failure>> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    source.poll_read(at, &mut buffer, &|| waker.clone()).map_ok(|count| {
        buffer.truncate(count);
        buffer.into()
    })
}

impl fmt::Debug for TusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TusBody").field("left", &self.left()).finish()
    }
}
