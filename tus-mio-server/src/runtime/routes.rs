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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU8, AtomicUsize},
        },
        time::Duration,
    };

    use tus_proto::{Completion, Framing, Record, UploadId, WallTime};
    use tus_redb::{
        Change, Options, Store,
        sim::{Fault, SimDisk},
    };

    use super::*;
    use crate::runtime::{Clock, Committer, Locks, Metrics, Workers};

    fn event_loop(disk: &SimDisk) -> EventLoop {
        let store = Store::open_on(Arc::new(disk.clone()), &Options::default()).unwrap();
        let shared = Shared {
            clock: Clock::start(),
            protocol: Arc::default(),
            http: Arc::default(),
            page: None,
            metrics_path: None,
            metrics: Metrics::new(),
            locks: Locks::new(store.first_fence()),
            store: Arc::new(store),
            mailboxes: Vec::new(),
            workers: Workers::new(),
            committer: Committer::new(),
            max_connections: 1,
            connections: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            shutdown_timeout: Duration::ZERO,
            shutdowns: AtomicU8::new(0),
        };
        EventLoop::new(0, Arc::new(shared), mio::Poll::new().unwrap())
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

    fn create(event_loop: &EventLoop, id: &str) -> Completion {
        let id = UploadId::new(id).unwrap();
        let record =
            Record { id, created: WallTime::default(), offset: 0, length: None, metadata: String::new() };
        let completions = event_loop.shared.store.commit(&[Change::Create(record)]);
        event_loop.shared.committer.learn(&completions);
        completions[0].clone()
    }

    #[test]
    fn health_tells_a_disk_that_fails() {
        let disk = SimDisk::new();
        let event_loop = event_loop(&disk);
        assert_eq!(health(&event_loop), (200, "ok".into()));
        disk.fail(0..u64::MAX, Fault::Io);
        assert!(matches!(create(&event_loop, "a"), Completion::Failed(_)));
        assert_eq!(health(&event_loop), (503, "the disk fails".into()));
        disk.heal();
        assert_eq!(create(&event_loop, "b"), Completion::Created);
        assert_eq!(health(&event_loop), (200, "ok".into()));
    }

    #[test]
    fn health_tells_a_disk_that_is_full() {
        let disk = SimDisk::new();
        let event_loop = event_loop(&disk);
        disk.set_free(Some(0));
        let full = (0..1000).any(|number| {
            create(&event_loop, &number.to_string());
            event_loop.shared.store.is_full()
        });
        assert!(full);
        assert_eq!(health(&event_loop), (503, "there is no space left on the disk".into()));
    }
}
