//! What the tests across crates share: the wire contract as a table of rows, and three ways to run a row — in
//! one thread without sockets, over TCP against a server, and through the blocking entry.
//!
//! A row is data: requests and what must be answered. Whoever can carry requests is a [`Wire`].
//!
//! And the simulator, [`sim`], which puts everything together and lets it go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod choice;
pub mod client;
pub mod drive;
pub mod embed;
pub mod fuzz;
pub mod gateway;
pub mod h2;
pub mod handler;
pub mod message;
pub mod proxy;
pub mod row;
pub mod rules;
pub mod server;
pub mod sim;
pub mod table;
pub mod tls;
pub mod tower;

pub use message::{Answer, Body, Request};
pub use row::{Expect, Row, Step, Wire};

/// Removes all data files of the store in this directory, as an operator might by mistake.
pub fn remove_data_files(store: &std::path::Path) {
    for dir in std::fs::read_dir(store.join("data")).unwrap() {
        for file in std::fs::read_dir(dir.unwrap().path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

/// The examples of docs/embedding.md, compiled. They are here because a package has only its own directory.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct EmbeddingDoctests;
