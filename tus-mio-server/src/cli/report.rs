//! What is in a store, written for people or as JSON. Nothing here reads a store: records go in, text comes out.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use tus_proto::{Concat, Record};

use super::{
    json::Json,
    metadata,
    table::{Rfc3339, Table, length, progress, shown},
};

/// A listing: begun, given its records page by page, and ended.
pub(crate) enum Listing<W> {
    /// Columns.
    Text(W, Table<7>),
    /// One document.
    Json(Json<W>),
}

impl<W: Write> Listing<W> {
    /// Begins a listing on `out`.
    pub(crate) fn begin(out: W, json: bool) -> io::Result<Self> {
        if !json {
            let columns = ["ID", "KIND", ">OFFSET", ">LENGTH", ">DONE", "CREATED", "FILENAME"];
            return Ok(Self::Text(out, Table::new(columns)));
        }
        let mut json = Json::new(out);
        json.begin('{')?;
        json.key("uploads")?.begin('[')?;
        Ok(Self::Json(json))
    }

    /// Writes the next records.
    pub(crate) fn page(&mut self, records: &[Record]) -> io::Result<()> {
        match self {
            Self::Text(out, table) => table.page(out, &records.iter().map(row).collect::<Vec<_>>()),
            Self::Json(json) => records.iter().try_for_each(|record| {
                json.begin('{')?;
                summary(json, record)?;
                let name = metadata::filename(&record.metadata);
                let name = name.as_deref().map(String::from_utf8_lossy);
                json.key("filename")?.text_or_null(name.as_deref())?;
                json.end('}')
            }),
        }
    }

    /// Ends the listing.
    pub(crate) fn end(self) -> io::Result<()> {
        match self {
            Self::Text(mut out, _) => out.flush(),
            Self::Json(mut json) => {
                json.end(']')?;
                json.end('}')?;
                json.flush()
            }
        }
    }
}

fn row(record: &Record) -> [String; 7] {
    [
        record.id.to_string(),
        kind(record).to_owned(),
        record.offset.to_string(),
        length(record.length),
        progress(record.offset, record.length),
        Rfc3339(record.created).to_string(),
        metadata::filename(&record.metadata).map(|name| shown(&name)).unwrap_or_default(),
    ]
}

/// What an upload is in a concatenation.
fn kind(record: &Record) -> &'static str {
    match &record.concat {
        None => "plain",
        Some(Concat::Partial) => "partial",
        Some(Concat::Final(_)) if record.is_complete() => "final",
        Some(Concat::Final(_)) => "pending",
    }
}

/// The members that `list` and `show` have in common.
fn summary(json: &mut Json<impl Write>, record: &Record) -> io::Result<()> {
    json.key("id")?.text(record.id.as_str())?;
    json.key("kind")?.text(kind(record))?;
    json.key("offset")?.number(record.offset)?;
    json.key("length")?.number_or_null(record.length)?;
    json.key("complete")?.boolean(record.is_complete())?;
    json.key("created")?.text(&Rfc3339(record.created).to_string())
}

/// A run of an upload's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The data file; none where they lie in the records.
    pub(crate) path: Option<PathBuf>,
    /// How many bytes, from the file's first.
    pub(crate) length: u64,
}

/// Writes all that is known of an upload.
pub(crate) fn show(out: impl Write, json: bool, record: &Record, extents: &[Extent]) -> io::Result<()> {
    if json { show_json(Json::new(out), record, extents) } else { show_text(out, record, extents) }
}

fn show_text(mut out: impl Write, record: &Record, extents: &[Extent]) -> io::Result<()> {
    writeln!(out, "id        {}", record.id)?;
    writeln!(out, "kind      {}", kind(record))?;
    writeln!(out, "offset    {}", record.offset)?;
    writeln!(out, "length    {}", length(record.length))?;
    writeln!(out, "done      {}", progress(record.offset, record.length))?;
    writeln!(out, "created   {}", Rfc3339(record.created))?;
    for entry in metadata::entries(&record.metadata) {
        let value = entry.value.map_or_else(|| shown(entry.base64.as_bytes()), |value| shown(&value));
        writeln!(out, "metadata  {}", format!("{} {value}", shown(entry.key.as_bytes())).trim_end())?;
    }
    for extent in extents {
        let place = match &extent.path {
            Some(path) => shown(path.as_os_str().as_encoded_bytes()),
            None => "the records: the cat command writes them".into(),
        };
        writeln!(out, "data      {} bytes in {place}", extent.length)?;
    }
    out.flush()
}

fn show_json(mut json: Json<impl Write>, record: &Record, extents: &[Extent]) -> io::Result<()> {
    json.begin('{')?;
    summary(&mut json, record)?;
    json.key("metadata")?.begin('[')?;
    for entry in metadata::entries(&record.metadata) {
        json.begin('{')?;
        json.key("key")?.text(entry.key)?;
        let value = entry.value.as_deref().and_then(|value| str::from_utf8(value).ok());
        json.key("value")?.text_or_null(value)?;
        json.key("base64")?.text(entry.base64)?;
        json.end('}')?;
    }
    json.end(']')?;
    json.key("data")?.begin('[')?;
    for extent in extents {
        json.begin('{')?;
        let path = extent.path.as_ref().map(|path| path.to_string_lossy());
        json.key("path")?.text_or_null(path.as_deref())?;
        json.key("length")?.number(extent.length)?;
        json.end('}')?;
    }
    json.end(']')?;
    json.end('}')?;
    json.flush()
}

