//! A directory of tusd's file store: `ID` has an upload's bytes, `ID.info` a JSON document about it, `ID.lock` the
//! process that holds its lock.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use tus_proto::{Concat, Record, UploadId, WallTime};
use tus_redb::Adoption;

use crate::cli::{Failure, table::shown};

/// A larger `.info` is none of tusd's; it would be read into memory as a whole.
pub(super) const MAX_INFO: u64 = 4 << 20;

/// How deep directories are looked into: ids may have slashes.
const MAX_DEPTH: usize = 32;

/// What holds for all uploads.
pub(crate) struct Rules {
    /// Path of the uploads in URLs, without a slash at its end.
    pub(crate) base_path: String,
    /// How long unfinished uploads live.
    pub(crate) expiry: Option<Duration>,
    /// What relative paths are relative to.
    pub(crate) started_in: Option<PathBuf>,
}

/// What tusd has left.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The ids of all uploads, in order.
    pub(crate) ids: Vec<String>,
}

/// An upload that can be taken over.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) record: Record,
    /// The file with its bytes.
    pub(crate) data: PathBuf,
    /// What the user should know.
    pub(crate) note: Option<String>,
}

impl Upload {
    pub(crate) fn adoption(&self) -> Adoption {
        Adoption { record: self.record.clone(), data: self.data.clone() }
    }
}

impl Directory {
    /// Looks through a directory, and checks that no tusd works in it.
    ///
    /// # Errors
    /// [`Failure::Environment`] if it can't be read, or a lock's process lives; [`Failure::Usage`] if it is the data
    /// directory itself.
    pub(crate) fn open(path: &Path, data_dir: &Path) -> Result<Self, Failure> {
        let unread = |error: io::Error| {
            Failure::Environment(format!(
                "the directory {} can't be read: {error}: name the one that tusd has as -upload-dir",
                path.display()
            ))
        };
        let path = fs::canonicalize(path).map_err(unread)?;
        if fs::canonicalize(data_dir).is_ok_and(|data_dir| data_dir == path) {
            return Err(Failure::Usage(format!(
                "--data-dir is tusd's directory {} itself: name another one, on the same file system if it can be",
                path.display()
            )));
        }
        let mut directory = Self { path, ids: Vec::new() };
        directory.scan("", 0).map_err(unread)??;
        directory.ids.sort_unstable();
        Ok(directory)
    }

    fn scan(&mut self, prefix: &str, depth: usize) -> io::Result<Result<(), Failure>> {
        for entry in fs::read_dir(self.path.join(prefix))? {
            let entry = entry?;
            // What tusd makes has the names of URLs.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                // Our own directory may be in there, which has no `.info`.
                if depth < MAX_DEPTH
                    && let Err(failure) = self.scan(&format!("{name}/"), depth + 1)?
                {
                    return Ok(Err(failure));
                }
            } else if let Some(id) = name.strip_suffix(".info") {
                self.ids.push(id.to_owned());
            } else if name.ends_with(".lock")
                && let Some(process) = owner(&entry.path())
            {
                return Ok(Err(Failure::Environment(format!(
                    "tusd is running: process {process} holds {}: end it, and import again",
                    entry.path().display()
                ))));
            }
        }
        Ok(Ok(()))
    }

    /// What is known of an upload; or why it can't be taken over.
    pub(crate) fn read(&self, id: &str, rules: &Rules) -> Result<Upload, String> {
        let info = Info::read(&self.path.join(format!("{id}.info")))?;
        let valid = valid_id(id)?;
        let (data, found) = self.data(id, info.path.as_deref(), rules)?;
        if !found.is_file() {
            return Err(format!("its data {} is not a file", data.display()));
        }
        let (offset, length) = (found.len(), info.length);
        if let Some(length) = length.filter(|length| offset > *length) {
            return Err(format!(
                "its data file has {offset} bytes, more than its size of {length}: find out which are its own"
            ));
        }
        if info.is_final && length != Some(offset) {
            return Err(
                "it is a concatenation that failed: its data file has not all bytes of its parts".into()
            );
        }
        let concat = info.concat(&rules.base_path);
        let written = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let created = WallTime::default().after(written.unwrap_or_default());
        let expires = length != Some(offset) || info.is_partial;
        let expires = rules.expiry.filter(|_| expires).map(|expiry| created.after(expiry));
        let (metadata, note) = info.header();
        let record = Record { id: valid, created, offset, length, metadata, expires, concat, explicit: None };
        Ok(Upload { record, data, note })
    }

    /// The file with an upload's bytes: where its document says, if it is there, else where tusd keeps it by default.
    fn data(&self, id: &str, named: Option<&str>, rules: &Rules) -> Result<(PathBuf, fs::Metadata), String> {
        let named = named.filter(|named| !named.is_empty()).map(Path::new);
        let absolute = named.filter(|path| path.is_absolute()).map(Path::to_owned);
        let relative = named.filter(|path| path.is_relative()).into_iter().flat_map(|path| {
            let chosen = rules.started_in.iter().map(|dir| dir.join(path));
            let here = rules.started_in.is_none().then(|| path.to_owned());
            let above =
                self.path.ancestors().map(|dir| dir.join(path)).filter(|_| rules.started_in.is_none());
            chosen.chain(here).chain(above).collect::<Vec<_>>()
        });
        let usual = self.path.join(id);
        let candidates = absolute.into_iter().chain(relative).chain([usual.clone()]);
        let mut found = candidates.filter_map(|path| fs::metadata(&path).ok().map(|meta| (path, meta)));
        found.next().ok_or_else(|| format!("its data file {} is missing", usual.display()))
    }
}

