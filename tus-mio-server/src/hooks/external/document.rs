//! What a hook is sent: one JSON document, its members named and filled as tusd's are.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::{Map, Value, json};
use tus_driver::hooks::{HookEvent, Metadata};
use tus_proto::{Concat, HookCall, Record, RequestInfo, Target, UploadId};

use super::HookType;

/// A document, and what of it commands are shown in their environment.
pub(super) struct Document {
    pub json: Value,
    pub id: String,
    pub size: u64,
    pub offset: u64,
}

/// An upload as a document shows it.
struct Upload<'a> {
    id: &'a str,
    record: &'a Record,
    parts: Option<Vec<String>>,
    files: &'a [(PathBuf, u64)],
}

impl Document {
    /// That of an exchange's call; `files` hold the upload, where it is to be shown with them.
    pub(super) fn of_call(kind: HookType, call: &HookCall, files: &[(PathBuf, u64)]) -> Self {
        let request = Some(&**call.request());
        match call {
            HookCall::Create { upload, parts, .. } => {
                // It has no id yet: the hook may choose it.
                let length = parts
                    .iter()
                    .map(|part| part.length)
                    .try_fold(0, |sum: u64, length| length.and_then(|length| sum.checked_add(length)));
                let upload = &match upload.is_final() {
                    true => Record { length, ..upload.clone() },
                    false => upload.clone(),
                };
                let parts = parts.iter().map(|part| part.id.to_string()).collect();
                let parts = upload.is_final().then_some(parts);
                Self::new(kind, Upload { id: "", record: upload, parts, files: &[] }, request)
            }
            HookCall::Finish { upload, .. }
            | HookCall::Progress { upload, .. }
            | HookCall::Terminate { upload, .. } => {
                Self::new(kind, Upload { files, ..Upload::of(upload) }, request)
            }
            HookCall::Incoming { id, upload, parts, .. } => {
                let mut document = match upload {
                    Some(upload) => Self::new(kind, Upload::of(upload), request),
                    None => Self::of_none(kind, id.as_ref(), request),
                };
                let part = |part: &tus_proto::Part| match &part.upload {
                    Some(upload) => Upload::of(upload).json(),
                    None => json!({ "ID": part.id.as_str() }),
                };
                if let Some(event) = document.json.get_mut("Event").and_then(Value::as_object_mut) {
                    event.insert("Parts".into(), parts.iter().map(part).collect());
                }
                document
            }
            HookCall::Chunk { id, .. } => Self::of_none(kind, Some(id), request),
        }
    }

    /// That of an event after the fact.
    pub(super) fn of_event(kind: HookType, event: &HookEvent) -> Self {
        let upload = Upload { files: &event.files, ..Upload::of(&event.record) };
        Self::new(kind, upload, event.request.as_deref())
    }

    fn new(kind: HookType, upload: Upload<'_>, request: Option<&RequestInfo>) -> Self {
        let (id, size, offset) =
            (upload.id.to_owned(), upload.record.length.unwrap_or(0), upload.record.offset);
        Self { json: json(kind, upload.json(), request), id, size, offset }
    }

    /// That of a request whose upload is not there, or not yet.
    fn of_none(kind: HookType, id: Option<&UploadId>, request: Option<&RequestInfo>) -> Self {
        let id = id.map(UploadId::as_str).unwrap_or_default().to_owned();
        let upload = json!({
            "ID": id, "Size": 0, "SizeIsDeferred": false, "Offset": 0, "MetaData": {}, "IsPartial": false,
            "IsFinal": false, "PartialUploads": null, "Storage": null,
        });
        Self { json: json(kind, upload, request), id, size: 0, offset: 0 }
    }
}

fn json(kind: HookType, upload: Value, request: Option<&RequestInfo>) -> Value {
    json!({
        "Type": kind.name(),
        "Event": { "Upload": upload, "HTTPRequest": shown(kind, request) },
    })
}

impl<'a> Upload<'a> {
    fn of(record: &'a Record) -> Self {
        let parts = match &record.concat {
            Some(Concat::Final(header)) => Some(parts(header)),
            Some(Concat::Partial) | None => None,
        };
        Self { id: record.id.as_str(), record, parts, files: &[] }
    }

    fn json(&self) -> Value {
        let record = self.record;
        let metadata = Metadata::parse(&record.metadata);
        let metadata = metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), Value::from(String::from_utf8_lossy(value))))
            .collect::<Map<_, _>>();
        json!({
            "ID": self.id,
            "Size": record.length.unwrap_or(0),
            "SizeIsDeferred": record.length.is_none() && !record.is_final(),
            "Offset": record.offset,
            "MetaData": metadata,
            "IsPartial": record.is_partial(),
            "IsFinal": record.is_final(),
            "PartialUploads": self.parts,
            "Storage": self.storage(),
        })
    }

    /// The file that holds the upload, if it is one.
    fn storage(&self) -> Value {
        match self.files {
            [(path, _)] => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                json!({ "Type": "filestore", "Path": path.to_string_lossy() })
            }
            _ => Value::Null,
        }
    }
}

/// The ids of a final's parts, as its header names them by URLs.
fn parts(header: &str) -> Vec<String> {
    let urls = header.split_once(';').map_or("", |(_, urls)| urls).split_ascii_whitespace();
    let id = |url: &str| {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default().to_owned()
    };
    urls.map(id).collect()
}

/// The client's request. Empty if it is not known any more.
fn shown(kind: HookType, request: Option<&RequestInfo>) -> Value {
    let Some(request) = request else {
        return json!({ "Method": "", "URI": "", "RemoteAddr": "", "Header": {} });
    };
    let target = Target::of(&request.target);
    let uri = if request.target.starts_with('/') { &request.target } else { target.path() };
    let mut fields = Map::new();
    for (name, value) in &request.fields {
        let name = canonical(name);
        // What Go's server takes out of the header.
        if name == "Transfer-Encoding" || name == "Trailer" {
            continue;
        }
        let value = Value::from(String::from_utf8_lossy(value));
        match fields.get_mut(&name).and_then(Value::as_array_mut) {
            Some(values) => values.push(value),
            None => drop(fields.insert(name, Value::Array(vec![value]))),
        }
    }
    // tusd tells the method as it was sent; a hook that authorises requests wants to know what it will do.
    let method = if kind == HookType::PreRequest { &request.method } else { &request.sent_method };
    // As Go calls the other end of a UNIX socket.
    let remote = request.remote.map_or_else(|| "@".to_owned(), |remote| remote.to_string());
    json!({ "Method": method, "URI": uri, "RemoteAddr": remote, "Header": fields })
}

/// A field's name as Go spells it: `Upload-Length`.
pub(super) fn canonical(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    let mut begins = true;
    for letter in name.chars() {
        let _ = match begins {
            true => write!(spelled, "{}", letter.to_ascii_uppercase()),
            false => write!(spelled, "{}", letter.to_ascii_lowercase()),
        };
        begins = letter == '-';
    }
    spelled
}
