//! Requests in the IETF's protocol. A client speaks it now and then, also about uploads that it or others have begun by
//! tus: what it asks for is then said in its words.

use base64::{Engine, engine::general_purpose::STANDARD};
use tus_proto::{Algorithm, Hasher};

use super::{Client, Kind, ask::Draft};
use crate::{
    message::{Answer, Request},
    sim::{content::stretch, env::Env},
};

/// What only tus has in a request.
const OF_TUS: [&str; 4] = ["Tus-Resumable", "Content-Type", "Upload-Defer-Length", "Upload-Checksum"];

impl Client {
    /// Says the same in this protocol, if the client feels like it and it can be said.
    pub(super) fn translate(&self, env: &mut Env, draft: Draft) -> Draft {
        let often = env.plan.ietf;
        if often == 0 || !env.dialect.percent(often) {
            return draft;
        }
        // Parts, finals and checksums that follow the body are tus's alone.
        let of_tus = |request: &Request| request.has("Upload-Concat") || request.has("Trailer");
        let draft = match draft.kind {
            Kind::Create(_) | Kind::Write { .. } if of_tus(&draft.request) => draft,
            Kind::Create(to) => self.say(env, draft, 0, to, false),
            Kind::Write { from, to } => self.say(env, draft, from, to, true),
            Kind::Look | Kind::Terminate => {
                let request = draft.request.without("Tus-Resumable");
                let version = env.dialect.pick(&[3, 4, 5, 6, 7, 8, 9]);
                Draft { request: request.with("Upload-Draft-Interop-Version", version), ..draft }
            }
            Kind::Fetch(_) | Kind::Concat | Kind::Lie | Kind::Guess => draft,
        };
        env.report.ietf += u64::from(!draft.request.has("Tus-Resumable"));
        draft
    }

    /// A creation or an append: these bytes of the file.
    fn say(&self, env: &mut Env, draft: Draft, from: u64, to: u64, appends: bool) -> Draft {
        let whole = self.length(env);
        let checksum = draft.request.has("Upload-Checksum");
        let mut request = OF_TUS.iter().fold(draft.request, |request, name| request.without(name));
        let choice = &mut env.dialect;
        let version: u8 = choice.pick(&[3, 4, 5, 6, 7, 8, 9]);
        // Who names no version gets no interim answers; the version is the newest then, or the third.
        if choice.percent(80) {
            request = request.with("Upload-Draft-Interop-Version", version);
        }
        let named = request.has("Upload-Draft-Interop-Version");
        // What brings nothing is there to complete.
        let completes = to == whole && (from == to || choice.percent(80));
        request = match (version, completes) {
            (3, true) => request.with("Upload-Incomplete", "?0"),
            (3, false) => request.with("Upload-Incomplete", "?1"),
            (_, true) => request.with("Upload-Complete", "?1"),
            (_, false) => request.with("Upload-Complete", "?0"),
        };
        if appends && (version > 5 || version > 3 && !named) {
            request = request.with("Content-Type", "application/partial-upload");
        }
        if checksum {
            request = request.with("Content-Digest", digest(self.role.file, from, to));
        }
        if completes && choice.percent(30) {
            request = request.with("Want-Repr-Digest", "sha-256=3");
        }
        if completes && choice.percent(30) {
            request = request.with("Repr-Digest", digest(self.role.file, 0, whole));
        }
        Draft { request, ..draft }
    }

    /// Holds what an answer in this protocol tells against the file.
    pub(super) fn check_digest(&self, env: &Env, answer: &Answer) {
        if let Some(told) = answer.value("Repr-Digest") {
            let right = digest(self.role.file, 0, self.length(env));
            // What a failing sync has lost may be read until a flush takes it back.
            let lost = env.plan.faults.syncs + env.plan.faults.io > 0;
            assert!(told == right || lost, "the digest of the whole upload is {told}, and must be {right}");
        }
    }
}

/// Whether an answer to HEAD says that more is to come.
pub(super) fn is_incomplete(answer: &Answer) -> bool {
    answer.value("Upload-Complete") == Some("?0") || answer.value("Upload-Incomplete") == Some("?1")
}

/// A field that tells the digest of these bytes of a file.
fn digest(file: usize, from: u64, to: u64) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&stretch(file, from, to));
    format!("sha-256=:{}:", STANDARD.encode(hasher.finish().as_bytes()))
}
