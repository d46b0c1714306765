//! `export`: uploads as files of their own, or as a tar archive. Each is `ID`, and `ID.json` with what `show --json` tells.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use tus_mio_server::admin::{AdminError, Content, Upload, UploadDetails};

use super::{
    Failure,
    access::Access,
    json::Json,
    listing_args::ExportArgs,
    report,
    store::{output, unread, unwritten},
};

/// What came of an export.
#[derive(Debug, Default)]
struct Done {
    exported: u64,
    bytes: u64,
    /// How many were there already.
    left: u64,
}

/// Writes uploads out.
pub(crate) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let store = args.store.which.access()?;
    if args.to.as_os_str() == "-" {
        return archive(&store, args);
    }
    let dir = &args.to;
    fs::create_dir_all(dir).map_err(|error| unmade(dir, &error))?;
    let mut done = Done::default();
    store.each_page(args.query(), usize::MAX, |page| {
        for upload in &page.uploads {
            export_one(&store, dir, upload, &mut done)?;
        }
        Ok(())
    })?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| unmade(dir, &error))?;
    done.write(output(), args.store.json, dir).map_err(unwritten)
}

fn export_one(store: &Access<'_>, dir: &Path, upload: &Upload, done: &mut Done) -> Result<(), Failure> {
    let path = dir.join(&upload.id);
    if path.symlink_metadata().is_ok() {
        done.left += 1;
        return Ok(());
    }
    let Some((details, content)) = found(store, &upload.id)? else { return Ok(()) };
    let length = content.length;
    let mut document = Vec::new();
    report::show(&mut document, true, &details).map_err(unwritten)?;
    // The upload itself comes last: what has its name is complete.
    let named = |suffix: &str| dir.join(format!("{}{suffix}", upload.id));
    put(&mut &*document, document.len() as u64, &named(".json"), dir)?;
    put(&mut { content.bytes }, length, &path, dir)?;
    done.exported += 1;
    done.bytes += length;
    Ok(())
}

/// An upload as it is now; `None` if it went since it was listed.
fn found(store: &Access<'_>, id: &str) -> Result<Option<(UploadDetails, Content)>, Failure> {
    let found = store.ask().upload(id).and_then(|details| Ok((details, store.ask().content(id)?)));
    match found {
        Ok(found) => Ok(Some(found)),
        Err(AdminError::Unknown(_)) => Ok(None),
        Err(error) => Err(store.failed(error, id)),
    }
}

/// Writes a file as a whole: under another name first, and to the disk before it gets its own.
fn put(bytes: &mut dyn Read, length: u64, path: &Path, dir: &Path) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = dir.join(format!(".{name}.part"));
    let mut file = File::create(&part).map_err(|error| unmade(&part, &error))?;
    copy(bytes, &mut file, length).map_err(|error| match error {
        Copy::Read(error) => unread(error),
        Copy::Write(error) => unmade(&part, &error),
    })?;
    let placed = file.sync_all().and_then(|()| fs::rename(&part, path));
    placed.map_err(|error| unmade(path, &error))
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

/// Copies exactly so many bytes.
fn copy(bytes: &mut dyn Read, out: &mut dyn Write, length: u64) -> Result<(), Copy> {
    let (mut left, mut buffer) = (length, vec![0; super::store::PIECE]);
    while left > 0 {
        let count = bytes.read(&mut buffer).and_then(super::store::some).map_err(Copy::Read)?;
        out.write_all(buffer.get(..count).unwrap_or_default()).map_err(Copy::Write)?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

/// Writes a tar archive to standard output.
fn archive(store: &Access<'_>, args: &ExportArgs) -> Result<(), Failure> {
    let mut archive = tar::Builder::new(output());
    store.each_page(args.query(), usize::MAX, |page| {
        for upload in &page.uploads {
            let Some((details, content)) = found(store, &upload.id)? else { continue };
            let mut document = Vec::new();
            report::show(&mut document, true, &details).map_err(unwritten)?;
            append(&mut archive, &upload.id, content.length, content.bytes)?;
            append(&mut archive, &format!("{}.json", upload.id), document.len() as u64, &*document)?;
        }
        Ok(())
    })?;
    archive.into_inner().and_then(|mut out| out.flush()).map_err(unwritten)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    length: u64,
    bytes: impl Read,
) -> Result<(), Failure> {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    let mut exact = Exact { bytes, left: length, failed: None };
    let appended = archive.append_data(&mut header, name, &mut exact);
    match exact.failed {
        // Whoever reads the archive must learn that it is not whole: it gets no end.
        Some(error) => Err(unread(error)),
        None => appended.map_err(unwritten),
    }
}

/// Gives exactly so many bytes, or an error.
struct Exact<R> {
    bytes: R,
    left: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        match self.bytes.read(buffer).and_then(super::store::some) {
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

impl Done {
    fn write(&self, mut out: impl Write, json: bool, dir: &Path) -> io::Result<()> {
        if !json {
            let Self { exported, bytes, left } = self;
            let dir = super::table::shown(dir.as_os_str().as_encoded_bytes());
            writeln!(out, "exported {exported} uploads, {bytes} bytes, to {dir}; {left} were there already")?;
            return out.flush();
        }
        let mut json = Json::new(out);
        json.begin('{')?;
        json.key("exported")?.number(self.exported)?;
        json.key("bytes")?.number(self.bytes)?;
        json.key("left")?.number(self.left)?;
        json.end('}')?;
        json.flush()
    }
}

fn unmade(path: &Path, error: &io::Error) -> Failure {
    Failure::Environment(format!("can't write {}: {error}", path.display()))
}
