//! Uploads by hyper alone: HTTP/1.1 and HTTP/2 on one port, and TLS with `--tls-cert` and `--tls-key`.
//!
//! `cargo run --release -p tus-tower --example hyper -- --listen 127.0.0.1:8080`

mod flags;

use std::{path::Path, sync::Arc};

use clap::Parser;
use flags::{Flags, Outcome, asked_to_end};
use http::uri::Scheme;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tower::util::MapRequest;
use tus_tower::Tus;

fn main() -> Outcome<()> {
    let flags = Flags::parse();
    let runtime = flags.runtime()?;
    let ended = runtime.block_on(serve(flags));
    // What is left are connections.
    runtime.shutdown_background();
    ended
}

async fn serve(flags: Flags) -> Outcome<()> {
    let tls = flags.tls_cert.as_deref().zip(flags.tls_key.as_deref()).map(acceptor).transpose()?;
    let tus = Tus::builder(flags.store(false)?)
        .config(flags.config()?)
        .limits(|limits| flags.limits(limits))
        .scheme(if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP })
        .build()?;
    let handle = tus.handle();

    let mut http = auto::Builder::new(TokioExecutor::new());
    let largest = u32::try_from(flags.max_head_size)?.max(8 << 10);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(flags.head_timeout)
        .max_headers(flags.max_fields)
        .max_buf_size(largest as usize);
    http.http2().timer(TokioTimer::new()).max_header_list_size(largest);
    let http = Arc::new(http);

    let listener = TcpListener::bind(flags.address()?).await?;
    flags.announce(listener.local_addr()?)?;
    let mut end = std::pin::pin!(asked_to_end());
    let places = Arc::new(Semaphore::new(flags.max_connections));
    loop {
        let next = async { (places.clone().acquire_owned().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut end => break,
        };
        // Too many open files, for one: what is open now ends some time.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (http, tls, tus) = (http.clone(), tls.clone(), tus.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, &http, tls, tus).await {
                tracing::debug!(error, "a connection failed");
            }
            drop(place);
        });
    }
    Ok(handle.shutdown().await?)
}

async fn connection(
    stream: TcpStream,
    http: &auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    tus: Tus,
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    // Hooks are shown where a request comes from.
    let remote = stream.peer_addr()?;
    let service = MapRequest::new(tus, move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(remote);
        request
    });
    let service = TowerToHyperService::new(service);
    match tls {
        Some(tls) => http.serve_connection(TokioIo::new(tls.accept(stream).await?), service).await,
        None => http.serve_connection(TokioIo::new(stream), service).await,
    }
}

fn acceptor((certificates, key): (&Path, &Path)) -> Outcome<TlsAcceptor> {
    let certificates = CertificateDer::pem_file_iter(certificates)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}
