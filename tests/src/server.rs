//! A server in threads of this process, on a port and in a directory of the system's choice.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;
use tus_driver::Store;
use tus_mio_server::{Address, Handle, Server, Settings};
use tus_object_store::{Bucket, BucketStore, DeferredLocks, Options, WithRuntime};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<(), String>>>,
    dir: Arc<TempDir>,
}

impl Running {
    /// Starts one whose settings differ from the defaults by `change`.
    pub fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), change)
    }

    /// Starts one on what another has left.
    pub fn start_in(dir: Arc<TempDir>, change: impl FnOnce(&mut Settings)) -> Self {
        let server = Server::bind(settings(dir.path(), change)).unwrap();
        Self::of(server, dir)
    }

    /// Starts one that keeps its uploads in this store.
    pub fn start_over<S: Store>(store: S, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let builder = Server::builder(settings(dir.path(), change));
        Self::of(builder.store(|_| Ok::<_, Infallible>(store)).bind().unwrap(), dir)
    }

    /// Starts one that shares this bucket with others.
    pub fn start_on(
        bucket: Arc<dyn Bucket>,
        options: Options,
        change: impl FnOnce(&mut Settings),
    ) -> (Self, BucketStore) {
        let dir = Arc::new(TempDir::new().unwrap());
        let locks = Arc::new(DeferredLocks::default());
        let mut settings = settings(dir.path(), change);
        settings.locks = Some(locks.clone());
        let opened = Arc::new(OnceLock::new());
        let place = opened.clone();
        let open = move |executor| -> Result<BucketStore, Box<dyn Error + Send + Sync>> {
            let executor = Arc::new(WithRuntime::new(executor, 1)?);
            let store = BucketStore::open_blocking(bucket, executor, options)?;
            locks.set(store.locks());
            place.get_or_init(|| store.clone());
            Ok(store)
        };
        let server = Server::builder(settings).store(open).bind().unwrap();
        let store = opened.get().unwrap().clone();
        (Self::of(server, dir), store)
    }

    fn of(server: Server, dir: Arc<TempDir>) -> Self {
        let handle = server.handle();
        let address = server.addresses().iter().find_map(Address::tcp).unwrap();
        let thread = std::thread::spawn(|| server.run().map_err(|error| error.to_string()));
        Self { address, handle, thread: Some(thread), dir }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where it keeps its uploads.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until it has ended, after a shutdown was asked for; what it leaves can be started on again.
    pub fn join(mut self) -> Result<Arc<TempDir>, String> {
        let thread = self.thread.take().ok_or("it was joined already")?;
        thread.join().map_err(|_| "a thread of the server panicked")??;
        Ok(self.dir.clone())
    }
}

fn settings(dir: &Path, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        data_dir: dir.join("data"),
        threads: Some(2),
        workers: 2,
        demo: false,
        shutdown_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    change(&mut settings);
    settings
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}
