//! What the server answers itself, on the event loop: the page, the metrics, and how it is.

use std::sync::atomic::Ordering;

use tus_driver::Store;
use tus_proto::{Connection, ErrorCode, Failure, Head, Response, Target, WallTime};

use super::{Shared, event_loop::EventLoop, metrics};
use crate::{
    page,
    paths::{HEALTH_PATH, READY_PATH},
};

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

impl<S: Store> EventLoop<S> {
    /// The answer to a request that is for none of the uploads, and so none of tus; `None` if the protocol answers.
    pub(super) fn own_answer(&self, head: &Head<'_>) -> Option<Response> {
        self.answer_at(Target::of(head.target).path(), head).map(Response::not_tus)
    }

    fn answer_at(&self, path: &str, head: &Head<'_>) -> Option<Response> {
        let reads = matches!(head.method, "GET" | "HEAD");
        let shared = &*self.shared;
        if shared.status_is_public
            && let Some(response) = shared.status_answer(path, head, self.now.date)
        {
            return Some(response);
        }
        let page = shared.page.as_ref()?;
        let asset = page.asset(path).filter(|_| reads)?;
        let mut nonce = [0; 16];
        if getrandom::fill(&mut nonce).is_err() {
            tracing::error!("the system gives no random bytes");
            return Some(self.shared.protocol.refusal(
                ErrorCode::InternalServerError,
                head.values("Origin").next(),
                self.now.date,
            ));
        }
        let nonce = page::Nonce::of(nonce);
        let mut response = Response::new(200, self.now.date);
        response.push("Content-Security-Policy", nonce.policy());
        response.push("Referrer-Policy", "no-referrer");
        response.set_body(asset.content_type, nonce.fill(asset.body));
        Some(response)
    }
}

/// What a server says of itself, to whom it is told.
impl<S: Store> Shared<S> {
    /// The answer at a path of metrics or health; `None` if the path is none of these.
    pub(crate) fn status_answer(&self, path: &str, head: &Head<'_>, date: WallTime) -> Option<Response> {
        let is_metrics = self.metrics_path.as_deref() == Some(path);
        if path != HEALTH_PATH && path != READY_PATH && !is_metrics {
            return None;
        }
        Some(match head.method {
            "GET" | "HEAD" if path == HEALTH_PATH => told(trouble(self), date),
            "GET" | "HEAD" if path == READY_PATH => told(self.farewell(), date),
            "GET" | "HEAD" => self.metrics_answer(head, date),
            _ => {
                let mut response = self.protocol.refusal(ErrorCode::MethodNotAllowed, None, date);
                response.push("Allow", "GET, HEAD");
                response.connection = Connection::Drain;
                response
            }
        })
    }

    fn metrics_answer(&self, head: &Head<'_>, date: WallTime) -> Response {
        let mut response = Response::new(200, date);
        let open = self.admission.open();
        self.metrics.disk_free(self.store.free_space());
        let outbox = self.store.pending_events().unwrap_or_default();
        let (media_type, text) = metrics::negotiated(head, self.metrics.text(open, outbox));
        response.set_body(media_type, text);
        response
    }

    /// Why new requests are not welcome.
    fn farewell(&self) -> Option<&'static str> {
        (self.shutdowns.load(Ordering::Acquire) > 0).then_some("the server is shutting down")
    }
}

fn told(trouble: Option<&'static str>, date: WallTime) -> Response {
    let (status, text) = match trouble {
        None => (200, "ok"),
        Some(text) => (503, text),
    };
    let mut response = Response::new(status, date);
    response.set_body(PLAIN_TEXT, text);
    response
}

/// Why the store can't commit.
fn trouble<S: Store>(shared: &Shared<S>) -> Option<&'static str> {
    match shared.store.health() {
        Ok(()) => None,
        Err(Failure::NoSpace) => Some("there is no space left on the disk"),
        Err(_) => Some("the disk fails"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use tus_proto::{Completion, Framing};
    use tus_redb::{
        RedbStore,
        sim::{Fault, SimDisk},
    };

    use super::*;

    fn event_loop(disk: &SimDisk) -> EventLoop<RedbStore> {
        EventLoop::new(0, Arc::new(Shared::on(disk)), mio::Poll::new().unwrap())
    }

    fn health(event_loop: &EventLoop<RedbStore>) -> (u16, String) {
        let head = Head {
            method: "GET",
            target: "/healthz",
            fields: &[],
            framing: Framing::Length(0),
            secure: false,
            direct: false,
        };
        let response = event_loop.own_answer(&head).unwrap();
        (response.status(), response.body().to_owned())
    }

    #[test]
    fn health_tells_a_disk_that_fails() {
        let disk = SimDisk::new();
        let event_loop = event_loop(&disk);
        assert_eq!(health(&event_loop), (200, "ok".into()));
        disk.fail(0..u64::MAX, Fault::Io);
        assert!(matches!(event_loop.shared.create("a"), Completion::Failed(_)));
        assert_eq!(health(&event_loop), (503, "the disk fails".into()));
        disk.heal();
        assert_eq!(event_loop.shared.create("b"), Completion::Created);
        assert_eq!(health(&event_loop), (200, "ok".into()));
    }

    #[test]
    fn health_tells_a_disk_that_is_full() {
        let disk = SimDisk::new();
        let event_loop = event_loop(&disk);
        disk.set_free(Some(0));
        let full = (0..1000).any(|number| {
            event_loop.shared.create(&number.to_string());
            // The log has its space; it is the records that find none.
            let _ = event_loop.shared.store.engine().flush();
            event_loop.shared.store.engine().is_full()
        });
        assert!(full);
        assert_eq!(health(&event_loop), (503, "there is no space left on the disk".into()));
    }
}
