//! What a hook answers: one JSON document, every member optional, members in any case of letters, as Go's decoder
//! takes it.

use std::time::Duration;

use serde_json::{Map, Value};
use tus_driver::hooks::Metadata;
use tus_proto::{Amendment, HookReply, Rejection, UploadId};

use super::HookType;

/// An answer, as far as it is understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    response: HttpResponse,
    reject_upload: bool,
    reject_termination: bool,
    stop_upload: bool,
    id: Option<UploadId>,
    metadata: Option<Metadata>,
    max_age: Option<Duration>,
}

/// The answer that the client is to get.
#[derive(Debug, Default, PartialEq, Eq)]
struct HttpResponse {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// Understands an answer. Nothing at all says nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = serde_json::from_slice(text).map_err(|error| {
            format!("its answer is no JSON ({error}): {:?}", String::from_utf8_lossy(text))
        })?;
        let mut answer = Self::default();
        for (name, value) in members("the answer", value)? {
            match name.to_ascii_lowercase().as_str() {
                "httpresponse" => answer.response = HttpResponse::of(value)?,
                "rejectupload" => answer.reject_upload = boolean("RejectUpload", &value)?,
                "rejecttermination" => answer.reject_termination = boolean("RejectTermination", &value)?,
                "stopupload" => answer.stop_upload = boolean("StopUpload", &value)?,
                "changefileinfo" => answer.change(value)?,
                _ => {}
            }
        }
        Ok(answer)
    }

    fn change(&mut self, value: Value) -> Result<(), String> {
        for (name, value) in members("ChangeFileInfo", value)? {
            match name.to_ascii_lowercase().as_str() {
                "id" => self.id = id(&string("ChangeFileInfo.ID", value)?)?,
                "metadata" => self.metadata = metadata(value)?,
                "storage" => warn_of_storage(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What it decides where an exchange waits for it.
    ///
    /// # Errors
    /// What it says that can't be done.
    pub(super) fn reply(self, kind: HookType) -> Result<HookReply, String> {
        let Self { response, reject_upload, reject_termination, stop_upload, id, metadata, .. } = self;
        let rejects = match kind {
            HookType::PreCreate => reject_upload,
            HookType::PreTerminate => reject_termination,
            HookType::PreRequest => reject_upload || response.rejects(),
            HookType::PostReceive => stop_upload,
            _ => false,
        };
        if rejects {
            let status = if kind == HookType::PreRequest { 403 } else { 400 };
            return Ok(HookReply::Reject(response.rejection(status)));
        }
        Ok(match kind {
            HookType::PreCreate => {
                let metadata = metadata.map(|metadata| metadata.to_string());
                HookReply::Change { metadata, id, response: response.amendment() }
            }
            HookType::PreTerminate | HookType::PreFinish => {
                HookReply::Change { metadata: None, id: None, response: response.amendment() }
            }
            _ => HookReply::Proceed,
        })
    }

    /// How long a decision may be used again for requests that are the same.
    pub(super) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    #[cfg(any(test, feature = "hooks-http"))]
    /// The same answer, as it came with this `Cache-Control`.
    pub(super) fn cached(mut self, cache_control: Option<&str>) -> Self {
        self.max_age = cache_control.and_then(max_age);
        self
    }
}

#[cfg(any(test, feature = "hooks-http"))]
/// The seconds of `max-age`, unless another directive forbids to use the answer again.
fn max_age(cache_control: &str) -> Option<Duration> {
    let mut seconds = None;
    for directive in cache_control.split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
        match directive.split_once('=') {
            Some(("max-age", value)) => seconds = value.trim_matches('"').parse().ok(),
            None if directive == "no-store" || directive == "no-cache" => return None,
            _ => {}
        }
    }
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

impl HttpResponse {
    fn of(value: Value) -> Result<Self, String> {
        let mut response = Self::default();
        for (name, value) in members("HTTPResponse", value)? {
            match name.to_ascii_lowercase().as_str() {
                "statuscode" => response.status = status(&value)?,
                "body" => response.body = string("HTTPResponse.Body", value)?,
                "header" => {
                    for (name, value) in members("HTTPResponse.Header", value)? {
                        let value = string("a member of HTTPResponse.Header", value)?;
                        response.headers.push((name, value));
                    }
                }
                _ => {}
            }
        }
        Ok(response)
    }

    fn rejects(&self) -> bool {
        self.status.is_some_and(|status| (400..600).contains(&status))
    }

    fn rejection(self, default: u16) -> Rejection {
        Rejection { status: self.status.unwrap_or(default), headers: self.headers, body: self.body }
    }

    /// `None` if it says nothing.
    fn amendment(self) -> Option<Box<Amendment>> {
        let Self { status, headers, body } = self;
        let says_nothing = status.is_none() && headers.is_empty() && body.is_empty();
        (!says_nothing).then(|| Box::new(Amendment { status, headers, body }))
    }
}

/// The members of an object; none of `null`.
fn members(what: &str, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(members) => Ok(members),
        other => Err(format!("{what} must be an object, and is {other}")),
    }
}

fn boolean(what: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        other => Err(format!("{what} must be true or false, and is {other}")),
    }
}

fn string(what: &str, value: Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        other => Err(format!("{what} must be a string, and is {other}")),
    }
}

/// 0 is none.
fn status(value: &Value) -> Result<Option<u16>, String> {
    match value {
        Value::Null => Ok(None),
        value => match value.as_u64() {
            Some(0) => Ok(None),
            Some(status @ 200..=599) => Ok(u16::try_from(status).ok()),
            _ => Err(format!("HTTPResponse.StatusCode must be from 200 to 599, and is {value}")),
        },
    }
}

fn id(text: &str) -> Result<Option<UploadId>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let id = UploadId::new(text).ok_or_else(|| {
        format!("ChangeFileInfo.ID is {text:?}: use 1 to 128 of the characters A-Z, a-z, 0-9, - and _")
    });
    id.map(Some)
}

/// `null` keeps it; anything else replaces all of it.
fn metadata(value: Value) -> Result<Option<Metadata>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let mut metadata = Metadata::new();
    for (key, value) in members("ChangeFileInfo.MetaData", value)? {
        let value = string("a member of ChangeFileInfo.MetaData", value)?;
        metadata.set(&key, value).map_err(|error| error.to_string())?;
    }
    Ok(Some(metadata))
}

/// The store names its files by itself. A handler that would choose a name works all the same, as far as it looks for the
/// file at the path that it is told later.
fn warn_of_storage(value: Value) -> Result<(), String> {
    let mut storage = members("ChangeFileInfo.Storage", value)?.into_iter();
    if let Some((name, value)) = storage.find(|(_, value)| !value.is_null() && value != "") {
        tracing::warn!(
            "a hook chooses a file by ChangeFileInfo.Storage.{name} = {value}: this server ignores it"
        );
    }
    Ok(())
}
