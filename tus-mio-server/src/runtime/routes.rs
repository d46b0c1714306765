//! What the server answers by itself, on the event loop: the page, the metrics, and how it is.

use tus_proto::{Code, Connection, Head, Response};

use super::{Shared, event_loop::EventLoop, metrics};
use crate::{page::CONTENT_SECURITY_POLICY, paths::HEALTH_PATH};

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

impl EventLoop {
    /// The answer to a request that is for none of the uploads; none where the protocol answers.
    pub(super) fn own_answer(&self, head: &Head<'_>) -> Option<Response> {
        let path = head.target.split('?').next().unwrap_or_default();
        let reads = matches!(head.method, "GET" | "HEAD");
        let shared = &*self.shared;
        if path == HEALTH_PATH || shared.metrics_path.as_deref() == Some(path) {
            return Some(match reads {
                true if path == HEALTH_PATH => self.health(),
                true => self.metrics(head),
                false => self.reads_only(),
            });
        }
        let asset = shared.page.as_ref()?.asset(path).filter(|_| reads)?;
        let mut response = Response::new(200, self.now.wall);
        response.push("Content-Security-Policy", CONTENT_SECURITY_POLICY);
        response.push("Referrer-Policy", "no-referrer");
        response.set_body(asset.content_type, String::from(asset.body));
        Some(response)
    }

    fn metrics(&self, head: &Head<'_>) -> Response {
        let mut response = Response::new(200, self.now.wall);
        let open = self.shared.admission.open();
        let outbox = self.shared.store.outbox_len().unwrap_or_default();
        let (media_type, text) = metrics::text::negotiated(head, self.shared.metrics.text(open, outbox));
        response.set_body(media_type, text);
        response
    }

    fn health(&self) -> Response {
        let (status, text) = match trouble(&self.shared) {
            None => (200, "ok"),
            Some(text) => (503, text),
        };
        let mut response = Response::new(status, self.now.wall);
        response.set_body(PLAIN_TEXT, text);
        response
    }

    fn reads_only(&self) -> Response {
        let mut response = self.shared.protocol.refusal(Code::MethodNotAllowed, None, self.now.wall);
        response.push("Allow", "GET, HEAD");
        response.connection = Connection::Drain;
        response
    }
}

/// Why the store can't commit.
fn trouble(shared: &Shared) -> Option<&'static str> {
    if shared.store.is_full() {
        Some("there is no space left on the disk")
    } else if shared.committer.is_failing() {
        Some("the disk fails")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use tus_proto::{Completion, Framing};
    use tus_redb::sim::{Fault, SimDisk};

    use super::*;

    fn event_loop(disk: &SimDisk) -> EventLoop {
        EventLoop::new(0, Arc::new(Shared::on(disk)), mio::Poll::new().unwrap())
    }

    fn health(event_loop: &EventLoop) -> (u16, String) {
        let head = Head {
            method: "GET",
            target: "/healthz",
            fields: &[],
            framing: Framing::Length(0),
            secure: false,
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
            event_loop.shared.store.is_full()
        });
        assert!(full);
        assert_eq!(health(&event_loop), (503, "there is no space left on the disk".into()));
    }
}
