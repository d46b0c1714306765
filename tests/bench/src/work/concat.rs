//! Concatenation: only the final POST is measured.

use super::{Outcome, metered};
use crate::{
    Trouble,
    client::{self, Client},
    contender::Running,
    figures::Done,
    tus::{self, Method},
};

const PARTS: u64 = 16;

/// Joins 16 parts of `length` bytes each.
pub(super) fn run(server: &Running, length: u64) -> Result<Outcome, Trouble> {
    let target = &server.target;
    let mut client = Client::connect(target)?;
    if !client.abilities(target)?.has("concatenation") {
        return Ok(Outcome::Unsupported("it has no concatenation"));
    }
    let piece = client::noise();
    let mut parts = Vec::new();
    let mut request = Vec::new();
    for _ in 0..PARTS {
        let part = client.create(target, length, "Upload-Concat: partial\r\n")?;
        request.clear();
        tus::patch(&mut request, &part, 0, length, "");
        client.send(Method::Patch, &request, &piece, length)?;
        parts.push(part);
    }
    request.clear();
    let lines = format!("Upload-Concat: final;{}\r\n", parts.join(" "));
    tus::request(&mut request, Method::Post, &target.path, 0, &lines);
    let (path, wall, cpu) = metered(server, || client.ask(Method::Post, &request, tus::location))?;
    request.clear();
    tus::head(&mut request, &path);
    let whole = client.ask(Method::Head, &request, |reply| {
        Ok(reply.field("Upload-Length").and_then(|text| text.parse::<u64>().ok()))
    })?;
    if whole != Some(PARTS * length) {
        return Err("the final upload is not as long as its parts".into());
    }
    if server.stays() {
        parts.iter().chain([&path]).for_each(|path| client.delete(path));
    }
    let latencies = vec![u64::try_from(wall.as_nanos())?];
    let mut figures = Done { wall, cpu, bytes: 0, latencies }.of_units();
    // One request has neither a rate nor a tail.
    figures.retain(|measure, _| measure.is_of_one());
    Ok(Outcome::Measured(figures))
}
