//! The commands that look into a store no server has open.

use std::{
    fmt::Display,
    io::{self, BufWriter, Read, Write},
    path::{self, Path},
};

use tus_proto::{Record, UploadId};
use tus_redb::{Description, Options, Repair, Store};

use super::{
    Failure,
    args::{CatArgs, StoreArgs, UploadArgs, VerifyArgs},
    report::{self, Extent, Listing},
    table::shown,
    verdict::Verdict,
};

/// How many records are in memory at once.
const PAGE: usize = 1_000;

/// How many bytes of an upload are.
const CAT: usize = 64 << 10;

/// Lists all uploads.
pub(crate) fn list(args: &StoreArgs) -> Result<(), Failure> {
    let store = Opened::at(&args.data_dir)?;
    let mut listing = Listing::begin(output(), args.json).map_err(unwritten)?;
    store.each_page(|page| listing.page(page).map_err(unwritten))?;
    listing.end().map_err(unwritten)
}

/// Shows one upload.
pub(crate) fn show(args: &UploadArgs) -> Result<(), Failure> {
    let store = Opened::at(&args.store.data_dir)?;
    let upload = store.describe(&args.id)?;
    report::show(output(), args.store.json, &upload.record, &extents(&upload)?).map_err(unwritten)
}

/// Writes the bytes of one upload.
pub(crate) fn cat(args: &CatArgs) -> Result<(), Failure> {
    let store = Opened::at(&args.data_dir)?;
    let upload = store.describe(&args.id)?;
    let body = store.store.read(&upload.record.id).map_err(|failure| store.failed(failure))?;
    let mut body = body.ok_or_else(|| store.unknown(&args.id))?;
    let (mut out, mut buffer) = (io::stdout().lock(), vec![0; CAT]);
    loop {
        let count = body.read(&mut buffer).map_err(|_| store.failed(tus_proto::Failure::Io))?;
        if count == 0 {
            return out.flush().map_err(unwritten);
        }
        out.write_all(&buffer[..count]).map_err(unwritten)?;
    }
}

/// Removes one upload.
pub(crate) fn delete(args: &UploadArgs) -> Result<(), Failure> {
    let store = Opened::at(&args.store.data_dir)?;
    let upload = store.describe(&args.id)?;
    if !store.store.delete(&upload.record.id).map_err(|failure| store.failed(failure))? {
        return Err(store.unknown(&args.id));
    }
    report::deleted(output(), args.store.json, &upload.record).map_err(unwritten)
}

/// Checks all records against all data files, and mends what is wrong where that is wanted.
pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let (store, findings) = if args.repair { repaired(&args.store)? } else { verified(&args.store)? };
    let mut verdict = Verdict { uploads: 0, bytes: 0, findings };
    store.each_page(|page| {
        verdict.uploads += page.len() as u64;
        verdict.bytes += page.iter().map(|record| record.offset).sum::<u64>();
        Ok(())
    })?;
    verdict.write(output(), args.store.json).map_err(unwritten)?;
    if verdict.is_good() { Ok(()) } else { Err(Failure::Told) }
}

fn verified(args: &StoreArgs) -> Result<(Opened<'_>, Vec<Repair>), Failure> {
    let store = Opened::with(&args.data_dir, &Options { check: true, ..Options::default() })?;
    let findings = store.store.verify().map_err(|failure| store.failed(failure))?;
    Ok((store, findings.into_iter().map(|finding| Repair { finding, remedy: None }).collect()))
}

fn repaired(args: &StoreArgs) -> Result<(Opened<'_>, Vec<Repair>), Failure> {
    let opened = Store::open_for_repair(&args.data_dir, &Options { check: true, ..Options::default() });
    let (store, journal) = opened.map_err(|error| Failure::Environment(error.to_string()))?;
    let store = Opened { store, dir: &args.data_dir };
    let repairs = store.store.repair().map_err(|failure| store.failed(failure))?;
    Ok((store, journal.into_iter().chain(repairs).collect()))
}

/// A store and the path its user knows it by.
struct Opened<'a> {
    store: Store,
    dir: &'a Path,
}

impl<'a> Opened<'a> {
    fn at(dir: &'a Path) -> Result<Self, Failure> {
        Self::with(dir, &Options::default())
    }

    fn with(dir: &'a Path, options: &Options) -> Result<Self, Failure> {
        let store = Store::open_existing(dir, options);
        Ok(Self { store: store.map_err(|error| Failure::Environment(error.to_string()))?, dir })
    }

    /// Hands on all records in the order of their ids. The last page is empty where there is no other.
    fn each_page(&self, mut take: impl FnMut(&[Record]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.store.list(after.as_ref(), PAGE).map_err(|failure| self.failed(failure))?;
            take(&page)?;
            after = page.last().map(|record| record.id.clone());
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn describe(&self, id: &str) -> Result<Description, Failure> {
        let Some(valid) = UploadId::new(id) else { return Err(self.unknown(id)) };
        let found = self.store.describe(&valid).map_err(|failure| self.failed(failure))?;
        found.ok_or_else(|| self.unknown(id))
    }

    fn unknown(&self, id: &str) -> Failure {
        let (id, dir) = (shown(id.as_bytes()), self.dir.display());
        Failure::Environment(format!(
            "there is no upload {id} in {dir}: the list command names those there are"
        ))
    }

    fn failed(&self, failure: tus_proto::Failure) -> Failure {
        let what = tus_redb::StoreError(failure);
        let details: &dyn Display = match &self.store.trouble() {
            Some(text) => &format!("{what}: {text}"),
            None => &what,
        };
        Failure::Environment(format!("the store in {} can't be read: {details}", self.dir.display()))
    }
}

/// Where the committed bytes are, as paths that are right in any directory.
fn extents(upload: &Description) -> Result<Vec<Extent>, Failure> {
    let committed = upload.extents.iter().filter(|extent| extent.committed > 0);
    let located = committed.map(|extent| {
        let path = if extent.in_records { None } else { Some(path::absolute(&extent.path)?) };
        Ok(Extent { path, length: extent.committed })
    });
    let current =
        |error: io::Error| Failure::Environment(format!("the current directory can't be told: {error}"));
    located.collect::<io::Result<_>>().map_err(current)
}

/// Standard output, buffered: it must be flushed.
pub(super) fn output() -> impl Write {
    BufWriter::new(io::stdout().lock())
}

pub(super) fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::PipeClosed;
    }
    Failure::Environment(format!("can't write to standard output: {error}"))
}
