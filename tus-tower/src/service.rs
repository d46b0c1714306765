//! [`Tus`], the service that applications mount and shut down.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::Body;
use tus_driver::BoxError;

use crate::{
    body::TusBody,
    core::{BoxFuture, Serve},
    frames::Frames,
    response,
};

/// The service. A clone is the same service.
#[derive(Clone, Debug)]
pub struct Tus(Arc<dyn Serve>);

impl Tus {
    pub(crate) fn new(serve: Arc<dyn Serve>) -> Self {
        Self(serve)
    }

    /// A handle that shuts the service down.
    pub fn handle(&self) -> TusHandle {
        TusHandle(self.0.clone())
    }
}

impl<B> tower_service::Service<http::Request<B>> for Tus
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<TusBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ResponseFuture {
        let (parts, body) = request.into_parts();
        let framing = response::framing(&parts.headers, body.is_end_stream(), body.size_hint().exact());
        ResponseFuture(self.0.clone().begin(&parts, framing, Box::new(Frames::new(body))))
    }
}

/// The response to come. Dropped, it leaves the request to end by itself, with what had arrived committed.
pub struct ResponseFuture(BoxFuture<http::Response<TusBody>>);

impl Future for ResponseFuture {
    type Output = Result<http::Response<TusBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Ends a service.
#[derive(Clone, Debug)]
pub struct TusHandle(Arc<dyn Serve>);

impl TusHandle {
    /// Lets requests end by themselves for [`Limits::shutdown_timeout`](tus_driver::Limits::shutdown_timeout), then ends them, with what had arrived
    /// committed, and closes the store. New requests are rejected with 503 `ERR_SERVER_SHUTDOWN` meanwhile. What was
    /// acknowledged is durable then, with either durability.
    ///
    /// # Errors
    /// The store's: what was committed last could not be made durable.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.0.clone().shutdown().await.map_err(ShutdownError)
    }

    /// How many requests are under way, also those whose futures were dropped.
    pub fn requests(&self) -> usize {
        self.0.requests()
    }

    /// Whether no request is under way, and no upload's lock is held or waited for in this process.
    pub fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
}

/// What was committed last could not be made durable: the store failed.
#[derive(Clone, Debug)]
pub struct ShutdownError(tus_proto::Failure);

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was committed last could not be made durable: the store failed ({:?})", self.0)
    }
}

impl std::error::Error for ShutdownError {}
