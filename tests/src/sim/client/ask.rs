//! What a client asks for next, and how it says it.

use base64::{Engine, engine::general_purpose::STANDARD};
use tus_proto::{Algorithm, Hasher};

use super::{Asked, CONTINUE_WAIT, Client, Cut, Kind, PATIENCE, Shelf};
use crate::{
    client::serialise,
    message::{Body, Last, Request},
    sim::{content::stretch, env::Env},
};

/// A request as bytes, and what it is.
pub(super) struct Draft {
    pub(super) request: Request,
    /// What follows what the request itself says: chunks' end, trailers.
    pub(super) tail: Vec<u8>,
    pub(super) kind: Kind,
}

impl Draft {
    pub(super) fn of(request: Request, kind: Kind) -> Self {
        Self { request, tail: Vec::new(), kind }
    }
}

impl Client {
    /// Begins the next request.
    pub(super) fn ask(&mut self, env: &mut Env, shelf: &mut Shelf) {
        if shelf.removed && !env.over && env.choice.percent(80) {
            *shelf = Shelf::default();
            self.offset = None;
        }
        if shelf.removed {
            self.done = true;
            return self.hang_up(env);
        }
        if self.role.makes.is_some() && shelf.url.is_none() && shelf.parts.is_empty() {
            return self.pause(env);
        }
        let lies = self.role.lies && !env.over && env.choice.one_in(3);
        let draft = match (&shelf.url, self.offset) {
            (None, _) if self.role.makes.is_some() => concat(&shelf.parts),
            (Some(url), _) if self.terminates(env, shelf) => terminate(url),
            (Some(url), _) if self.fetches(env) => self.fetch(env, shelf, url),
            (Some(url), _) if self.role.makes.is_some() => look(url),
            (None, _) => self.create(env),
            (Some(url), _) if lies => self.lie(env, shelf, url),
            (Some(url), None) => look(url),
            (Some(url), Some(_)) if env.choice.one_in(10) => look(url),
            (Some(url), Some(offset)) if offset >= self.length(env) && self.undeclared => {
                let Draft { request, kind, .. } = empty(url, offset);
                Draft::of(request.with("Upload-Length", self.length(env)), kind)
            }
            (Some(url), Some(offset)) if offset >= self.length(env) && env.choice.one_in(4) => {
                empty(url, offset)
            }
            (Some(url), Some(offset)) if offset >= self.length(env) => match self.terminates(env, shelf) {
                true => terminate(url),
                false => look(url),
            },
            (Some(url), Some(offset)) => self.write(env, shelf, url, offset),
        };
        let draft = self.translate(env, draft);
        self.send(env, shelf, draft);
    }

    pub(super) fn length(&self, env: &Env) -> u64 {
        env.plan.files[self.role.file]
    }

    fn send(&mut self, env: &mut Env, shelf: &Shelf, draft: Draft) {
        let Draft { mut request, tail, kind } = draft;
        let has_body = request.body != Body::None;
        let expects = has_body && env.choice.one_in(6);
        if expects {
            request = request.with("Expect", "100-continue");
        }
        let mut bytes = serialise(&request);
        bytes.extend(tail);
        if self.link.is_none() {
            self.link = Some(env.new_link(self.index));
        }
        self.hold = expects.then(|| {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default() + 4;
            (head, env.later(CONTINUE_WAIT))
        });
        self.cut = None;
        if env.fault(env.plan.faults.cut) {
            env.report.faults += 1;
            let whole = bytes.len();
            bytes.truncate(env.choice.magnitude(whole as u64) as usize);
            self.cuts_body = bytes.len() < whole && !bytes.ends_with(b"\r\n\r\n");
            self.cut = Some(env.choice.pick(&[Cut::Reset, Cut::HalfClose, Cut::Close, Cut::Stall]));
            self.hold = self.hold.filter(|(at, _)| *at <= bytes.len());
        }
        env.note(|| {
            let (index, link, cut) = (self.index, self.link, self.cut);
            format!("client {index} on {link:?} asks {kind:?} {} {:?}", request.fields.len(), cut)
        });
        let whole = self.cut.is_none();
        (self.sending, self.sent) = (bytes, 0);
        self.give_up = env.later(PATIENCE);
        self.asked = Some(Asked { request, url: shelf.url.clone(), kind, whole });
    }

    fn create(&self, env: &mut Env) -> Draft {
        let length = self.length(env);
        let deferred = env.choice.one_in(4);
        let request = match deferred {
            true => Request::post().with("Upload-Defer-Length", 1),
            false => Request::post().with("Upload-Length", length),
        };
        let mut request = request.with("Upload-Metadata", "name c2lt");
        if self.role.partial {
            request = request.with("Upload-Concat", "partial");
        }
        if env.choice.one_in(2) || length == 0 {
            return Draft::of(request, Kind::Create(0));
        }
        let to = self.end_of_body(env, 0);
        let draft = self.body(env, request.upload_type(), 0, to);
        Draft { kind: Kind::Create(to), ..draft }
    }

    /// How far the next body goes.
    fn end_of_body(&self, env: &mut Env, from: u64) -> u64 {
        from + env.choice.part((self.length(env) - from).min(self.most).max(1))
    }

