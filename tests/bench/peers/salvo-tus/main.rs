//! salvo-tus with its own store on disk: `serve PORT DIR`.

use salvo_core::prelude::*;
use salvo_tus::{Tus, options::MaxSize};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let dir = args.next().expect("a directory");
    let tus = Tus::new()
        .path("/files")
        .relative_location(true)
        .max_size(MaxSize::Fixed(1 << 40))
        .storage_root(dir);
    let acceptor = TcpListener::new(("127.0.0.1", port)).bind().await;
    Server::new(acceptor).serve(Router::new().push(tus.into_router())).await;
}
