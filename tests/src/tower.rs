//! The tower service, mounted in axum, on a port and in a directory of the system's choice.

use std::{net::SocketAddr, path::Path, time::Duration};

use axum::Router;
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use tus_proto::Config;
use tus_tower::{
    Limits, Tus, TusHandle,
    tus_redb::{Options, Store},
};

/// An axum server that runs until it is dropped.
#[derive(Debug)]
pub struct Mounted {
    address: SocketAddr,
    handle: TusHandle,
    runtime: Option<Runtime>,
    dir: TempDir,
}

impl Mounted {
    /// Starts one with these rules; `change` sets what requests may cost. Paths that are not the application's reach the
    /// service as well.
    pub fn start(config: Config, change: impl FnOnce(&mut Limits)) -> Self {
        let base_path = config.base_path().to_owned();
        Self::start_with(config, change, |tus| {
            let router = Router::new().fallback_service(tus.clone());
            if base_path.is_empty() { router } else { router.nest_service(&base_path, tus) }
        })
    }

    /// The same, mounted otherwise.
    pub fn start_with(
        config: Config,
        change: impl FnOnce(&mut Limits),
        mount: impl FnOnce(Tus) -> Router,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let limits = |limits: &mut Limits| {
            limits.shutdown_timeout = Duration::from_millis(100);
            change(limits);
        };
        let scheme = axum::http::uri::Scheme::HTTP;
        let tus = Tus::builder(store).config(config).scheme(scheme).limits(limits).build().unwrap();
        let handle = tus.handle();
        let app = mount(tus);
        drop(entered);
        let (tell, told) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        let address = runtime.block_on(told).unwrap();
        Self { address, handle, runtime: Some(runtime), dir }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its store is.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// What ends its service.
    pub fn handle(&self) -> &TusHandle {
        &self.handle
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let ended = runtime.block_on(self.handle.shutdown());
            runtime.shutdown_background();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
