//! The page a newcomer sees at `/`: upload files from a browser, with nothing installed. It is an ordinary
//! tus client; the server treats it as any other. Its files are compiled in, so that the binary is all there is.

const NONCE: &str = "{{nonce}}";
const BASE_PATH: &str = "{{base_path}}";
const DOWNLOADS: &str = "{{downloads}}";
const PARTS: &str = "{{parts}}";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, Asset<'static>); 14] = [
    ("/page.css", Asset { content_type: CSS, body: include_str!("page.css") }),
    ("/page.js", Asset { content_type: JAVASCRIPT, body: include_str!("page.js") }),
    ("/upload.js", Asset { content_type: JAVASCRIPT, body: include_str!("upload.js") }),
    ("/transfer.js", Asset { content_type: JAVASCRIPT, body: include_str!("transfer.js") }),
    ("/problems.js", Asset { content_type: JAVASCRIPT, body: include_str!("problems.js") }),
    ("/tus.js", Asset { content_type: JAVASCRIPT, body: include_str!("tus.js") }),
    ("/memory.js", Asset { content_type: JAVASCRIPT, body: include_str!("memory.js") }),
    ("/words.js", Asset { content_type: JAVASCRIPT, body: include_str!("words.js") }),
    ("/list.js", Asset { content_type: JAVASCRIPT, body: include_str!("list.js") }),
    ("/rows.js", Asset { content_type: JAVASCRIPT, body: include_str!("rows.js") }),
    ("/folders.js", Asset { content_type: JAVASCRIPT, body: include_str!("folders.js") }),
    ("/lang-en.js", Asset { content_type: JAVASCRIPT, body: include_str!("lang-en.js") }),
    ("/lang-de.js", Asset { content_type: JAVASCRIPT, body: include_str!("lang-de.js") }),
    ("/lang-zh.js", Asset { content_type: JAVASCRIPT, body: include_str!("lang-zh.js") }),
];

/// What marks the page's own script and style in one answer: what lies at the same origin beside them, uploads above
/// all, is none of the page's, and no browser takes it for that.
#[derive(Clone, Debug)]
pub struct Nonce(String);

impl Nonce {
    /// Made of fresh random bytes.
    pub fn of(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The policy the page is written for: it loads what carries the nonce, and what that imports; nothing is inline,
    /// nobody frames it, and it talks to its own origin alone.
    pub fn policy(&self) -> String {
        let nonce = &self.0;
        format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }

    /// A file of the page, with the nonce where it belongs.
    pub fn fill(&self, body: &str) -> String {
        body.replace(NONCE, &self.0)
    }
}

/// The page for one collection.
#[derive(Clone, Debug)]
pub struct Page {
    html: String,
}

/// One file of the page, as it is answered to a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset<'a> {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The whole file.
    pub body: &'a str,
}

impl Page {
    /// The page that uploads to the collection at this path, in the form of [`tus_proto::Config::base_path`]: empty
    /// for the root. It shows links to downloads if the server has `downloads`, and may send a large file in `parts` if the
    /// server announces that it takes them.
    pub fn new(base_path: &str, downloads: bool, parts: bool) -> Self {
        let collection = if base_path.is_empty() { "/" } else { base_path };
        let on_or_off = |on| if on { "on" } else { "off" };
        let html = include_str!("index.html").replace(DOWNLOADS, on_or_off(downloads));
        let html = html.replace(PARTS, on_or_off(parts));
        Self { html: html.replace(BASE_PATH, &escaped(collection)) }
    }

    /// The file at this path of a request target, without its query; `None` if the page has no such file.
    pub fn asset(&self, path: &str) -> Option<Asset<'_>> {
        if path == "/" {
            return Some(Asset { content_type: HTML, body: &self.html });
        }
        FILES.iter().find(|(name, _)| *name == path).map(|&(_, asset)| asset)
    }
}

