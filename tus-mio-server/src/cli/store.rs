//! The commands that look into a store: that of a running server, or one that no server has open.

use std::io::{self, BufWriter, Read, Write};

use tus_mio_server::admin::{FindingDocument, finding};
use tus_redb::{Options, Store};

use super::{
    Failure,
    access::{Access, server_of},
    deep,
    listing_args::ListArgs,
    progress::Progress,
    report::{self, Listing},
    store_args::{CatArgs, OneUploadArgs, StoreArgs, VerifyArgs, WhichArgs},
    verdict::Verdict,
};

/// The format of records in buckets.
const BUCKET_FORMAT: u64 = 1;

/// How many bytes of an upload are in memory at once.
pub(crate) const PIECE: usize = 64 << 10;

/// Lists uploads.
pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let store = args.store.which.access()?;
    let (query, limit) = args.query();
    let mut listing = None;
    let next = store.each_page(query, limit, |page| {
        // Only now is it known that the question makes sense.
        let listing = match &mut listing {
            Some(listing) => listing,
            None => listing.insert(Listing::begin(output(), args.store.json).map_err(unwritten)?),
        };
        listing.page(&page.uploads).map_err(unwritten)
    })?;
    if let Some(listing) = listing {
        listing.end(next.as_deref()).map_err(unwritten)?;
    }
    if let Some(next) = next.filter(|_| !args.store.json) {
        // Where nobody reads it, nobody misses it.
        let _ = writeln!(io::stderr(), "there are more: go on with --after {next}");
    }
    Ok(())
}

/// Shows one upload.
pub(crate) fn show(args: &OneUploadArgs) -> Result<(), Failure> {
    let store = args.store.which.access()?;
    let upload = store.ask().upload(&args.id).map_err(|error| store.failed(error, &args.id))?;
    report::show(output(), args.store.json, &upload).map_err(unwritten)
}

/// Writes the bytes of one upload.
pub(crate) fn cat(args: &CatArgs) -> Result<(), Failure> {
    let store = args.which.access()?;
    let content = store.ask().content(&args.id).map_err(|error| store.failed(error, &args.id))?;
    let (mut out, mut bytes, mut left) = (io::stdout().lock(), content.bytes, content.length);
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let count = bytes.read(&mut buffer).and_then(some).map_err(unread)?;
        out.write_all(buffer.get(..count).unwrap_or_default()).map_err(unwritten)?;
        left = left.saturating_sub(count as u64);
    }
    out.flush().map_err(unwritten)
}

/// What was read, which must not be nothing.
pub(crate) fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

/// Removes one upload.
pub(crate) fn delete(args: &OneUploadArgs) -> Result<(), Failure> {
    let store = args.store.which.access()?;
    let deleted = store.ask().delete(&args.id).map_err(|error| store.failed(error, &args.id))?;
    report::deleted(output(), args.store.json, &deleted).map_err(unwritten)
}

/// Tells what there is.
pub(crate) fn stats(args: &StoreArgs) -> Result<(), Failure> {
    let store = args.which.access()?;
    let stats = store.ask().stats().map_err(|error| store.failed(error, ""))?;
    report::stats(output(), args.json, &stats).map_err(unwritten)
}

/// Checks all records against all data files, and mends what is wrong where that is wanted.
pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let verdict = if args.repair { repaired(args)? } else { verified(args)? };
    verdict.write(output(), args.store.json).map_err(unwritten)?;
    if verdict.is_good() { Ok(()) } else { Err(Failure::Told) }
}

fn verified(args: &VerifyArgs) -> Result<Verdict, Failure> {
    let WhichArgs { data_dir, bucket, .. } = &args.store.which;
    let store = Access::to(data_dir, bucket, &Options { check: true, ..Options::default() })?;
    let mut progress = Progress::new();
    let mut verdict = match store.own() {
        None => checked(&store, &mut progress)?,
        Some(own) => {
            let found = own.verify_watched(&mut |uploads| progress.show(uploads));
            progress.clear();
            let found = found.map_err(|failure| broken(&store, own, failure))?;
            counted(&store, found.iter().map(finding).collect())?
        }
    };
    if args.deep {
        let (deep, findings) = deep::compare(&store, &mut progress)?;
        verdict.deep = Some(deep);
        verdict.findings.extend(findings);
    }
    Ok(verdict)
}

/// Asks a running server for all steps of its check.
fn checked(store: &Access<'_>, progress: &mut Progress) -> Result<Verdict, Failure> {
    let format = if store.bucket().is_some() { BUCKET_FORMAT } else { tus_redb::FORMAT };
    let mut verdict = Verdict { format, ..Verdict::default() };
    let mut place = None;
    loop {
        let page = store.ask().check(place.as_deref()).map_err(|error| store.failed(error, ""))?;
        verdict.uploads += page.uploads;
        verdict.bytes += page.bytes;
        verdict.findings.extend(page.findings);
        progress.show(verdict.uploads);
        place = page.next;
        if place.is_none() {
            progress.clear();
            return Ok(verdict);
        }
    }
}

fn repaired(args: &VerifyArgs) -> Result<Verdict, Failure> {
    let WhichArgs { data_dir: dir, bucket, .. } = &args.store.which;
    if let Some(opened) = bucket.administration()? {
        let page = (opened.repair)().map_err(|error| Failure::Environment(error.to_string()))?;
        let (uploads, bytes, findings) = (page.uploads, page.bytes, page.findings);
        return Ok(Verdict { format: BUCKET_FORMAT, uploads, bytes, findings, deep: None });
    }
    if server_of(dir)?.is_some() {
        return Err(Failure::Environment(format!(
            "--repair needs the store alone, and a server has {} open: stop it first",
            dir.display()
        )));
    }
    let opened = Store::open_for_repair(dir, &Options { check: true, ..Options::default() });
    let (store, journal) = opened.map_err(|error| Failure::Environment(error.to_string()))?;
    let repairs = store.repair();
    let store = Access::of(store, dir);
    let own = store.own().ok_or(Failure::Told)?;
    let repairs = repairs.map_err(|failure| broken(&store, own, failure))?;
    let documents = journal.into_iter().chain(repairs).map(|repair| {
        let mut document = finding(&repair.finding);
        document.remedy = repair.remedy.map(|remedy| remedy.to_string());
        document
    });
    counted(&store, documents.collect())
}

/// A verdict on all uploads there are.
fn counted(store: &Access<'_>, findings: Vec<FindingDocument>) -> Result<Verdict, Failure> {
    let stats = store.ask().stats().map_err(|error| store.failed(error, ""))?;
    Ok(Verdict { format: tus_redb::FORMAT, uploads: stats.uploads, bytes: stats.bytes, findings, deep: None })
}

fn broken(store: &Access<'_>, own: &Store, failure: tus_proto::Failure) -> Failure {
    let what = tus_redb::StoreError(failure);
    let text = own.trouble().map_or_else(|| what.to_string(), |text| format!("{what}: {text}"));
    Failure::Environment(format!("the store in {} can't be read: {text}", store.dir().display()))
}

/// Standard output, buffered: it must be flushed.
pub(crate) fn output() -> impl Write {
    BufWriter::new(io::stdout().lock())
}

pub(crate) fn unread(error: io::Error) -> Failure {
    Failure::Environment(format!("the upload's bytes can't be read: {error}"))
}

pub(crate) fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::PipeClosed;
    }
    Failure::Environment(format!("can't write to standard output: {error}"))
}
