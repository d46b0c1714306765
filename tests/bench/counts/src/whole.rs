//! A request as the server has it, but for system calls and store: from the bytes of its head to those of its answer.

use std::{hint::black_box, sync::Arc};

use tus_mio_server::http1::{Conn, Event, Settings};
use tus_proto::Exchange;

use crate::{
    NOW,
    exchange::{LENGTH, PATH, Surroundings, receive},
};

/// The creation of an upload.
pub(crate) fn post(times: u32) {
    let fields = "Content-Length: 0\r\nUpload-Length: 4096\r\n\
        Upload-Metadata: filename aG9saWRheS5qcGc=,filetype aW1hZ2UvanBlZw==\r\n";
    run(times, &request("POST", "/files", fields));
}

/// All of an upload's bytes in one PATCH.
pub(crate) fn patch(times: u32) {
    let fields =
        "Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 4096\r\n";
    run(times, &[request("PATCH", PATH, fields), vec![b'x'; LENGTH as usize]].concat());
}

/// How far an upload is.
pub(crate) fn head(times: u32) {
    run(times, &request("HEAD", PATH, ""));
}

fn request(method: &str, target: &str, fields: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost:1080\r\nTus-Resumable: 1.0.0\r\n{fields}\r\n")
        .into()
}

fn run(times: u32, request: &[u8]) {
    let mut around = Surroundings::new();
    let mut http = Conn::new(Arc::new(Settings::default()), NOW.monotonic);
    for _ in 0..times {
        let mut rest = black_box(request);
        let mut running = None;
        while let Some(event) = http.next(NOW.monotonic, &mut rest) {
            match event {
                Event::Head => {
                    let config = around.config.clone();
                    let begun = http.with_head(false, |head| Exchange::new(config, head, [7; 10], NOW));
                    let Some(mut exchange) = begun else { return };
                    let append =
                        around.carry_out(&mut exchange, |answer| http.respond(NOW.monotonic, answer));
                    running = append.map(|append| (exchange, append));
                }
                Event::Body(_) | Event::Rejected(_) => {}
                Event::End(_) => {
                    if let Some((mut exchange, append)) = running.take() {
                        receive(&mut exchange, append);
                        around.carry_out(&mut exchange, |answer| http.respond(NOW.monotonic, answer));
                    }
                }
            }
        }
        assert!(http.output().starts_with(b"HTTP/1.1 20"));
        http.sent(NOW.monotonic, http.output().len());
    }
}
