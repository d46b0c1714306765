//! What the server answers by itself, on the event loop: the page, the metrics, and how it is.

use std::sync::atomic::Ordering;

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
                true => self.metrics(),
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

    fn metrics(&self) -> Response {
        let mut response = Response::new(200, self.now.wall);
        let open = self.shared.connections.load(Ordering::Relaxed);
        response.set_body(metrics::CONTENT_TYPE, self.shared.metrics.text(open));
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
        let mut response = self.shared.protocol.refusal(Code::MethodNotAllowed, self.now.wall);
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
