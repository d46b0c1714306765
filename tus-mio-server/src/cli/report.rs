//! What is in a store, written for people or as JSON. Nothing here reads a store: documents go in, text comes out.

use std::io::{self, Write};

use tus_mio_server::admin::{Deleted, Stats, Upload, UploadDetails};

use super::{
    json::Json,
    table::{Table, length, progress, shown},
};

/// A listing: begun, given its uploads page by page, and ended.
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

    /// Writes the next uploads.
    pub(crate) fn page(&mut self, uploads: &[Upload]) -> io::Result<()> {
        match self {
            Self::Text(out, table) => table.page(out, &uploads.iter().map(row).collect::<Vec<_>>()),
            Self::Json(json) => uploads.iter().try_for_each(|upload| {
                json.begin('{')?;
                summary(json, upload)?;
                json.end('}')
            }),
        }
    }

    /// Ends the listing; `next` is where the next one begins.
    pub(crate) fn end(self, next: Option<&str>) -> io::Result<()> {
        match self {
            Self::Text(mut out, _) => out.flush(),
            Self::Json(mut json) => {
                json.end(']')?;
                json.key("next")?.text_or_null(next)?;
                json.end('}')?;
                json.flush()
            }
        }
    }
}

fn row(upload: &Upload) -> [String; 7] {
    [
        shown(upload.id.as_bytes()),
        shown(upload.kind.as_bytes()),
        upload.offset.to_string(),
        length(upload.length),
        progress(upload.offset, upload.length),
        shown(upload.created.as_bytes()),
        upload.filename.as_ref().map(|name| shown(name.as_bytes())).unwrap_or_default(),
    ]
}

/// The members that `list` and `show` have in common.
fn summary(json: &mut Json<impl Write>, upload: &Upload) -> io::Result<()> {
    json.key("id")?.text(&upload.id)?;
    json.key("kind")?.text(&upload.kind)?;
    json.key("offset")?.number(upload.offset)?;
    json.key("length")?.number_or_null(upload.length)?;
    json.key("complete")?.boolean(upload.complete)?;
    json.key("created")?.text(&upload.created)?;
    json.key("expires")?.text_or_null(upload.expires.as_deref())?;
    json.key("filename")?.text_or_null(upload.filename.as_deref())
}

/// Writes all that is known of an upload.
pub(crate) fn show(out: impl Write, json: bool, upload: &UploadDetails) -> io::Result<()> {
    if json { show_json(Json::new(out), upload) } else { show_text(out, upload) }
}

fn show_text(mut out: impl Write, details: &UploadDetails) -> io::Result<()> {
    let upload = &details.upload;
    writeln!(out, "id        {}", shown(upload.id.as_bytes()))?;
    writeln!(out, "kind      {}", shown(upload.kind.as_bytes()))?;
    writeln!(out, "offset    {}", upload.offset)?;
    writeln!(out, "length    {}", length(upload.length))?;
    writeln!(out, "done      {}", progress(upload.offset, upload.length))?;
    writeln!(out, "created   {}", shown(upload.created.as_bytes()))?;
    if let Some(expires) = &upload.expires {
        writeln!(out, "expires   {}", shown(expires.as_bytes()))?;
    }
    for entry in &details.metadata {
        let value = entry.bytes().map_or_else(|| shown(entry.base64.as_bytes()), |value| shown(&value));
        writeln!(out, "metadata  {}", format!("{} {value}", shown(entry.key.as_bytes())).trim_end())?;
    }
    for extent in &details.data {
        let place = match &extent.path {
            Some(path) => shown(path.as_bytes()),
            None => "the records: the cat command writes them".into(),
        };
        writeln!(out, "data      {} bytes in {place}", extent.length)?;
    }
    if let Some(sha256) = &details.sha256 {
        writeln!(out, "sha256    {}", shown(sha256.as_bytes()))?;
    }
    out.flush()
}

fn show_json(mut json: Json<impl Write>, details: &UploadDetails) -> io::Result<()> {
    json.begin('{')?;
    summary(&mut json, &details.upload)?;
    json.key("metadata")?.begin('[')?;
    for entry in &details.metadata {
        json.begin('{')?;
        json.key("key")?.text(&entry.key)?;
        json.key("value")?.text_or_null(entry.value.as_deref())?;
        json.key("base64")?.text(&entry.base64)?;
        json.end('}')?;
    }
    json.end(']')?;
    json.key("data")?.begin('[')?;
    for extent in &details.data {
        json.begin('{')?;
        json.key("path")?.text_or_null(extent.path.as_deref())?;
        json.key("length")?.number(extent.length)?;
        json.end('}')?;
    }
    json.end(']')?;
    json.key("sha256")?.text_or_null(details.sha256.as_deref())?;
    json.end('}')?;
    json.flush()
}

/// Writes which upload was removed.
pub(crate) fn deleted(mut out: impl Write, json: bool, deleted: &Deleted) -> io::Result<()> {
    if !json {
        writeln!(out, "deleted {}, {} bytes", shown(deleted.deleted.as_bytes()), deleted.bytes)?;
        return out.flush();
    }
    let mut json = Json::new(out);
    json.begin('{')?;
    json.key("deleted")?.text(&deleted.deleted)?;
    json.key("bytes")?.number(deleted.bytes)?;
    json.end('}')?;
    json.flush()
}