    fn write(&self, env: &mut Env, shelf: &Shelf, url: &str, from: u64) -> Draft {
        let length = self.length(env);
        let to = self.end_of_body(env, from);
        let mut request = Request::tus("PATCH", url).with("Upload-Offset", from).upload_type();
        if shelf.deferred && (to == length || env.choice.one_in(4)) {
            request = request.with("Upload-Length", length);
        }
        self.body(env, request, from, to)
    }

    /// Gives a request a stretch of the file as its body, in any framing, maybe with a checksum.
    fn body(&self, env: &mut Env, mut request: Request, from: u64, to: u64) -> Draft {
        let bytes = stretch(self.role.file, from, to);
        let checksum = env.choice.one_in(3).then(|| checksum(env, &bytes));
        let kind = Kind::Write { from, to };
        if env.choice.one_in(2) {
            if let Some(checksum) = checksum {
                request = request.with("Upload-Checksum", checksum);
            }
            request.body = Body::Sized(bytes.len() as u64, bytes);
            return Draft::of(request, kind);
        }
        let mut trailer = String::new();
        if let Some(checksum) = checksum {
            if env.choice.one_in(2) {
                request = request.with("Upload-Checksum", checksum);
            } else {
                request = request.with("Trailer", "Upload-Checksum");
                trailer = format!("Upload-Checksum: {checksum}\r\n");
            }
        }
        request.body = Body::Chunked(chunks(env, &bytes), Last::Later);
        Draft { request, tail: format!("0\r\n{trailer}\r\n").into_bytes(), kind }
    }

    /// A request that must not do what it asks for.
    fn lie(&self, env: &mut Env, shelf: &Shelf, url: &str) -> Draft {
        let (file, length) = (self.role.file, self.length(env));
        let from = self.offset.unwrap_or_default().min(length);
        let to = if from < length { self.end_of_body(env, from) } else { length };
        let patch = |at: u64| Request::tus("PATCH", url).with("Upload-Offset", at).upload_type();
        match env.choice.below(8) {
            // Bytes that are not what their checksum says, none of which may ever be seen.
            0 | 1 | 6 | 7 if to > from => {
                let truth = stretch(file, from, to);
                let lies: Vec<u8> = truth.iter().map(|byte| !byte).collect();
                let checksum = checksum(env, &truth);
                if env.choice.one_in(2) {
                    let mut request = patch(from).with("Upload-Checksum", checksum);
                    request.body = Body::Sized(lies.len() as u64, lies);
                    return Draft::of(request, Kind::Lie);
                }
                let mut request = patch(from).with("Trailer", "Upload-Checksum");
                request.body = Body::Chunked(chunks(env, &lies), Last::Later);
                let tail = format!("0\r\nUpload-Checksum: {checksum}\r\n\r\n").into_bytes();
                Draft { request, tail, kind: Kind::Lie }
            }
            // Another offset than the one it was told.
            2 if length > 0 => {
                let at = env.choice.below(length);
                let mut request = patch(at);
                let bytes = stretch(file, at, self.end_of_body(env, at));
                request.body = Body::Sized(bytes.len() as u64, bytes);
                Draft::of(request, Kind::Guess)
            }
            // Chunks that are none, behind some that are.
            3 => {
                let mut request = patch(from);
                request.body = Body::Chunked(chunks(env, &stretch(file, from, to)), Last::Later);
                Draft { request, tail: b"no chunk\r\n".to_vec(), kind: Kind::Lie }
            }
            // More bytes than the upload has.
            4 if !shelf.deferred => {
                let mut bytes = stretch(file, from, length);
                bytes.extend(vec![0xee; 1 + env.choice.index(500)]);
                let mut request = patch(from);
                request.body = Body::Chunked(chunks(env, &bytes), Last::Later);
                Draft { request, tail: b"0\r\n\r\n".to_vec(), kind: Kind::Lie }
            }
            _ => {
                let request = match env.choice.below(4) {
                    0 => patch(from).without("Content-Type"),
                    1 => Request::tus("PATCH", url).with("Upload-Offset", "-1").upload_type(),
                    2 => patch(from).without("Tus-Resumable"),
                    _ => Request::tus("PATCH", url).upload_type(),
                };
                Draft::of(request, Kind::Lie)
            }
        }
    }
}

fn look(url: &str) -> Draft {
    Draft::of(Request::tus("HEAD", url), Kind::Look)
}

fn concat(parts: &[String]) -> Draft {
    let header = format!("final;{}", parts.join(" "));
    Draft::of(Request::post().with("Upload-Concat", header), Kind::Concat)
}

/// Some clients end so.
fn empty(url: &str, at: u64) -> Draft {
    let request = Request::tus("PATCH", url).with("Upload-Offset", at).upload_type();
    Draft::of(request, Kind::Write { from: at, to: at })
}

fn terminate(url: &str) -> Draft {
    Draft::of(Request::tus("DELETE", url), Kind::Terminate)
}

fn chunks(env: &mut Env, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && chunks.len() < 8 {
        let (chunk, behind) = rest.split_at(env.choice.part(rest.len() as u64) as usize);
        chunks.push(chunk.to_vec());
        rest = behind;
    }
    if !rest.is_empty() {
        chunks.push(rest.to_vec());
    }
    chunks
}

fn checksum(env: &mut Env, bytes: &[u8]) -> String {
    let algorithm = env.choice.pick(Algorithm::ALL);
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    format!("{} {}", algorithm.name(), STANDARD.encode(hasher.finish().as_bytes()))
}