/// An id that can stay what it is.
pub(super) fn valid_id(id: &str) -> Result<UploadId, String> {
    UploadId::new(id).ok_or_else(|| {
        format!(
            "its id {} can't stay: ids here are of letters, digits, - and _, and at most 128 of them",
            shown(id.as_bytes())
        )
    })
}

/// The process that holds a lock, if it lives. A lock without a number is one that a crash left.
fn owner(lock: &Path) -> Option<i32> {
    let process: i32 = fs::read_to_string(lock).ok()?.trim().parse().ok()?;
    let pid = Pid::from_raw(process).filter(|_| process > 0)?;
    let lives = match test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    };
    lives.then_some(process)
}

/// What an `.info` says.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// `None` where it is deferred.
    pub(super) length: Option<u64>,
    metadata: BTreeMap<String, String>,
    pub(super) is_partial: bool,
    pub(super) is_final: bool,
    parts: Vec<String>,
    path: Option<String>,
    /// What URLs call it.
    #[cfg_attr(not(feature = "object-store"), allow(dead_code))]
    pub(super) id: String,
    /// The bucket that it is in, and its key there.
    #[cfg_attr(not(feature = "object-store"), allow(dead_code))]
    pub(super) place: (Option<String>, Option<String>),
}

impl Info {
    /// What it is in a concatenation.
    pub(super) fn concat(&self, base_path: &str) -> Option<Concat> {
        match (self.is_partial, self.is_final) {
            (_, true) => Some(Concat::Final(final_header(&self.parts, base_path))),
            (true, false) => Some(Concat::Partial),
            (false, false) => None,
        }
    }

    /// Its metadata as a header has it, and what the user should know of that.
    pub(super) fn header(&self) -> (String, Option<String>) {
        let (metadata, left_out) = encode(&self.metadata);
        let note = (!left_out.is_empty())
            .then(|| format!("left out of its metadata, as no header can say them: {}", left_out.join(", ")));
        (metadata, note)
    }

    /// Reads what an `.info` has.
    pub(super) fn of(text: &[u8]) -> Result<Self, String> {
        if text.is_empty() {
            return Err("its .info is empty, as a crash leaves it: nothing is known of it".into());
        }
        let document =
            serde_json::from_slice(text).map_err(|error| format!("its .info is not JSON: {error}"))?;
        Self::parse(&document).map_err(|member| format!("its .info has no {member} that makes sense"))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let unread = |error: io::Error| format!("its document {} can't be read: {error}", path.display());
        let length = fs::metadata(path).map_err(unread)?.len();
        if length > MAX_INFO {
            return Err(format!("its .info has {length} bytes, more than {MAX_INFO}"));
        }
        Self::of(&fs::read(path).map_err(unread)?)
    }

    /// What a document says; or the member that is missing or wrong.
    fn parse(document: &Value) -> Result<Self, &'static str> {
        let flag = |name: &'static str| match document.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or(name),
        };
        let size = document.get("Size").and_then(Value::as_u64);
        let size = size.filter(|size| i64::try_from(*size).is_ok());
        let metadata = match document.get("MetaData") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(Value::Object(pairs)) => {
                let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
                pairs.iter().map(text).collect::<Option<_>>().ok_or("MetaData")?
            }
            Some(_) => return Err("MetaData"),
        };
        let parts = match document.get("PartialUploads") {
            None | Some(Value::Null) => Vec::new(),
            Some(parts) => {
                let ids = parts.as_array().ok_or("PartialUploads")?.iter();
                let ids = ids.map(|id| id.as_str().map(str::to_owned));
                ids.collect::<Option<_>>().ok_or("PartialUploads")?
            }
        };
        let length = if flag("SizeIsDeferred")? { None } else { Some(size.ok_or("Size")?) };
        let text = |at: &str| document.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let path = text("/Storage/Path");
        let (id, place) = (text("/ID").unwrap_or_default(), (text("/Storage/Bucket"), text("/Storage/Key")));
        let (is_partial, is_final) = (flag("IsPartial")?, flag("IsFinal")?);
        Ok(Self { length, metadata, is_partial, is_final, parts, path, id, place })
    }
}

/// `Upload-Concat` of a final. tusd keeps its parts' ids alone.
fn final_header(parts: &[String], base_path: &str) -> String {
    let urls: Vec<_> = parts.iter().map(|id| format!("{base_path}/{id}")).collect();
    format!("final;{}", urls.join(" "))
}

/// Metadata as `Upload-Metadata` says it; and the keys that it can't.
fn encode(metadata: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    for (key, value) in metadata {
        let fits = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic() && b != b',');
        match (fits, value.is_empty()) {
            (false, _) => left_out.push(format!("{:?}", shown(key.as_bytes()))),
            (true, true) => pairs.push(key.clone()),
            (true, false) => pairs.push(format!("{key} {}", STANDARD.encode(value))),
        }
    }
    (pairs.join(","), left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_written_as_a_header_has_it() {
        let pairs = [("filename", "a.txt"), ("private", ""), ("b d", "x"), ("ключ", "y"), ("", "z")];
        let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (text, left_out) = encode(&metadata);
        assert_eq!(text, "filename YS50eHQ=,private");
        assert_eq!(left_out, ["\"\"", "\"b d\"", "\"ключ\""]);
    }
}