/// Text as it may stand in HTML, in an attribute's value too.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn html(base_path: &str) -> String {
        Nonce::of([7; 16]).fill(Page::new(base_path, false, true).asset("/").unwrap().body)
    }

    /// What stands between each occurrence of `before` and the quote that follows.
    fn quoted(text: &str, before: &str) -> Vec<String> {
        text.split(before).skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_collection_is_filled_in_and_escaped() {
        let meta = |path| quoted(&html(path), "name=\"tus-collection\" content=\"").remove(0);
        assert_eq!(meta("/files"), "/files");
        assert_eq!(meta(""), "/");
        assert_eq!(meta("/a\"><b c='&"), "/a&quot;&gt;&lt;b c=&#39;&amp;");
        assert!(!html("/files").contains("{{"));
    }

    #[test]
    fn the_page_knows_whether_there_are_downloads_and_parts() {
        let meta = |name: &str, downloads, parts| {
            let page = Page::new("", downloads, parts);
            quoted(page.asset("/").unwrap().body, &format!("name=\"tus-{name}\" content=\"")).remove(0)
        };
        assert_eq!((meta("downloads", true, false), meta("parts", true, false)), ("on".into(), "off".into()));
        assert_eq!((meta("downloads", false, true), meta("parts", false, true)), ("off".into(), "on".into()));
    }

    /// Each language has the same keys, and no other.
    #[test]
    fn the_languages_have_the_same_texts() {
        let keys = |path: &str| -> Vec<String> {
            let page = Page::new("/files", true, true);
            let lines = page.asset(path).unwrap().body.lines();
            let entries =
                lines.filter_map(|line| line.strip_prefix("  ")?.split_once(": ").map(|(key, _)| key));
            let is_key = |key: &&str| key.chars().all(|c| c.is_ascii_alphanumeric());
            // A long text may stand on the line after its key.
            let bare = page.asset(path).unwrap().body.lines();
            let bare = bare.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(" =>")?.split_once(": "));
            let all = entries.filter(is_key).chain(bare.map(|(key, _)| key));
            let mut all: Vec<_> = all.map(str::to_owned).collect();
            all.sort();
            all.dedup();
            all
        };
        let english = keys("/lang-en.js");
        assert!(english.len() > 70, "{english:?}");
        for language in ["/lang-de.js", "/lang-zh.js"] {
            assert_eq!(keys(language), english, "{language}");
        }
    }

    #[test]
    fn the_policy_names_what_the_page_loads_and_nothing_else() {
        let (html, policy) = (html("/files"), Nonce::of([7; 16]).policy());
        let nonce = "07".repeat(16);
        let marked = |tag: &str| quoted(&html, tag).iter().all(|rest| rest == &nonce);
        assert_eq!(html.matches("<script ").count(), html.matches("\" nonce=\"").count() - 1);
        assert!(marked(" nonce=\""), "{html}");
        let sources =
            policy.split("; ").filter(|rule| rule.starts_with("script") || rule.starts_with("style"));
        for rule in sources {
            assert_eq!(rule.split_once(' ').unwrap().1, format!("'nonce-{nonce}'"));
        }
        assert_eq!(policy.matches("'self'").count(), 1, "{policy}");
        assert!(
            policy.contains("connect-src 'self'") && policy.starts_with("default-src 'none'"),
            "{policy}"
        );
        assert_ne!(Nonce::of([8; 16]).policy(), policy);
    }

    #[test]
    fn nothing_is_inline() {
        let html = html("/files").to_lowercase();
        assert_eq!(html.matches("<script").count(), html.matches("></script>").count());
        assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("javascript:"));
        let handler = |word: &str| word.starts_with("on") && word.contains("=\"");
        assert!(!html.split_whitespace().any(handler));
    }

    #[test]
    fn whatever_the_page_refers_to_is_there() {
        let page = Page::new("/files", true, true);
        let html = html("/files");
        let mut paths = quoted(&html, "src=\"");
        paths.extend(quoted(&html, "<link rel=\"stylesheet\" href=\""));
        paths.extend(FILES.iter().flat_map(|(_, asset)| quoted(asset.body, " from '.")));
        assert!(paths.len() >= FILES.len(), "{paths:?}");
        for path in paths {
            assert!(page.asset(&path).is_some(), "{path}");
        }
    }

    #[test]
    fn each_file_has_its_type_and_others_are_not_there() {
        let page = Page::new("/files", true, true);
        let content_type = |path| page.asset(path).map(|asset| asset.content_type);
        assert_eq!(content_type("/"), Some("text/html; charset=utf-8"));
        assert_eq!(content_type("/page.css"), Some("text/css; charset=utf-8"));
        assert_eq!(content_type("/page.js"), Some("text/javascript; charset=utf-8"));
        for path in ["", "/index.html", "/page.js/", "page.js", "/PAGE.JS", "/files", "/../page.js"] {
            assert_eq!(content_type(path), None, "{path:?}");
        }
    }
}
