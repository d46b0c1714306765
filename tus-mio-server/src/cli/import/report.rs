//! What an import says of each upload, and of all together.

use std::io::{self, Write};

use tus_proto::{Concat, Record};

use super::tusd::Upload;
use crate::cli::{json::Json, table::shown};

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the store, with the data file it had.
    Linked,
    /// It is in the store, with a copy.
    Copied,
    /// It is in the store, and its bytes are where they were in the same bucket.
    #[cfg_attr(not(feature = "object-store"), allow(dead_code))]
    Adopted,
    /// It would be.
    New,
    /// It was in the store already; with a warning where that differs from what tusd has.
    Present(Option<String>),
    /// It can't be taken over, for this reason.
    Rejected(String),
}

impl Fate {
    /// Of an upload whose id is in the store.
    pub(crate) fn present(record: &Record, upload: &Upload) -> Self {
        let behind = upload.record.offset > record.offset;
        Self::Present(behind.then(|| {
            format!(
                "tusd has {} bytes of it, and the store {}: delete it from the store to import it again",
                upload.record.offset, record.offset
            )
        }))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Copied => "copied",
            Self::Adopted => "adopted",
            Self::New => "new",
            Self::Present(_) => "present",
            Self::Rejected(_) => "refused",
        }
    }

    fn note(&self) -> Option<&str> {
        match self {
            Self::Present(note) => note.as_deref(),
            Self::Rejected(why) => Some(why),
            _ => None,
        }
    }
}

/// A report that is written as the import goes on.
pub(crate) struct Report<W> {
    form: Form<W>,
    dry_run: bool,
    linked: u64,
    copied: u64,
    adopted: u64,
    new: u64,
    present: u64,
    refused: u64,
    finished: u64,
    bytes: u64,
}

enum Form<W> {
    Text(W),
    Json(Json<W>),
}

impl<W: Write> Report<W> {
    /// Begins a report on `out`, which should be buffered.
    pub(crate) fn begin(out: W, json: bool, dry_run: bool) -> io::Result<Self> {
        let form = match json {
            false => Form::Text(out),
            true => {
                let mut json = Json::new(out);
                json.begin('{')?;
                json.key("dry_run")?.boolean(dry_run)?;
                json.key("uploads")?.begin('[')?;
                Form::Json(json)
            }
        };
        let (linked, copied, adopted, new, present, refused) = (0, 0, 0, 0, 0, 0);
        let (finished, bytes) = (0, 0);
        Ok(Self { form, dry_run, linked, copied, adopted, new, present, refused, finished, bytes })
    }

    /// Adds an upload. As text only those are told that the user should know of.
    pub(crate) fn upload(&mut self, id: &str, fate: &Fate, upload: Option<&Upload>) -> io::Result<()> {
        match fate {
            Fate::Linked => self.linked += 1,
            Fate::Copied => self.copied += 1,
            Fate::Adopted => self.adopted += 1,
            Fate::New => self.new += 1,
            Fate::Present(_) => self.present += 1,
            Fate::Rejected(_) => self.refused += 1,
        }
        if let (Fate::Linked | Fate::Copied | Fate::Adopted | Fate::New, Some(upload)) = (fate, upload) {
            self.finished += u64::from(upload.record.is_complete());
            self.bytes += upload.record.offset;
        }
        let note = fate.note().or(upload.and_then(|upload| upload.note.as_deref()));
        match &mut self.form {
            Form::Text(out) => {
                let Some(note) = note else { return Ok(()) };
                writeln!(out, "{} {}: {}", fate.word(), shown(id.as_bytes()), shown(note.as_bytes()))
            }
            Form::Json(json) => {
                let upload = upload.filter(|_| !matches!(fate, Fate::Rejected(_)));
                json.begin('{')?;
                json.key("id")?.text(id)?;
                json.key("outcome")?.text(fate.word())?;
                json.key("kind")?.text_or_null(upload.map(|upload| kind(&upload.record)))?;
                json.key("offset")?.number_or_null(upload.map(|upload| upload.record.offset))?;
                json.key("length")?.number_or_null(upload.and_then(|upload| upload.record.length))?;
                let json = json.key("complete")?;
                match upload {
                    Some(upload) => json.boolean(upload.record.is_complete())?,
                    None => json.text_or_null(None)?,
                }
                let data = upload.map(|upload| upload.data.to_string_lossy());
                json.key("data")?.text_or_null(data.as_deref())?;
                json.key("note")?.text_or_null(note)?;
                json.end('}')
            }
        }
    }

    /// Ends the report, and returns how many uploads were not taken over.
    pub(crate) fn end(self) -> io::Result<u64> {
        let imported = self.linked + self.copied + self.adopted + self.new;
        match self.form {
            Form::Text(mut out) => {
                let (verb, refused) = match self.dry_run {
                    true => ("to import", "can't be imported"),
                    false => ("imported", "not imported"),
                };
                let unfinished = imported - self.finished;
                write!(
                    out,
                    "{verb}: {imported} ({} finished, {unfinished} not; {} bytes",
                    self.finished, self.bytes
                )?;
                if self.adopted > 0 {
                    write!(out, "; {} adopted where they are", self.adopted)?;
                } else if !self.dry_run {
                    write!(out, "; {} linked, {} copied", self.linked, self.copied)?;
                }
                writeln!(out, ")\nalready there: {}\n{refused}: {}", self.present, self.refused)?;
                out.flush()?;
            }
            Form::Json(mut json) => {
                json.end(']')?;
                json.key("imported")?.number(imported)?;
                json.key("present")?.number(self.present)?;
                json.key("refused")?.number(self.refused)?;
                json.end('}')?;
                json.flush()?;
            }
        }
        Ok(self.refused)
    }
}

fn kind(record: &Record) -> &'static str {
    match &record.concat {
        None => "plain",
        Some(Concat::Partial) => "partial",
        Some(Concat::Final(_)) => "final",
    }
}
