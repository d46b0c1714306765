//! Fetching what was uploaded.

use tus_proto::UploadId;

use super::{Asked, Client, Kind, Shelf, ask::Draft};
use crate::{
    client::broken_answer,
    message::{Answer, Request},
    sim::{env::Env, oracle::Wanted},
};

impl Client {
    /// Whether it fetches now: most likely when there is something.
    pub(super) fn fetches(&self, env: &mut Env) -> bool {
        env.plan.downloads && env.choice.one_in(if self.has_finished(env) { 2 } else { 12 })
    }

    /// Whether it is about to be given something.
    pub(in crate::sim) fn is_fetching(&self, env: &Env) -> bool {
        self.asked.as_ref().is_some_and(|asked| matches!(asked.kind, Kind::Fetch(_)))
            && self.has_finished(env)
    }

    /// Whether it removes an upload, maybe before it is complete: most likely while another fetches it.
    pub(super) fn terminates(&self, env: &mut Env, shelf: &Shelf) -> bool {
        self.role.terminates && env.choice.one_in(if shelf.fetched { 2 } else { 12 })
    }

    fn has_finished(&self, env: &Env) -> bool {
        self.role.makes.is_some() || self.offset.is_some_and(|at| at >= self.length(env))
    }

    pub(super) fn fetch(&self, env: &mut Env, shelf: &Shelf, url: &str) -> Draft {
        let most = self.length(env) + 3;
        let from = env.choice.below(most);
        let tag = shelf.tag.as_ref().filter(|(of, _)| of == url).map(|(_, tag)| tag.as_str());
        let get = Request::bare("GET", url);
        let (wanted, request) = match env.choice.below(6) {
            0 => {
                let last = from + env.choice.below(most);
                (Wanted::Part(from, last), get.with("Range", format!("bytes={from}-{last}")))
            }
            1 => {
                let request = get.with("Range", format!("bytes={from}-"));
                let same = tag.filter(|_| env.choice.one_in(2));
                let request = if let Some(tag) = same { request.with("If-Range", tag) } else { request };
                (Wanted::From(from), request)
            }
            2 => (Wanted::Last(from), get.with("Range", format!("bytes=-{from}"))),
            3 => {
                let request = get.with("Range", format!("bytes={from}-")).with("If-Range", "\"another\"");
                (Wanted::OtherFrom(from), request)
            }
            4 => (Wanted::News, get.with("If-None-Match", tag.unwrap_or("*"))),
            _ => (Wanted::Whole, get),
        };
        Draft::of(request, Kind::Fetch(wanted))
    }

    /// The connection is at its end in the middle of an answer: also what came of that must be right.
    pub(super) fn check_broken(&self, env: &Env) {
        if let Some((asked, answer)) = self.asked.as_ref().zip(broken_answer(&self.received)) {
            asked.check_fetched(env, &answer, false);
        }
    }
}

impl Shelf {
    pub(super) fn learn_tag(&mut self, asked: &Asked, answer: &Answer) {
        if let Some((url, tag)) = asked.url.as_ref().zip(answer.value("ETag")) {
            self.tag = Some((url.clone(), tag.to_owned()));
        }
    }
}

impl Asked {
    /// Holds the answer to a GET against what was uploaded.
    pub(super) fn check_fetched(&self, env: &Env, answer: &Answer, whole: bool) {
        let Kind::Fetch(wanted) = self.kind else { return };
        let id = self.url.as_ref().and_then(|url| UploadId::new(url.rsplit('/').next()?));
        let id = id.expect("the address of an upload ends with its id");
        env.oracle.check_download(&id, wanted, answer, whole);
    }
}
