//! What a client makes of an answer, and which answers it can't have been given by a server that keeps to the
//! protocol.

use super::{Asked, Client, Kind, Shelf, ietf};
use tus_redb::Durability;

use crate::{message::Answer, rules, sim::env::Env};

impl Client {
    pub(super) fn hear(&mut self, env: &mut Env, shelf: &mut Shelf, asked: &Asked, answer: &Answer) {
        let status = answer.status;
        let code = rules::code(answer).unwrap_or_default();
        env.note(|| format!("client {} hears {status} {code} to {:?}", self.index, asked.kind));
        self.wake = env.now.monotonic;
        self.check(env, asked, status, code);
        asked.check_fetched(env, answer, true);
        self.check_digest(env, answer);
        let told = answer.value("Upload-Offset").map(|offset| offset.parse().expect("an offset"));
        match (asked.kind, status) {
            (Kind::Create(sent), 200 | 201) => {
                assert!(!asked.whole || told == Some(sent), "{told:?} of {sent} bytes stored, says a 201");
                self.adopt(shelf, asked, answer);
                self.offset = told;
            }
            (Kind::Create(_), _) => {
                self.offset = None;
                if answer.value("Location").is_some() {
                    self.adopt(shelf, asked, answer);
                }
                self.pause(env);
            }
            (Kind::Look, 200 | 204) => {
                self.offset = told;
                self.undeclared =
                    answer.value("Upload-Defer-Length").is_some() || ietf::is_incomplete(answer);
                if told.is_none() {
                    self.pause(env);
                    // A power cut may have taken back what the parts' clients believe to be done.
                    self.done = env.over && env.plan.store.durability == Durability::Eventual;
                }
            }
            (Kind::Concat, 201) => self.adopt(shelf, asked, answer),
            (Kind::Concat, _) => {
                // A power cut has taken them back, or a hook has stopped them.
                let lost = env.plan.store.durability == Durability::Eventual || env.plan.hooks.chunk;
                assert!(status != 400 || lost, "parts that were told of are not there: {code}");
                shelf.parts.clear();
                self.done = status == 400 && env.over;
                self.pause(env);
            }
            (Kind::Write { to, .. }, 200 | 201 | 204) => {
                assert_eq!(told, Some(to), "another offset than was sent");
                self.offset = told;
            }
            (Kind::Terminate, 204) => {
                shelf.removed = true;
                self.rest(env);
            }
            (Kind::Fetch(_), 200 | 206 | 304 | 416) => {
                env.report.downloads += u64::from(matches!(status, 200 | 206));
                shelf.learn_tag(asked, answer);
            }
            (Kind::Fetch(_), 404) if code == "ERR_UPLOAD_NOT_FINISHED" => self.pause(env),
            (_, 404 | 410) => {
                self.offset = None;
                if shelf.url == asked.url {
                    shelf.url = None;
                }
                self.rest(env);
            }
            (_, 409) => self.offset = told,
            // What was too much of a lie says nothing of how much may be sent.
            (Kind::Write { .. } | Kind::Guess, 413) => {
                self.most = (self.most.min(self.length_of(env)) / 2).max(1);
                self.offset = None;
            }
            _ => {
                self.offset = None;
                self.pause(env);
            }
        }
        let whole = self.offset == Some(self.length_of(env)) && !self.undeclared;
        if whole && matches!(asked.kind, Kind::Look) {
            shelf.finished = true;
            self.done = !self.role.terminates;
            if self.done && self.role.makes.is_some() && self.more_finals > 0 && !env.over {
                self.more_finals -= 1;
                (self.done, self.offset) = (false, None);
                shelf.url = None;
                return;
            }
            let alone = !self.role.partial && self.role.makes.is_none();
            if self.done && alone && !env.over && env.choice.percent(80) {
                // Once more, as long as things go wrong.
                (self.done, self.offset) = (false, None);
                shelf.url.take_if(|url| asked.url.as_ref() == Some(url));
            }
        }
    }

    /// An answer before the final one: where the upload is, whatever becomes of the request.
    pub(super) fn hear_interim(&mut self, shelf: &mut Shelf, answer: &Answer) {
        let Some(asked) = self.asked.take() else { return };
        assert!(
            asked.request.has("Upload-Draft-Interop-Version"),
            "{:?} named no version, and gets a 104",
            asked.request
        );
        if answer.value("Location").is_some() {
            assert!(
                matches!(asked.kind, Kind::Create(_)),
                "a 104 tells the Location of what was not created"
            );
            self.adopt(shelf, &asked, answer);
        }
        self.asked = Some(asked);
    }

    fn length_of(&self, env: &Env) -> u64 {
        env.plan.files[self.role.file]
    }

    /// The upload it has created is the one that all clients of the file go on with, unless there is one.
    fn adopt(&mut self, shelf: &mut Shelf, asked: &Asked, answer: &Answer) {
        if shelf.url.is_none() {
            shelf.url = answer.value("Location").map(str::to_owned);
            shelf.deferred = match asked.is_ietf() {
                true => !asked.request.has("Upload-Length"),
                false => asked.request.has("Upload-Defer-Length"),
            };
        }
    }

    /// Whether this answer may come at all.
    fn check(&self, env: &Env, asked: &Asked, status: u16, code: &str) {
        let honest = matches!(asked.kind, Kind::Create(_) | Kind::Write { .. });
        assert!(!(honest && status == 460), "a checksum that is right was refused");
        assert!(asked.kind != Kind::Lie || status >= 400, "a lie was believed: {:?}", asked.request);
        let excused = match status {
            200 | 201 | 204 => true,
            // An append in the IETF's protocol to what somebody else has completed.
            400 if code == "ERR_UPLOAD_COMPLETED" => {
                asked.is_ietf() && !matches!(asked.kind, Kind::Create(_))
            }
            400 => matches!(code, "ERR_UPLOAD_INTERRUPTED") || !asked.whole,
            // A creation may take so long that the upload has expired by then, or somebody who was told of it by an interim
            // answer has removed it.
            404 | 410 => {
                !matches!(asked.kind, Kind::Create(_)) || env.plan.expiry.is_some() || asked.is_ietf()
            }
            403 => !matches!(asked.kind, Kind::Create(_)) || env.plan.hooked(),
            409 => !matches!(asked.kind, Kind::Create(_)),
            423 => true,
            408 => true,
            413 => env.plan.max_chunk.is_some(),
            500 | 503 | 507 => true,
            _ => false,
        };
        assert!(!honest || excused, "{status} {code} to {:?}", asked.request);
        let calm = env.plan.faults.is_calm() && !env.plan.hooked() && !env.hung;
        if calm && self.is_alone(env) && honest && env.plan.expiry.is_none() {
            let slow = matches!(code, "ERR_READ_TIMEOUT" | "ERR_HEAD_TIMEOUT");
            assert!(status < 300 || status == 413 || slow, "{status} {code}, and nothing went wrong");
        }
    }

    fn is_alone(&self, env: &Env) -> bool {
        !self.role.lies && env.plan.clients.iter().filter(|role| role.file == self.role.file).count() == 1
    }
}
