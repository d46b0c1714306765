//! A server to be killed, whose events after the fact go to a handler by HTTP. The handler's URL and the directory of the
//! uploads are its arguments; where it listens is its first line on standard output.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{sync::Arc, time::Duration};

use tus_mio_server::{
    Server, Settings,
    hooks::{External, ExternalSettings, HookType, HttpSettings, Target},
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let service = HttpSettings { tries: 1, ..HttpSettings::new(arguments.next().unwrap()) };
    let mut external = ExternalSettings::new(Target::Http(service));
    external.enabled = vec![HookType::PostCreate, HookType::PostFinish, HookType::PostTerminate];
    let settings = Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        data_dir: arguments.next().unwrap().into(),
        hook_runner: Some(Arc::new(External::new(external).unwrap())),
        hook_pause: Duration::from_millis(1),
        hook_longest_pause: Duration::from_millis(10),
        ..Settings::default()
    };
    let server = Server::bind(settings).unwrap();
    println!("{}", server.addresses()[0]);
    server.run().unwrap();
}
