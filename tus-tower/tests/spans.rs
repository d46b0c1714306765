//! What a service says through `tracing`: within the application's own spans.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{Channel, Full};
use support::{call, create, patch};
use tracing::{Event, Instrument, Metadata, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};
use tus_tower::{Tus, tus_driver::MemoryStore};

/// Records each event with a status: the spans that it is in, the outermost first, and the status.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Notes {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let path: Vec<_> = spans.map(|span| span.metadata().name()).collect();
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            if field.name() == "status" {
                self.0.lock().unwrap().push(format!("{} {value:?}", path.join("/")));
            }
        });
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        !metadata.target().starts_with("tokio")
    }
}

#[tokio::test]
async fn spans_nest_in_the_applications_also_in_the_task_that_goes_on() {
    let notes = Notes::default();
    let subscriber = tracing_subscriber::registry().with(notes.clone().with_filter(LevelFilter::DEBUG));
    let _set = tracing::subscriber::set_default(subscriber);
    let tus = Tus::builder(MemoryStore::default()).build().unwrap();
    let path = create(&tus, 10).instrument(tracing::info_span!("application")).await;
    let patched = async {
        // A body that makes the request wait.
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let response = tokio::spawn(support::service(&tus, patch(&path, 0, body)));
        tokio::task::yield_now().await;
        sender.send_data("hello".into()).await.unwrap();
        drop(sender);
        response.await.unwrap()
    };
    assert_eq!(patched.instrument(tracing::info_span!("application")).await.status(), 204);
    let outside = call(&tus, patch(&path, 0, Full::<Bytes>::from("hello"))).await;
    assert_eq!(outside.status(), 409);
    assert_eq!(*notes.0.lock().unwrap(), ["application/tus 201", "application/tus 204", "tus 409"]);
}
