//! What is answered at which path. docs/administration.md describes it.

use std::{io::Read, sync::Arc};

use serde::Serialize;
use tus_proto::{Connection, ErrorCode, Head, Response, Target, WallTime};

use super::{
    AdminError, Administration, UploadQuery,
    guard::{Denied, Guard},
    query::pairs,
};

const JSON: &str = "application/json";

/// What a server says of itself.
pub(crate) trait Status: Send + Sync {
    /// The answer at a path of metrics or health; `None` if the path is none of these.
    fn answer(&self, path: &str, head: &Head<'_>, date: WallTime) -> Option<Response>;
}

/// Who answers.
#[derive(Clone)]
pub(crate) struct Desk {
    pub administration: Arc<dyn Administration>,
    pub status: Arc<dyn Status>,
}

/// A response, and the bytes that it carries where those are an upload's.
pub(super) struct Answer {
    pub response: Response,
    pub content: Option<Box<dyn Read + Send>>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self { response, content: None }
    }
}

impl Desk {
    /// Answers a request that came to a listener with this guard.
    pub(super) fn answer(&self, guard: &Guard, head: &Head<'_>, date: WallTime) -> Answer {
        let target = Target::of(head.target);
        let path = target.path();
        if let Some(response) = self.status.answer(path, head, date) {
            return response.not_tus().into();
        }
        let mut answer = match guard.admit(head) {
            Ok(()) => {
                let query = head.target.split_once('?').map_or("", |(_, query)| query);
                self.administer(head.method, path, query, date)
            }
            Err(Denied::Token) => {
                let mut response = refusal(401, "show the token: Authorization: Bearer TOKEN", date);
                response.push("WWW-Authenticate", "Bearer");
                response.into()
            }
            Err(Denied::Host) => {
                refusal(403, "without a token this machine's addresses are the only host names", date).into()
            }
        };
        answer.response = answer.response.not_tus();
        if answer.response.status() >= 400 {
            answer.response.connection = Connection::Drain;
        }
        answer
    }

    fn administer(&self, method: &str, path: &str, query: &str, date: WallTime) -> Answer {
        let reads = matches!(method, "GET" | "HEAD");
        let this = &self.administration;
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let asked = match parts[..] {
            ["uploads"] if reads => UploadQuery::parse(query)
                .and_then(|query| this.uploads(&query))
                .and_then(|page| document(&page, date)),
            ["uploads", id] if reads => this.upload(id).and_then(|upload| document(&upload, date)),
            ["uploads", id] if method == "DELETE" => {
                this.delete(id).and_then(|deleted| document(&deleted, date))
            }
            ["uploads", id, "content"] if reads => this.content(id).map(|content| {
                let mut response = Response::new(200, date);
                response.push("Content-Type", "application/octet-stream");
                response.set_upload(0, content.length);
                Answer { response, content: Some(content.bytes) }
            }),
            ["stats"] if reads => this.stats().and_then(|stats| document(&stats, date)),
            ["verify"] if reads => {
                let after = pairs(query).find(|(name, _)| name == "after").map(|(_, value)| value);
                this.check(after.as_deref()).and_then(|page| document(&page, date))
            }
            ["uploads"] | ["uploads", _, "content"] | ["stats"] | ["verify"] => {
                return allow("GET, HEAD", date);
            }
            ["uploads", _] => return allow("GET, HEAD, DELETE", date),
            _ => Err(AdminError::Unknown(format!("there is nothing at {path:?}"))),
        };
        asked.unwrap_or_else(|error| refusal(error.status(), &error.to_string(), date).into())
    }
}

fn document(document: &impl Serialize, date: WallTime) -> Result<Answer, AdminError> {
    let text = serde_json::to_string(document).map_err(|error| AdminError::Failed(error.to_string()))?;
    let mut response = Response::new(200, date);
    response.set_body(JSON, text + "\n");
    Ok(response.into())
}

fn allow(methods: &'static str, date: WallTime) -> Answer {
    let mut response = refusal(405, &format!("this path takes {methods}"), date);
    response.push("Allow", methods);
    response.into()
}

/// An answer that says what is wrong.
fn refusal(status: u16, text: &str, date: WallTime) -> Response {
    let mut response = Response::new(status, date);
    response.set_body(JSON, serde_json::json!({ "error": text }).to_string() + "\n");
    response
}

/// The answer to a head that can't be read.
pub(super) fn broken(code: ErrorCode, date: WallTime) -> Response {
    let mut response = refusal(code.status(), code.text(), date).not_tus();
    response.connection = Connection::Close;
    response
}
