//! An axum application that takes uploads: a page of its own at `/`, uploads below `/files`, which a token may guard,
//! and a hook that is told of each upload that is complete.
//!
//! `cargo run --release -p tus-tower --features axum,metrics --example axum -- --listen 127.0.0.1:8080`

mod flags;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header::AUTHORIZATION, uri::Scheme},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use clap::Parser;
use flags::{Flags, Outcome, asked_to_end};
use tokio::net::TcpListener;
use tus_tower::{
    AsyncHooks, Tus,
    tus_driver::{
        hooks::{DataFile, Hook, HookError, Upload},
        metrics::prometheus_client::{encoding::text::encode, registry::Registry},
    },
};

#[derive(Parser)]
struct Arguments {
    /// The flags of all examples.
    #[command(flatten)]
    flags: Flags,
    /// Reject requests for uploads without `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// What the application wants to know of uploads.
struct Application;

impl AsyncHooks for Application {
    fn wants(&self, hook: Hook) -> bool {
        hook == Hook::UploadComplete
    }

    fn wants_requests(&self) -> bool {
        true
    }

    async fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
        let name = upload.metadata.get_str("filename").unwrap_or("unnamed");
        let from = upload.request().and_then(|request| request.remote());
        tracing::info!(id = %upload.id, name, files = files.len(), ?from, "an upload is complete");
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let Arguments { flags, token } = Arguments::parse();
    let runtime = flags.runtime()?;
    runtime.block_on(serve(flags, token))
}

async fn serve(flags: Flags, token: Option<String>) -> Outcome<()> {
    let mut registry = Registry::default();
    let tus = Tus::builder(flags.store(true)?)
        .config(flags.config()?)
        .limits(|limits| flags.limits(limits))
        .scheme(Scheme::HTTP)
        .metrics(&mut registry)
        .async_hooks(Application)
        .build()?;
    let handle = tus.handle();

    let mut app = Router::new().nest_service(&flags.base_path, tus);
    if let Some(token) = token {
        app = app.layer(middleware::from_fn_with_state(token, authorise));
    }
    let registry = Arc::new(registry);
    let app = app.route("/", get(page)).route("/metrics", get(move || metrics(registry.clone())));

    let listener = TcpListener::bind(flags.address()?).await?;
    flags.announce(listener.local_addr()?)?;
    // Bodies that stall must not hold up the end: the service ends them.
    let ended = tokio::spawn(async move {
        asked_to_end().await;
        handle.shutdown().await
    });
    // Hooks are shown where a request comes from.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(asked_to_end()).await?;
    Ok(ended.await??)
}

async fn metrics(registry: Arc<Registry>) -> Result<String, StatusCode> {
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(text)
}

async fn page() -> Html<&'static str> {
    Html("<!doctype html><title>Uploads</title><p>Send uploads to <code>/files</code>, by tus 1.0.0.")
}

async fn authorise(State(token): State<String>, request: Request, next: Next) -> Response {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // A preflight carries no credentials.
    let preflight = request.method() == Method::OPTIONS;
    if preflight || sent.and_then(|sent| sent.strip_prefix("Bearer ")) == Some(&token) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}
