//! A bucket of tusd's S3 store: `ID` is a finished upload's object, or what a multipart upload is to become; `ID.info` a JSON
//! document about it, whose `ID` ends with a `+` and the multipart upload's name; `ID.part` the bytes past the last part.
//!
//! Uploads are adopted where they are, so `--store` is in the same bucket. tusd tells offsets by a sum over the parts; here
//! bytes count up to the first gap alone, as those past it can't be the upload's.

use std::{path::PathBuf, thread};

use tus_mio_server::admin::{AdminError, InBucket};
use tus_object_store::{Adopted, Foreign, ForeignBytes};
use tus_proto::{Record, UploadId};

use super::{
    TusdArgs,
    report::{Fate, Report},
    tusd::{Info, MAX_INFO, Rules, Upload, valid_id},
};
use crate::cli::Failure;

/// How many uploads are looked at at once.
const AT_ONCE: usize = 16;

/// Where tusd's objects are, and where those of the store.
struct Layout {
    bucket: String,
    /// The folder of tusd's objects: empty, or a path that begins with `/`.
    folder: String,
    /// That of the store.
    own: String,
}

impl Layout {
    fn of(source: &str, store: &str) -> Result<Self, Failure> {
        let (bucket, folder) = parse(source).ok_or_else(|| {
            Failure::Usage(format!(
                "{source} is no bucket of tusd's that can be imported: write s3://BUCKET/PREFIX, or name a directory"
            ))
        })?;
        match parse(store) {
            Some((same, own)) if same == bucket => Ok(Self { bucket, folder, own }),
            _ => Err(Failure::Usage(format!(
                "--store {store} is not in the bucket {bucket}: uploads are adopted where they are, so name a prefix there"
            ))),
        }
    }

    /// The name, without `.info`, of an upload's document.
    fn id<'a>(&self, key: &'a str) -> Option<&'a str> {
        let inside = |folder: &str| key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let is_ours = self.own != self.folder && self.own.starts_with(&self.folder) && inside(&self.own);
        let name = key.strip_prefix(self.folder.as_str())?.strip_prefix('/')?;
        name.strip_suffix(".info").filter(|_| !is_ours)
    }
}

/// The bucket and the folder of a URL.
fn parse(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("s3://").or_else(|| url.strip_prefix("s3a://"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let folder = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    (!bucket.is_empty()).then(|| (bucket.to_owned(), folder))
}

/// Takes over what it can, and reports each that it can't.
pub(super) fn import(args: &TusdArgs, source: &str, rules: &Rules) -> Result<(), Failure> {
    let layout = Layout::of(source, args.bucket.url().unwrap_or_default())?;
    let failed = |error: AdminError| Failure::Environment(error.to_string());
    let Some(store) = args.bucket.in_bucket()? else { return Ok(()) };
    let folder = if layout.folder.is_empty() { "/".to_owned() } else { layout.folder.clone() };
    let keys = store.with_store(|store| async move {
        let mut keys = Vec::new();
        let take = |key: &str| keys.extend(key.ends_with(".info").then(|| key.to_owned()));
        store.foreign_keys(&folder, take).await.map(|()| keys)
    });
    let keys = keys.map_err(failed)?;
    let ids: Vec<&str> = keys.iter().filter_map(|key| layout.id(key)).collect();
    let unwritten = crate::cli::store::unwritten;
    let mut report =
        Report::begin(crate::cli::store::output(), args.json, args.dry_run).map_err(unwritten)?;
    let import = Import { args, rules, store: &store, layout: &layout };
    for group in ids.chunks(AT_ONCE) {
        let fates: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = group.iter().map(|id| scope.spawn(|| import.upload(id))).collect();
            running.into_iter().map(|running| running.join().unwrap_or_else(|_| Err(ended()))).collect()
        });
        for (id, fate) in group.iter().zip(fates) {
            let (fate, upload) = fate.map_err(failed)?;
            report.upload(id, &fate, upload.as_ref()).map_err(unwritten)?;
        }
    }
    let refused = report.end().map_err(unwritten)?;
    if refused == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn ended() -> AdminError {
    AdminError::Failed("a thread of the import ended before its time".into())
}

struct Import<'a> {
    args: &'a TusdArgs,
    rules: &'a Rules,
    store: &'a InBucket,
    layout: &'a Layout,
}

