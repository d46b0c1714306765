//! A server to be killed: its hook is told of a completion, says so, and never returns. The directory of its uploads
//! is its only argument; where it listens is its first line on standard output, what the hook was told its second.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::thread;

use tus_mio_server::{Server, Settings, hooks::Hooks};

fn main() {
    let data_dir = std::env::args_os().nth(1).unwrap().into();
    let hooks = Hooks::new().on_upload_complete(|upload, _| {
        println!("{}", upload.id);
        loop {
            thread::park();
        }
    });
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let settings = Settings { listen, data_dir, hooks, ..Settings::default() };
    let server = Server::bind(settings).unwrap();
    println!("{}", server.addresses()[0]);
    server.run().unwrap();
}
