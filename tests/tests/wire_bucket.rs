//! The wire contract over TCP against two servers that share a bucket: each request of a row goes to either of them. The
//! bucket is on versitygw where `VERSITYGW` names that program, else in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use tests::{Row, client::Tcp, gateway, row, section_tests, server::Running, table};
use tus_object_store::{Bucket, HttpPeers, Options, PeerSecret};

/// Two servers that reach each other, with the configuration that a row wants.
fn start(bucket: &Arc<dyn Bucket>, row: &Row) -> [Running; 2] {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"the-secret-of-these-two\n").unwrap();
    let secret = PeerSecret::load(file.path()).unwrap();
    [(), ()].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut options = Options::default();
        options.probe = false;
        options.peers = Some(Arc::new(HttpPeers::new(&url, secret.clone()).unwrap()));
        let (server, store) = Running::start_on(bucket.clone(), options, |settings| {
            settings.protocol = row.protocol();
            if row.stalls {
                settings.http.body_timeout = Duration::from_millis(300);
            }
        });
        store.serve_peers(listener, secret.clone()).unwrap();
        server
    })
}

fn run(row: &Row, bucket: &Arc<dyn Bucket>, shared: &[Running; 2]) -> Result<(), String> {
    let own = (row.config.is_some() || row.stalls).then(|| start(bucket, row));
    let addresses = own.as_ref().unwrap_or(shared).each_ref().map(Running::address);
    let mut seed = DefaultHasher::new();
    row.name.hash(&mut seed);
    row::attempt(row, || Tcp::among(addresses.to_vec(), seed.finish()))
}

#[track_caller]
fn section(name: &str) {
    let (_gateway, bucket) = gateway::bucket();
    let shared = start(&bucket, &row::row("", ""));
    table::run_section(name, |row| run(row, &bucket, &shared));
}

section_tests!(section);