impl Import<'_> {
    /// What becomes of an upload; an error is the store's.
    fn upload(&self, name: &str) -> Result<(Fate, Option<Upload>), AdminError> {
        let id = match valid_id(name) {
            Ok(id) => id,
            Err(why) => return Ok((Fate::Rejected(why), None)),
        };
        let present = self.store.with_store(|store| async move { store.describe(&id).await })?;
        let looked = self.look(name)?;
        if let Some(present) = present {
            // What tusd has of it may be less by now, or gone: clients have gone on here.
            let fate = match &looked {
                Ok((upload, _)) => Fate::present(present.record(), upload),
                Err(_) => Fate::Present(None),
            };
            let data = PathBuf::from(format!("{}/{name}", self.layout.folder));
            return Ok((fate, Some(Upload { record: present.record().clone(), data, note: None })));
        }
        let (upload, bytes) = match looked {
            Ok(found) => found,
            Err(why) => return Ok((Fate::Rejected(why), None)),
        };
        if self.args.dry_run {
            return Ok((Fate::New, Some(upload)));
        }
        let (record, announce) = (upload.record.clone(), self.args.announce);
        let adopted =
            self.store.with_store(|store| async move { store.adopt(&record, &bytes, announce).await })?;
        let fate = match adopted {
            Adopted::Yes => Fate::Adopted,
            _ => Fate::Rejected("an upload with this id was deleted or expired here lately".into()),
        };
        Ok((fate, Some(upload)))
    }

    /// What is there of an upload; or why it can't be taken over.
    fn look(&self, name: &str) -> Result<Result<(Upload, ForeignBytes), String>, AdminError> {
        let document = format!("{}/{name}.info", self.layout.folder);
        let read =
            self.store.with_store(|store| async move { store.read_foreign(&document, MAX_INFO).await })?;
        let Some((text, written)) = read else {
            return Ok(Err(format!("its .info is gone, or has more than {MAX_INFO} bytes")));
        };
        let info = match Info::of(&text) {
            Ok(info) => info,
            Err(why) => return Ok(Err(why)),
        };
        let (id, foreign) = match self.foreign(name, &info) {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let object = foreign.object.clone();
        let Some(bytes) = self.store.with_store(|store| async move { store.survey(&foreign).await })? else {
            return Ok(
                Err("there is neither its object nor its multipart upload: its bytes are gone".into()),
            );
        };
        let now = self.store.now().wall;
        let (offset, length) = (bytes.offset(), info.length);
        if let Some(length) = length.filter(|length| offset > *length) {
            return Ok(Err(format!("tusd has {offset} bytes of it, more than its size of {length}")));
        }
        if bytes.is_object() && length != Some(offset) {
            return Ok(Err(format!(
                "its object is complete and has {offset} bytes, which is not its size: tusd has completed it with a gap"
            )));
        }
        if info.is_final && length != Some(offset) {
            return Ok(Err("it is a concatenation that failed: not all bytes of its parts are there".into()));
        }
        let (metadata, mut note) = info.header();
        if bytes.given_up() > 0 {
            note = Some(format!(
                "{} bytes past a missing or short part are left out, and its client sends them again from {offset} on",
                bytes.given_up()
            ));
        }
        let expires = (length != Some(offset) || info.is_partial).then_some(self.rules.expiry).flatten();
        let record = Record {
            id,
            created: written.unwrap_or(now),
            offset,
            length,
            metadata,
            // tusd does not say when the last bytes came.
            expires: expires.map(|expiry| now.after(expiry)),
            concat: info.concat(&self.rules.base_path),
            explicit: None,
        };
        Ok(Ok((Upload { record, data: PathBuf::from(object), note }, bytes)))
    }

    /// The upload's id, and where tusd has it.
    fn foreign(&self, name: &str, info: &Info) -> Result<(UploadId, Foreign), String> {
        let id = valid_id(name)?;
        let Some((object, multipart)) = info.id.rsplit_once('+').filter(|(_, name)| !name.is_empty()) else {
            return Err("its .info names no multipart upload: it is not of tusd's S3 store".into());
        };
        if object != name {
            return Err(format!("its .info is of another upload, {object}"));
        }
        let (bucket, key) = &info.place;
        if let Some(other) = bucket.as_ref().filter(|bucket| **bucket != self.layout.bucket) {
            return Err(format!("its bytes are in another bucket, {other}"));
        }
        let folder = &self.layout.folder;
        let object = match key {
            Some(key) => format!("/{}", key.trim_start_matches('/')),
            None => format!("{folder}/{name}"),
        };
        let (multipart, tail) = (multipart.to_owned(), format!("{folder}/{name}.part"));
        Ok((id, Foreign { object, multipart, tail }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_folder_of_the_same_bucket() {
        let layout = |source, store| Layout::of(source, store).ok();
        let found = layout("s3://b/tusd/in/", "s3://b/new").unwrap();
        assert_eq!(
            (found.bucket.as_str(), found.folder.as_str(), found.own.as_str()),
            ("b", "/tusd/in", "/new")
        );
        assert_eq!(found.id("/tusd/in/x.info"), Some("x"));
        assert_eq!(found.id("/tusd/in/x"), None);
        assert_eq!(found.id("/tusd/inside/x.info"), None);
        let root = layout("s3://b", "s3://b/new").unwrap();
        assert_eq!(root.id("/x.info"), Some("x"));
        assert_eq!(root.id("/new/done/x.info"), None, "what the store has published is none of tusd's");
        assert_eq!(layout("s3://b/in", "s3://b/in/").unwrap().id("/in/x.info"), Some("x"));
        for (source, store) in
            [("s3://b/in", "s3://c/in"), ("gs://b/in", "gs://b/x"), ("s3:///in", "s3://b/x")]
        {
            assert!(layout(source, store).is_none(), "{source} {store}");
        }
    }
}
