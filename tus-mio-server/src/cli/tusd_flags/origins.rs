//! tusd's `-cors-allow-origin` is a regular expression; ours is a list of origins. The expressions that people write for
//! lists are translated, and no other: one that was translated too widely would let strange pages in.

/// The origins that an expression means, separated by commas; or why there is no such list.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    if ["", ".*", "^.*$", ".+", "*"].contains(&pattern) {
        return Ok("*".into());
    }
    let mut inner = pattern.strip_prefix('^').unwrap_or(pattern);
    inner = inner.strip_suffix('$').unwrap_or(inner);
    let grouped = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let list: Option<Vec<_>> = grouped.unwrap_or(inner).split('|').map(literal).collect();
    list.map(|list| list.join(",")).ok_or_else(|| {
        "it is a regular expression: name the origins, separated by |, or give --cors-allow-origin before --tusd-flags \
         and leave it out"
            .into()
    })
}

/// An origin that is written as an expression. A dot that is not escaped is meant as one.
fn literal(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    let mut text = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|c| ['.', '/', '-', ':'].contains(c))?),
            '.' if chars.peek().is_some_and(|next| ['*', '+', '?', '{'].contains(next)) => return None,
            c if c.is_ascii_alphanumeric() || ".-:/".contains(c) => text.push(c),
            _ => return None,
        }
    }
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"))?;
    (!host.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn lists_are_translated_and_nothing_wider() {
        for (pattern, origins) in [
            (".*", "*"),
            ("https://example.org", "https://example.org"),
            (r"^https://example\.org$", "https://example.org"),
            (r"^(https://a\.example|http://localhost:3000)$", "https://a.example,http://localhost:3000"),
            (r"^https:\/\/a\.example$|^https://b.example$", "https://a.example,https://b.example"),
        ] {
            assert_eq!(translate(pattern).as_deref(), Ok(origins), "{pattern}");
        }
        for pattern in [
            r"https://.*\.example\.org",
            "https?://example.org",
            "example.org",
            "https://[ab].example",
            "(?i)https://a.example",
            r"https://a\d.example",
            "https://",
            r"^https://(a|b)\.example$",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