/// Writes what there is.
pub(crate) fn stats(mut out: impl Write, json: bool, stats: &Stats) -> io::Result<()> {
    let numbers = [
        ("uploads", Some(stats.uploads)),
        ("finished", Some(stats.finished)),
        ("unfinished", Some(stats.unfinished)),
        ("expired", Some(stats.expired)),
        ("bytes", Some(stats.bytes)),
        ("missing", Some(stats.missing)),
        ("events", Some(stats.events)),
        ("free", stats.free),
    ];
    if !json {
        for (name, number) in numbers {
            writeln!(
                out,
                "{name:<10}  {}",
                number.map_or_else(|| "unknown".into(), |number| number.to_string())
            )?;
        }
        return out.flush();
    }
    let mut json = Json::new(out);
    json.begin('{')?;
    for (name, number) in numbers {
        json.key(name)?.number_or_null(number)?;
    }
    json.end('}')?;
    json.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::{Concat, Now, Record, UploadId, WallTime};

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

    fn records() -> [Upload; 6] {
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
        .map(|record| Upload::of(&record, Now::default()))
    }

    fn listed(json: bool, pages: &[&[Upload]]) -> String {
        let mut out = Vec::new();
        let mut listing = Listing::begin(&mut out, json).unwrap();
        for page in pages {
            listing.page(page).unwrap();
        }
        listing.end(None).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_listing_for_people_has_columns() {
        let lines = [
            "ID          KIND     OFFSET    LENGTH      DONE  CREATED                   FILENAME",
            "first       plain         5         5  complete  2024-03-01T00:00:00.042Z  hello.txt",
            "second-one  plain      1000      3000       33%  2024-03-01T00:00:00.042Z  \\u{1b}[2J\u{fffd}",
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
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": "hello.txt"},
            {"id": "second-one", "kind": "plain", "offset": 1000, "length": 3000, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": "\u{1b}[2J\u{fffd}"},
            {"id": "third", "kind": "plain", "offset": 7, "length": null, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": null},
            {"id": "part", "kind": "partial", "offset": 1, "length": 2, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": null},
            {"id": "waits", "kind": "pending", "offset": 0, "length": 2, "complete": false,
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": null},
            {"id": "whole", "kind": "final", "offset": 2, "length": 2, "complete": true,
             "created": "2024-03-01T00:00:00.042Z", "expires": null, "filename": null},
        ], "next": null});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap(), expected);
        assert_eq!(listed(true, &[]), "{\n  \"uploads\": [],\n  \"next\": null\n}\n");
    }

    fn details() -> UploadDetails {
        let document = serde_json::json!({
            "id": "first", "kind": "plain", "offset": 5, "length": null, "complete": false,
            "created": "2024-03-01T00:00:00.042Z", "expires": "2024-03-02T00:00:00.000Z", "filename": "\u{1b}[2J\u{fffd}",
            "metadata": [
                {"key": "filename", "value": null, "base64": "G1sySv8="},
                {"key": "note", "value": "hello", "base64": "aGVsbG8="},
                {"key": "private", "value": "", "base64": ""},
            ],
            "data": [{"path": "data/a\nb", "length": 5}, {"path": null, "length": 2}],
        });
        serde_json::from_value(document).unwrap()
    }

    fn shown_as(json: bool) -> String {
        let mut out = Vec::new();
        show(&mut out, json, &details()).unwrap();
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
            "expires   2024-03-02T00:00:00.000Z",
            "metadata  filename \\u{1b}[2J\\xff",
            "metadata  note hello",
            "metadata  private",
            "data      5 bytes in data/a\\nb",
            "data      2 bytes in the records: the cat command writes them",
        ];
        assert_eq!(shown_as(false), lines.join("\n") + "\n");
        assert_eq!(serde_json::from_str::<UploadDetails>(&shown_as(true)).unwrap(), details());
    }

    #[test]
    fn a_deletion_says_what_is_gone() {
        let gone = |json| {
            let mut out = Vec::new();
            let gone = serde_json::from_value(serde_json::json!({"deleted": "first", "bytes": 5})).unwrap();
            deleted(&mut out, json, &gone).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(gone(false), "deleted first, 5 bytes\n");
        assert_eq!(gone(true), "{\n  \"deleted\": \"first\",\n  \"bytes\": 5\n}\n");
    }

    #[test]
    fn totals_are_a_line_or_a_member_each() {
        let totals = |json| {
            let mut out = Vec::new();
            let mut numbers = Stats::default();
            (numbers.uploads, numbers.bytes) = (3, 17);
            stats(&mut out, json, &numbers).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = totals(false);
        assert!(
            text.starts_with("uploads     3\nfinished    0\n") && text.ends_with("free        unknown\n"),
            "{text}"
        );
        let document: Stats = serde_json::from_str(&totals(true)).unwrap();
        assert_eq!((document.uploads, document.bytes, document.free), (3, 17, None));
    }
}
