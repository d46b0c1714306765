//! Small requests, as many as there is time for.

use std::time::Duration;

use super::{Outcome, Scale, metered};
use crate::{
    Trouble,
    client::{self, Client},
    contender::Running,
    drive::{Script, drive},
    figures::Done,
    http::Reply,
    tus::{self, Method},
};

/// The length of a small upload.
const LENGTH: usize = 4096;

/// No run makes more units than this.
const UNITS: u64 = 2_000_000;

/// How many uploads HEAD asks for in turn.
const HEADS: usize = 256;

/// POST, PATCH of 4 KiB, HEAD.
pub(super) fn small(server: &Running, connections: usize, scale: Scale) -> Result<Outcome, Trouble> {
    let mut script = Small::new(&server.target.path, connections, UNITS, Vec::new());
    measure(server, connections, scale, &mut script)
}

/// POST alone.
pub(super) fn create(server: &Running, scale: Scale) -> Result<Outcome, Trouble> {
    let mut script = Create { path: server.target.path.clone(), body: Vec::new(), left: UNITS };
    measure(server, 8, scale, &mut script)
}

/// POST with the whole upload.
pub(super) fn create_whole(server: &Running, scale: Scale) -> Result<Outcome, Trouble> {
    let able = Client::connect(&server.target)?.abilities(&server.target)?;
    if !able.has("creation-with-upload") {
        return Ok(Outcome::Unsupported("it has no creation with upload"));
    }
    let mut body = client::noise();
    body.truncate(LENGTH);
    let mut script = Create { path: server.target.path.clone(), body, left: UNITS };
    measure(server, 8, scale, &mut script)
}

/// HEAD alone.
pub(super) fn head(server: &Running, scale: Scale) -> Result<Outcome, Trouble> {
    let mut client = Client::connect(&server.target)?;
    let paths = (0..HEADS)
        .map(|_| client.create(&server.target, LENGTH as u64, ""))
        .collect::<Result<Vec<_>, _>>()?;
    drop(client);
    let mut script = Head { paths, next: 0, left: UNITS };
    measure(server, 8, scale, &mut script)
}

fn measure(
    server: &Running,
    connections: usize,
    scale: Scale,
    script: &mut impl Script,
) -> Result<Outcome, Trouble> {
    // What the first requests cost only once is not measured.
    drive(&server.target, connections, scale.time.mul_f64(0.1), script)?;
    let ((latencies, wall), _, cpu) =
        metered(server, || drive(&server.target, connections, scale.time, script))?;
    if latencies.is_empty() {
        return Err("no unit of work was done in time".into());
    }
    Ok(Outcome::Measured(Done { wall, cpu, bytes: 0, latencies }.of_units()))
}

/// POST, PATCH, HEAD, each connection its own upload. The HEAD may ask for one of older uploads instead.
#[derive(Debug)]
pub(crate) struct Small {
    collection: String,
    body: Vec<u8>,
    /// Each connection's upload, once it was created, and how far it has come.
    steps: Vec<Step>,
    older: Vec<String>,
    left: u64,
    /// What was made, where there are older ones: it is to go again.
    pub(crate) made: Vec<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Create,
    Patch(String),
    Head(String),
}

impl Small {
    pub(crate) fn new(collection: &str, connections: usize, left: u64, older: Vec<String>) -> Self {
        let mut body = client::noise();
        body.truncate(LENGTH);
        let (collection, steps) = (collection.to_owned(), vec![Step::Create; connections]);
        Self { collection, body, steps, older, left, made: Vec::new() }
    }
}

impl Script for Small {
    fn ask(&mut self, who: usize, out: &mut Vec<u8>) -> Option<Method> {
        Some(match &self.steps[who] {
            Step::Create => {
                self.left = self.left.checked_sub(1)?;
                tus::create(out, &self.collection, LENGTH as u64);
                Method::Post
            }
            Step::Patch(path) => {
                tus::patch(out, path, 0, LENGTH as u64, "");
                out.extend_from_slice(&self.body);
                Method::Patch
            }
            Step::Head(path) => {
                // Steps of a large prime go through all older ones without any order a store could profit from.
                let older = (self.left as usize).wrapping_mul(1_000_003).checked_rem(self.older.len());
                tus::head(out, older.and_then(|index| self.older.get(index)).unwrap_or(path));
                Method::Head
            }
        })
    }

