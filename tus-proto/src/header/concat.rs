//! `Upload-Concat`: what an upload is in a concatenation, and of which parts a final is made.

use alloc::{format, string::String, vec::Vec};

use super::single;
use crate::{Config, ErrorCode, Head, UploadId};

/// What `Upload-Concat` says of a new upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UploadConcat {
    /// It is a part.
    Partial,
    /// It is made of these, in this order.
    Final {
        /// The value as it was sent.
        value: String,
        parts: Vec<UploadId>,
    },
}

impl UploadConcat {
    /// Reads the header, where there is one. A final of more parts than the limit is as malformed as one of none.
    pub(crate) fn of(head: &Head<'_>, config: &Config) -> Result<Option<Self>, ErrorCode> {
        let Some(value) = single(head, "Upload-Concat").map_err(|_| ErrorCode::InvalidConcat)? else {
            return Ok(None);
        };
        Self::parse(value, config).map(Some).ok_or(ErrorCode::InvalidConcat)
    }

    fn parse(value: &[u8], config: &Config) -> Option<Self> {
        if value == b"partial" {
            return Some(Self::Partial);
        }
        let value = core::str::from_utf8(value).ok()?;
        let blank = [' ', '\t'];
        let urls = value.strip_prefix("final")?.trim_start_matches(blank).strip_prefix(';')?;
        let urls = urls.split(blank).filter(|url| !url.is_empty());
        // One more than may be is enough to know.
        let (collection, max_parts) = (format!("{}/", config.base_path), config.max_parts);
        let parts = urls.take(max_parts.saturating_add(1)).map(|url| part(url, &collection, config));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let fits = (1..=max_parts).contains(&parts.len());
        fits.then(|| Self::Final { value: value.into(), parts })
    }
}

/// The upload that a URL names: what follows the last occurrence of the base path in the URL's path. Which host
/// it names, and what a proxy has put before the path, is not looked at: it is the client's view of this server.
fn part(url: &str, collection: &str, config: &Config) -> Option<UploadId> {
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let path = match url.split_once("//") {
        // A host might be called as the base path is.
        Some((scheme, rest)) if scheme.is_empty() || (scheme.ends_with(':') && !scheme.contains('/')) => {
            rest.get(rest.find('/')?..)?
        }
        _ => url,
    };
    // URLs that somebody has parted by commas would be a final that lacks parts.
    let (before, id) = path.rsplit_once(collection)?;
    if before.contains(',') { None } else { config.upload_id(id) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn config(base_path: &str) -> Config {
        let base_path = if base_path.is_empty() { "/" } else { base_path };
        Config::builder().base_path(base_path).max_parts(3).build().unwrap()
    }

    fn parts(base_path: &str, value: &str) -> Option<Vec<String>> {
        match UploadConcat::parse(value.as_bytes(), &config(base_path))? {
            UploadConcat::Partial => None,
            UploadConcat::Final { value: kept, parts } => {
                assert_eq!(kept, value);
                Some(parts.iter().map(ToString::to_string).collect())
            }
        }
    }

    #[test]
    fn each_url_names_the_id_behind_the_last_base_path() {
        for url in [
            "/files/a",
            "/proxy/prefix/files/a",
            "/files/files/a",
            "/files/x/files/a",
            "http://host/files/a",
            "https://other:8443/pre/files/a",
            "//host/files/a",
            "http://files/files/a",
            "/files/a?q=/files/b",
            "/files/a#/files/b",
            "http://host/x//files/a",
        ] {
            assert_eq!(parts("/files", &format!("final;{url}")), Some(["a".into()].into()), "{url}");
        }
        assert_eq!(parts("/files", "final;/files/files"), Some(["files".into()].into()));
        assert_eq!(parts("/a/b", "final;http://h/a/a/b/c"), Some(["c".into()].into()));
    }

    #[test]
    fn below_the_root_the_last_segment_is_the_id() {
        for url in ["/a", "http://h/a", "http://h/pre/a?x", "//h/a", "x/a"] {
            assert_eq!(parts("", &format!("final;{url}")), Some(["a".into()].into()), "{url}");
        }
        for url in ["a", "/", "http://a", "//a", "http://a?/b", "/a/"] {
            assert_eq!(parts("", &format!("final;{url}")), None, "{url}");
        }
    }

    #[test]
    fn blanks_and_repetitions_are_allowed_within_the_limit() {
        let three = Some(["a", "b", "a"].map(String::from).into());
        assert_eq!(parts("/files", "final; /files/a  \t/files/b /files/a "), three);
        assert_eq!(parts("/files", "final \t; /files/a /files/b /files/a"), three);
        assert_eq!(parts("/files", "final;/files/a /files/a /files/a /files/a"), None);
    }

    #[test]
    fn what_names_no_upload_is_malformed() {
        for value in [
            "",
            "final",
            "final;",
            "final; ",
            "Partial",
            "partial;",
            "partial /files/a",
            "/files/a",
            "final /files/a",
            "final;a",
            "final;files/a",
            "final;/files/",
            "final;/files",
            "final;/filesa",
            "final;/xfiles",
            "final;/files/a/",
            "final;/files/a/b",
            "final;/files/a,/files/b",
            "final;/files/%61",
            "final;http://files/a",
            "final;//files/a",
            "final;http://host",
            "final;/elsewhere/a",
            "final;/files/a /elsewhere/b",
            "final;/é/files/a",
        ] {
            assert_eq!(UploadConcat::parse(value.as_bytes(), &config("/files")), None, "{value:?}");
        }
        assert_eq!(UploadConcat::parse(b"final;/\xff/files/a", &config("/files")), None);
        assert_eq!(UploadConcat::parse(b"partial", &config("/files")), Some(UploadConcat::Partial));
    }
}
