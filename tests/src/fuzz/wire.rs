//! Two readers of one connection: ours, and hyper's server. Where both take a message, it must begin and end at the
//! same places, or one of them in front of the other could be fooled (RFC 9112 section 11.2).

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};

use super::http1::read_whole;

/// A request that was read to its end: its method, its target, its body.
type Message = (String, String, Vec<u8>);

/// Reads `data` with both.
///
/// # Panics
/// If they disagree: that is the finding.
pub fn differential(data: &[u8]) {
    let ours: Vec<Message> = read_whole(data)
        .messages
        .into_iter()
        .take_while(|message| message.complete)
        .map(|message| (message.method, message.target, message.body))
        .collect();
    for (ours, theirs) in ours.iter().zip(&read_by_hyper(data)) {
        // hyper writes other forms of targets in its own way.
        let same_target = ours.1 == theirs.1 || !ours.1.starts_with('/');
        assert!((&ours.0, &ours.2) == (&theirs.0, &theirs.2) && same_target, "{ours:?}, or {theirs:?}");
    }
}

/// The requests that hyper takes, up to the first that it does not read to its end.
fn read_by_hyper(data: &[u8]) -> Vec<Message> {
    let messages = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let messages = messages.clone();
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            let mut body = pin!(request.into_body());
            let mut bytes = Vec::new();
            loop {
                match poll_fn(|context| body.as_mut().poll_frame(context)).await {
                    Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) => break,
                    None => {
                        messages.borrow_mut().push((method, target, bytes));
                        break;
                    }
                }
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let pipe = Pipe { input: data.to_vec(), read: 0 };
    let mut connection = pin!(http1::Builder::new().serve_connection(pipe, service));
    let mut context = Context::from_waker(Waker::noop());
    // The input is all there: it never waits for anything but its own next turn.
    for _ in 0..16 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    messages.take()
}

/// All of the input at once, and nobody who reads the answers.
struct Pipe {
    input: Vec<u8>,
    read: usize,
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.input.get(self.read..).unwrap_or_default();
        if rest.is_empty() {
            // It would close, and drop what it has not answered.
            return Poll::Pending;
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{choice::Choice, fuzz::damage};

    const SEEDS: [&str; 5] = [
        "PATCH /files/a?q HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n\
         GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\r\nPOST http://h/x HTTP/1.1\r\nHost: h\r\n\
         Content-Length: 3, 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];

    #[test]
    fn both_read_what_is_well_formed() {
        let counts = SEEDS
            .map(|seed| (read_whole(seed.as_bytes()).messages.len(), read_by_hyper(seed.as_bytes()).len()));
        assert_eq!(counts, [(2, 2), (2, 2), (3, 1), (2, 2), (0, 1)]);
    }

    #[test]
    fn neither_is_fooled_by_damage() {
        let mut choice = Choice::seeded(3);
        for _ in 0..20_000 {
            let mut data = choice.pick(&SEEDS).as_bytes().to_vec();
            for _ in 0..choice.index(4) {
                damage(&mut choice, &mut data, 0, b"\r\n :,;0\t", &SEEDS);
                if data.is_empty() {
                    data.push(0);
                }
            }
            differential(&data);
        }
    }
}
