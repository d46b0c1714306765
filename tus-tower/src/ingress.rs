//! A request's body on its way to its session: what was read and is not handed over yet, how the body ended, and how
//! long its client may be silent.

use std::{
    collections::VecDeque,
    error::Error,
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tus_driver::BodyTimer;
use tus_proto::{Cut, Framing, Instant, Trailers};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How many bytes are read ahead while others are written, and how many frames, each of which may hold on to more.
const AHEAD: usize = 128 << 10;
const FRAMES: usize = 64;

/// How many bytes are still taken of a body whose request was dropped: what had arrived, and no more.
const DREGS: u64 = 1 << 20;

/// Any body.
pub(crate) trait Frames: Send {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
}

impl<B> Frames for B
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bytes = |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        self.poll_frame(cx).map_ok(bytes).map_err(Into::into)
    }
}

/// How a body ended.
pub(crate) enum End {
    Complete(Trailers),
    Cut(Cut),
}

pub(crate) struct Ingress {
    /// `None` once it has ended.
    body: Option<Pin<Box<dyn Frames>>>,
    /// How many bytes are still to come; `None` if only its end tells.
    missing: Option<u64>,
    held: VecDeque<Bytes>,
    length: usize,
    trailers: Trailers,
    end: Option<End>,
    timer: BodyTimer,
    /// Whether any of it was asked for: a client that expects `100 Continue` gets it by that.
    begun: bool,
    /// How many bytes may still be taken once the request is dropped.
    dregs: u64,
}

impl Ingress {
    pub(crate) fn new(body: Pin<Box<dyn Frames>>, framing: Framing, timer: BodyTimer) -> Self {
        let missing = match framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let mut this = Self {
            body: Some(body),
            missing,
            held: VecDeque::new(),
            length: 0,
            trailers: Trailers::default(),
            end: None,
            timer,
            begun: false,
            dregs: DREGS,
        };
        if missing == Some(0) {
            this.finish(End::Complete(Trailers::default()));
        }
        this
    }

    /// Reads as far as there is room. Returns whether anything came.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, now: Instant, gone: bool) -> bool {
        let mut progress = false;
        self.timer.stop(now);
        while self.length < AHEAD && self.held.len() < FRAMES {
            let Some(body) = &mut self.body else { return progress };
            self.begun = true;
            let Poll::Ready(frame) = body.as_mut().poll_next(cx) else {
                if gone {
                    self.finish(End::Cut(Cut::PeerGone));
                    return true;
                }
                self.timer.run(now);
                return progress;
            };
            progress = true;
            self.take(now, frame);
            if gone && self.dregs == 0 {
                self.finish(End::Cut(Cut::PeerGone));
            }
        }
        progress
    }

    fn take(&mut self, now: Instant, frame: Option<Result<Frame<Bytes>, BoxError>>) {
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => self.take_data(now, data),
            Some(Ok(Err(frame))) => {
                for (name, value) in frame.into_trailers().iter().flatten() {
                    self.trailers.push(name.as_str(), value.as_bytes());
                }
            }
            Some(Err(error)) => self.finish(End::Cut(cut(&*error))),
            None if self.missing.is_some() => self.finish(End::Cut(Cut::HalfClosed)),
            None => {
                let trailers = std::mem::take(&mut self.trailers);
                self.finish(End::Complete(trailers));
            }
        }
    }

    fn take_data(&mut self, now: Instant, mut data: Bytes) {
        if let Some(missing) = &mut self.missing {
            data.truncate(usize::try_from(*missing).unwrap_or(usize::MAX));
            *missing -= data.len() as u64;
        }
        self.dregs = self.dregs.saturating_sub(data.len() as u64);
        self.timer.received(now, data.len() as u64);
        self.length += data.len();
        if !data.is_empty() {
            self.held.push_back(data);
        }
        if self.missing == Some(0) {
            self.finish(End::Complete(Trailers::default()));
        }
    }

    fn finish(&mut self, end: End) {
        self.body = None;
        self.end.get_or_insert(end);
    }

    /// The client was silent, or slow, for too long.
    pub(crate) fn time_out(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|at| at <= now);
        if over {
            self.finish(End::Cut(Cut::TooSlow));
            self.timer.stop(now);
        }
        over
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.body.as_ref().and_then(|_| self.timer.deadline())
    }

    /// Nothing is read now.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.timer.stop(now);
    }

    /// Whether something of the body is still to be read.
    pub(crate) fn misses(&self) -> bool {
        self.body.is_some()
    }

    /// How many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.length
    }

    /// The first bytes of what is held.
    pub(crate) fn split(&mut self, mut count: usize) -> VecDeque<Bytes> {
        self.length -= count.min(self.length);
        let mut pieces = VecDeque::new();
        while count > 0
            && let Some(mut piece) = self.held.pop_front()
        {
            if piece.len() > count {
                self.held.push_front(piece.split_off(count));
            }
            count -= piece.len();
            pieces.push_back(piece);
        }
        pieces
    }

    /// Drops what is held.
    pub(crate) fn discard(&mut self) {
        self.held.clear();
        self.length = 0;
    }

    /// How the body ended, once it has, and nothing of it is held any more.
    pub(crate) fn end(&mut self) -> Option<End> {
        if self.length > 0 { None } else { self.end.take() }
    }

    /// Drops the body, if nobody is to be kept from losing an answer to it.
    pub(crate) fn drop_unless_begun(&mut self, expects_continue: bool) {
        self.discard();
        if expects_continue && !self.begun {
            self.body = None;
        }
    }

    /// Reads on and forgets what comes, until `left` bytes have come. Ready when that is all.
    pub(crate) fn poll_forget(&mut self, cx: &mut Context<'_>, now: Instant, left: &mut u64) -> Poll<()> {
        while self.read(cx, now, false) {
            match left.checked_sub(self.length as u64) {
                Some(less) => *left = less,
                None => self.body = None,
            }
            self.discard();
        }
        if self.body.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Why a body that fails did: as far as an I/O error in its chain of causes tells. Whether anybody is left to read an
/// answer is not known here, so there is one.
fn cut(error: &(dyn Error + 'static)) -> Cut {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::InvalidData | ErrorKind::InvalidInput) => return Cut::BadFraming,
            Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => return Cut::TooSlow,
            _ => cause = error.source(),
        }
    }
    Cut::HalfClosed
}
