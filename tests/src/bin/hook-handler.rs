//! A handler of hooks by HTTP, to be killed. The address that it listens at is its argument; port 0 lets the system choose, and
//! the address is its first line on standard output. Each call is a line after that, before it is answered: the event, the
//! upload's id, and the name of the delivery.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use tests::handler::{Handler, Reply};

fn main() {
    let address = std::env::args().nth(1).unwrap().parse().unwrap();
    let told = |line: String| println!("{line}");
    let handler = Handler::start_at(address, move |call| {
        let id = call.upload()["ID"].as_str().unwrap();
        told(format!("{} {id} {}", call.kind(), call.field("Idempotency-Key").unwrap()));
        Reply::json(&serde_json::Value::Null)
    });
    println!("{}", handler.address());
    loop {
        handler.wait();
    }
}
