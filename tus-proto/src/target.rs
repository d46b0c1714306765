//! Request targets, read in one place: who serves a path, who shows it to hooks, and the exchange must never
//! disagree on what it is.

/// What a request is for: its target, in one of the four forms of RFC 9112 section 3.2. Any text is one: what has
/// no other form is an authority, or meant to be.
///
/// ```
/// use tus_proto::Target;
/// let target = Target::of("http://example.org/files/a?b");
/// assert_eq!((target.path(), target.query()), ("/files/a", Some("b")));
/// assert_eq!(target.authority(), Some("example.org"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    form: TargetForm,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

/// The form of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/files/a?b`: what most requests have.
    Origin,
    /// `http://example.org/files/a?b`: what clients say to proxies. The authority counts, and not `Host` (section
    /// 3.2.2).
    Absolute,
    /// `example.org:80`: of CONNECT.
    Authority,
    /// `*`: the server as a whole, of OPTIONS.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Reads a target as it was sent.
    pub fn of(text: &'a str) -> Self {
        if text == "*" {
            return Self { form: TargetForm::Asterisk, authority: None, path: text, query: None };
        }
        let (form, authority, rest) = if text.starts_with('/') {
            (TargetForm::Origin, None, text)
        } else if let Some((authority, rest)) = absolute(text) {
            (TargetForm::Absolute, Some(authority), rest)
        } else {
            return Self { form: TargetForm::Authority, authority: Some(text), path: "", query: None };
        };
        // No form has a fragment; where one has slipped through, it belongs to neither path nor query.
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // RFC 9110 section 4.2.3: an empty path is that of the root.
        let path = if path.is_empty() { "/" } else { path };
        Self { form, authority, path, query }
    }

    /// Its form.
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// Host and port, where the target names them itself.
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// The path: begins with a slash, but for `*`, and for an authority alone, which has none.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What is after the question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }
}

/// The authority of an absolute URL, and what follows it.
fn absolute(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        use TargetForm::*;
        for (text, form, authority, path, query) in [
            ("/", Origin, None, "/", None),
            ("/files/a", Origin, None, "/files/a", None),
            ("/files/a?b?c=/d", Origin, None, "/files/a", Some("b?c=/d")),
            ("/files?", Origin, None, "/files", Some("")),
            ("/a#b?c", Origin, None, "/a", None),
            ("//host/a", Origin, None, "//host/a", None),
            ("/http://host/a", Origin, None, "/http://host/a", None),
            ("/a?x=http://host/b", Origin, None, "/a", Some("x=http://host/b")),
            ("http://host/files/a?b", Absolute, Some("host"), "/files/a", Some("b")),
            ("HTTPS://host:8443/files", Absolute, Some("host:8443"), "/files", None),
            ("http://host", Absolute, Some("host"), "/", None),
            ("http://host?a=/b", Absolute, Some("host"), "/", Some("a=/b")),
            ("http://[::1]:80/a", Absolute, Some("[::1]:80"), "/a", None),
            ("http:///a", Absolute, Some(""), "/a", None),
            ("*", Asterisk, None, "*", None),
            ("host:80", Authority, Some("host:80"), "", None),
            ("ftp://host/a", Authority, Some("ftp://host/a"), "", None),
            ("files", Authority, Some("files"), "", None),
            ("?a://b", Authority, Some("?a://b"), "", None),
            ("", Authority, Some(""), "", None),
        ] {
            let target = Target::of(text);
            assert_eq!(
                (target.form(), target.authority(), target.path(), target.query()),
                (form, authority, path, query),
                "{text:?}"
            );
        }
    }
}
