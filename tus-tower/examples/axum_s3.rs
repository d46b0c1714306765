//! An axum application whose uploads are in a bucket, which any number of such applications may share. The store runs on
//! tokio as axum does: no thread waits for it.
//!
//! `AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… cargo run --release -p tus-tower --features axum,object-store \
//! --example axum_s3 -- --store s3://uploads/in --store-option region=eu-central-1`

use std::{error::Error, io::Write, net::SocketAddr, sync::Arc};

use axum::{Router, http::uri::Scheme};
use clap::Parser;
use tokio::net::TcpListener;
use tus_tower::{
    TokioExecutor, Tus,
    tus_object_store::{BucketStore, Options, connect},
    tus_proto::Config,
};

#[derive(Parser)]
struct Flags {
    /// Address and port to listen on; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or memory:// for a trial
    #[arg(long, value_name = "URL", default_value = "memory://")]
    store: String,
    /// An option of the object store's client; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    store_option: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = flags.store_option.iter().map(|option| option.split_once('=').ok_or("write KEY=VALUE"));
    let bucket = connect(&flags.store, options.collect::<Result<Vec<_>, _>>()?)?;

    // One executor for the store, which is opened first, and for the service.
    let executor = TokioExecutor::new(4)?;
    let store = BucketStore::open(bucket, executor.to_dyn(), Options::default()).await?;
    let locks = Arc::new(store.locks());
    let tus = Tus::builder(move |_| store)
        .executor(executor)
        .locks(locks)
        .config(Config::builder().downloads(true).build()?)
        .scheme(Scheme::HTTP)
        .build()?;
    let handle = tus.handle();

    let app = Router::new().nest_service("/files", tus);
    let listener = TcpListener::bind(flags.listen).await?;
    writeln!(std::io::stdout(), "listening on http://{}/files", listener.local_addr()?)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    // Bodies that are cut off are committed, and leases given back.
    Ok(handle.shutdown().await?)
}
