//! What a check of a store found, and what was done about it, written for people or as JSON.

use std::io::{self, Write};

use tus_mio_server::admin::FindingDocument;

use super::{deep::Deep, json::Json, table::shown};

/// What came of a check.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The format of the store.
    pub(crate) format: u64,
    /// How many uploads there are.
    pub(crate) uploads: u64,
    /// How many committed bytes they have.
    pub(crate) bytes: u64,
    /// What is wrong, or was.
    pub(crate) findings: Vec<FindingDocument>,
    /// What `--deep` has read.
    pub(crate) deep: Option<Deep>,
}

impl Verdict {
    /// Whether nothing is wrong any more.
    pub(crate) fn is_good(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> usize {
        self.findings.iter().filter(|finding| finding.remedy.is_none()).count()
    }

    /// Writes it to `out`.
    pub(crate) fn write(&self, out: impl Write, json: bool) -> io::Result<()> {
        if json { self.write_json(Json::new(out)) } else { self.write_text(out) }
    }

    fn write_text(&self, mut out: impl Write) -> io::Result<()> {
        for FindingDocument { text, remedy, .. } in &self.findings {
            let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            writeln!(out, "{}", shown(format!("{text}{remedy}").as_bytes()))?;
        }
        let count =
            |number: u64, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let size = format!("{}, {}", count(self.uploads, "upload"), count(self.bytes, "byte"));
        if let Some(Deep { compared, bytes, without }) = self.deep {
            let (read, bytes) = (count(compared, "upload"), count(bytes, "byte"));
            writeln!(out, "read: {read}, {bytes}; without a digest: {without}")?;
        }
        match (self.left(), self.findings.len()) {
            (0, 0) => writeln!(out, "ok: {size}")?,
            (0, mended) => writeln!(out, "ok: {mended} findings were mended in {size}")?,
            (left, all) if left == all => {
                writeln!(out, "not ok: {} in {size}", count(left as u64, "finding"))?
            }
            (left, all) => writeln!(out, "not ok: {left} of {all} findings are left in {size}")?,
        }
        out.flush()
    }

    fn write_json(&self, mut json: Json<impl Write>) -> io::Result<()> {
        json.begin('{')?;
        json.key("ok")?.boolean(self.is_good())?;
        json.key("format")?.number(self.format)?;
        json.key("uploads")?.number(self.uploads)?;
        json.key("bytes")?.number(self.bytes)?;
        if let Some(Deep { compared, bytes, without }) = self.deep {
            json.key("deep")?.begin('{')?;
            json.key("uploads")?.number(compared)?;
            json.key("bytes")?.number(bytes)?;
            json.key("without")?.number(without)?;
            json.end('}')?;
        }
        json.key("findings")?.begin('[')?;
        for finding in &self.findings {
            json.begin('{')?;
            json.key("kind")?.text(&finding.kind)?;
            json.key("id")?.text_or_null(finding.id.as_deref())?;
            json.key("path")?.text_or_null(finding.path.as_deref())?;
            json.key("text")?.text(&finding.text)?;
            json.key("remedy")?.text_or_null(finding.remedy.as_deref())?;
            json.end('}')?;
        }
        json.end(']')?;
        json.end('}')?;
        json.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_mio_server::admin::finding;
    use tus_proto::UploadId;
    use tus_redb::Finding;

    use super::*;

    fn verdict_as(json: bool, findings: Vec<Finding>) -> String {
        let mut out = Vec::new();
        let findings = findings.iter().map(finding).collect();
        Verdict { format: 4, uploads: 3, bytes: 1_012, findings, deep: None }.write(&mut out, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_verdict_tells_each_finding() {
        assert_eq!(verdict_as(false, Vec::new()), "ok: 3 uploads, 1012 bytes\n");
        let short = || {
            let (id, path) = (UploadId::new("first").unwrap(), "data/a\u{1b}b".into());
            vec![Finding::ShortFile { id, path, committed: 5, there: 4 }]
        };
        let text = short()[0].to_string();
        let expected = text.replace('\u{1b}', "\\u{1b}") + "\nnot ok: 1 finding in 3 uploads, 1012 bytes\n";
        assert_eq!(verdict_as(false, short()), expected);
        let expected = serde_json::json!({
            "ok": false, "format": 4, "uploads": 3, "bytes": 1012,
            "findings": [{"kind": "short-file", "id": "first", "path": "data/a\u{1b}b", "text": text, "remedy": null}],
        });
        let document = verdict_as(true, short());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap(), expected);
        let fine = "{\n  \"ok\": true,\n  \"format\": 4,\n  \"uploads\": 3,\n  \"bytes\": 1012,\n  \"findings\": []\n}\n";
        assert_eq!(verdict_as(true, Vec::new()), fine);
    }
}