/// Writes which upload was removed.
pub(crate) fn deleted(mut out: impl Write, json: bool, record: &Record) -> io::Result<()> {
    if !json {
        writeln!(out, "deleted {}, {} bytes", record.id, record.offset)?;
        return out.flush();
    }
    let mut json = Json::new(out);
    json.begin('{')?;
    json.key("deleted")?.text(record.id.as_str())?;
    json.key("bytes")?.number(record.offset)?;
    json.end('}')?;
    json.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::{UploadId, WallTime};

    use super::*;

    fn record(id: &str, offset: u64, length: Option<u64>, metadata: &str) -> Record {
        let created = WallTime::from_micros(1_709_251_200_042_000);
        Record {
            id: UploadId::new(id).unwrap(),
            created,
            offset,
            length,
            metadata: metadata.into(),
            expires: None,
            concat: None,
            explicit: None,
        }
    }

    fn records() -> [Record; 6] {
        let of = |concat, record| Record { concat: Some(concat), ..record };
        let made = || Concat::Final("final; /a".into());
        [
            record("first", 5, Some(5), "type YQ==,filename aGVsbG8udHh0"),
            // A name that would clear the screen, and ends in a byte that is no text.
            record("second-one", 1_000, Some(3_000), "filename G1sySv8="),
            record("third", 7, None, ""),
            of(Concat::Partial, record("part", 1, Some(2), "")),
            of(made(), record("waits", 0, Some(2), "")),
            of(made(), record("whole", 2, Some(2), "")),
        ]
    }

    fn listed(json: bool, pages: &[&[Record]]) -> String {
        let mut out = Vec::new();
        let mut listing = Listing::begin(&mut out, json).unwrap();
        for page in pages {
            listing.page(page).unwrap();
        }
        listing.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_listing_for_people_has_columns() {
        let lines = [
            "ID          KIND     OFFSET    LENGTH      DONE  CREATED                   FILENAME",
            "first       plain         5         5  complete  2024-03-01T00:00:00.042Z  hello.txt",
            "second-one  plain      1000      3000       33%  2024-03-01T00:00:00.042Z  \\u{1b}[2J\\xff",
            "third       plain         7  deferred         -  2024-03-01T00:00:00.042Z",
            "part        partial       1         2       50%  2024-03-01T00:00:00.042Z",
            "waits       pending       0         2        0%  2024-03-01T00:00:00.042Z",
            "whole       final         2         2  complete  2024-03-01T00:00:00.042Z",
        ];
        assert_eq!(listed(false, &[&records()]), lines.join("\n") + "\n");
        assert_eq!(listed(false, &[&[]]), "ID  KIND  OFFSET  LENGTH  DONE  CREATED  FILENAME\n");
    }

    #[test]
    fn a_listing_as_json_is_one_document_whatever_its_pages() {
        let all = records();
        let document = listed(true, &[&all[..1], &all[1..]]);
        let expected = serde_json::json!({"uploads": [
            {"id": "first", "kind": "plain", "offset": 5, "length": 5, "complete": true,
             "created": "2024-03-01T00:00:00.042Z", "filename": "hello.txt"},
            {"id": "second-one", "kind": "plain", "offset": 1000, "length": 3000, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "filename": "\u{1b}[2J\u{fffd}"},
            {"id": "third", "kind": "plain", "offset": 7, "length": null, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "filename": null},
            {"id": "part", "kind": "partial", "offset": 1, "length": 2, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "filename": null},
            {"id": "waits", "kind": "pending", "offset": 0, "length": 2, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "filename": null},
            {"id": "whole", "kind": "final", "offset": 2, "length": 2, "complete": true,
             "created": "2024-03-01T00:00:00.042Z", "filename": null},
        ]});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap(), expected);
        assert_eq!(listed(true, &[]), "{\n  \"uploads\": []\n}\n");
    }

    fn shown_as(json: bool) -> String {
        let record = record("first", 5, None, "filename G1sySv8=,note aGVsbG8=,private");
        let extents =
            [Extent { path: Some("data/a\nb".into()), length: 5 }, Extent { path: None, length: 2 }];
        let mut out = Vec::new();
        show(&mut out, json, &record, &extents).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_upload_is_shown_with_all_its_metadata_and_files() {
        let lines = [
            "id        first",
            "kind      plain",
            "offset    5",
            "length    deferred",
            "done      -",
            "created   2024-03-01T00:00:00.042Z",
            "metadata  filename \\u{1b}[2J\\xff",
            "metadata  note hello",
            "metadata  private",
            "data      5 bytes in data/a\\nb",
            "data      2 bytes in the records: the cat command writes them",
        ];
        assert_eq!(shown_as(false), lines.join("\n") + "\n");
        let expected = serde_json::json!({
            "id": "first", "kind": "plain", "offset": 5, "length": null, "complete": false,
            "created": "2024-03-01T00:00:00.042Z",
            "metadata": [
                {"key": "filename", "value": null, "base64": "G1sySv8="},
                {"key": "note", "value": "hello", "base64": "aGVsbG8="},
                {"key": "private", "value": "", "base64": ""},
            ],
            "data": [{"path": "data/a\nb", "length": 5}, {"path": null, "length": 2}],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown_as(true)).unwrap(), expected);
    }

    #[test]
    fn a_deletion_says_what_is_gone() {
        let gone = |json| {
            let mut out = Vec::new();
            deleted(&mut out, json, &record("first", 5, None, "")).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(gone(false), "deleted first, 5 bytes\n");
        assert_eq!(gone(true), "{\n  \"deleted\": \"first\",\n  \"bytes\": 5\n}\n");
    }
}