    fn answered(&mut self, who: usize, _: Method, reply: &Reply<'_>) -> Result<bool, Trouble> {
        let step = &mut self.steps[who];
        *step = match std::mem::replace(step, Step::Create) {
            Step::Create => Step::Patch(tus::location(reply)?),
            Step::Patch(path) => Step::Head(path),
            Step::Head(path) => {
                if !self.older.is_empty() {
                    self.made.push(path);
                }
                return Ok(true);
            }
        };
        Ok(false)
    }
}

struct Create {
    path: String,
    /// What comes with it: nothing, or the whole upload.
    body: Vec<u8>,
    left: u64,
}

impl Script for Create {
    fn ask(&mut self, _: usize, out: &mut Vec<u8>) -> Option<Method> {
        self.left = self.left.checked_sub(1)?;
        if self.body.is_empty() {
            tus::create(out, &self.path, LENGTH as u64);
        } else {
            tus::create_with(out, &self.path, LENGTH as u64);
            out.extend_from_slice(&self.body);
        }
        Some(Method::Post)
    }

    fn answered(&mut self, _: usize, _: Method, reply: &Reply<'_>) -> Result<bool, Trouble> {
        tus::location(reply)?;
        Ok(true)
    }
}

struct Head {
    paths: Vec<String>,
    next: usize,
    left: u64,
}

impl Script for Head {
    fn ask(&mut self, _: usize, out: &mut Vec<u8>) -> Option<Method> {
        self.left = self.left.checked_sub(1)?;
        self.next = (self.next + 1) % self.paths.len();
        tus::head(out, &self.paths[self.next]);
        Some(Method::Head)
    }

    fn answered(&mut self, _: usize, _: Method, _: &Reply<'_>) -> Result<bool, Trouble> {
        Ok(true)
    }
}

/// Uploads of one byte each, with their creation: what fills a store.
#[derive(Debug)]
pub(crate) struct Fill {
    collection: String,
    left: u64,
    /// What was made.
    pub(crate) paths: Vec<String>,
}

impl Fill {
    pub(crate) fn new(collection: &str, count: u64) -> Self {
        Self { collection: collection.to_owned(), left: count, paths: Vec::new() }
    }

    /// Over enough connections for a server that groups its commits.
    pub(crate) fn run(mut self, server: &Running) -> Result<Vec<String>, Trouble> {
        let wanted = self.left;
        drive(&server.target, 64, Duration::from_secs(3600), &mut self)?;
        if self.paths.len() as u64 == wanted {
            Ok(self.paths)
        } else {
            Err("the store was not filled".into())
        }
    }
}

impl Script for Fill {
    fn ask(&mut self, _: usize, out: &mut Vec<u8>) -> Option<Method> {
        self.left = self.left.checked_sub(1)?;
        tus::create_with(out, &self.collection, 1);
        out.push(b'x');
        Some(Method::Post)
    }

    fn answered(&mut self, _: usize, _: Method, reply: &Reply<'_>) -> Result<bool, Trouble> {
        self.paths.push(tus::location(reply)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reply(text: &str) -> Reply<'_> {
        Reply::parse(text.as_bytes(), false).unwrap().unwrap().0
    }

    #[test]
    fn a_small_upload_is_three_requests_about_the_same_path() {
        let mut script = Small::new("/files", 1, 9, Vec::new());
        let asked = |script: &mut Small| {
            let mut out = Vec::new();
            let method = script.ask(0, &mut out).unwrap();
            (method, String::from_utf8_lossy(&out).lines().next().unwrap().to_owned())
        };
        assert_eq!(asked(&mut script), (Method::Post, "POST /files HTTP/1.1".into()));
        let created = reply("HTTP/1.1 201 x\r\nLocation: http://h/files/a\r\nContent-Length: 0\r\n\r\n");
        assert!(!script.answered(0, Method::Post, &created).unwrap());
        assert_eq!(asked(&mut script), (Method::Patch, "PATCH /files/a HTTP/1.1".into()));
        let done = reply("HTTP/1.1 204 x\r\n\r\n");
        assert!(!script.answered(0, Method::Patch, &done).unwrap());
        assert_eq!(asked(&mut script), (Method::Head, "HEAD /files/a HTTP/1.1".into()));
        assert!(script.answered(0, Method::Head, &done).unwrap());
        assert_eq!(asked(&mut script).0, Method::Post);
    }

    #[test]
    fn a_creation_without_a_location_is_no_creation() {
        let mut script = Create { path: "/files".into(), body: Vec::new(), left: 1 };
        let created = reply("HTTP/1.1 201 x\r\nContent-Length: 0\r\n\r\n");
        assert!(script.answered(0, Method::Post, &created).is_err());
    }
}
