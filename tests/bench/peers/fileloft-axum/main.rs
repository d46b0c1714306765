//! fileloft behind axum, with its store and locks on disk: `serve PORT DIR`.

use std::sync::Arc;

use fileloft_core::{Config, TusHandler};
use fileloft_store_fs::{FileLocker, FileStore};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let dir = args.next().expect("a directory");
    let mut config = Config::default();
    config.base_path = "/files/".into();
    config.extensions.concatenation = true;
    let store = FileStore::new(&dir);
    let locks = FileLocker::new(format!("{dir}/locks"));
    let uploads = Arc::new(TusHandler::new(store, Some(locks), config));
    let app = axum::Router::new().nest("/files", fileloft_axum::tus_router(uploads));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("to listen");
    axum::serve(listener, app).await.expect("to serve");
}
