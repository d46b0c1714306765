//! What header values mean, read slowly: one character after another, and nothing borrowed.

/// Standard Base64 with its padding (RFC 4648 section 4); `loose` where the last character's unused bits may be set.
pub(super) fn base64(text: &str, loose: bool) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.chars().rev().take_while(|c| *c == '=').count();
    if padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for c in text[..text.len() - padding].chars() {
        bits += &format!("{:06b}", ALPHABET.find(c)?);
    }
    let spare = bits.split_off(bits.len() / 8 * 8);
    if spare.contains('1') && !loose {
        return None;
    }
    let octets = bits.as_bytes().chunks(8);
    Some(octets.map(|octet| octet.iter().fold(0, |byte, bit| byte * 2 + (bit - b'0'))).collect())
}

/// A length or an offset: digits alone, up to 2^63 - 1.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let text = String::from_utf8(value.to_vec()).ok()?;
    if text.is_empty() || text.chars().any(|c| !c.is_ascii_digit()) {
        return None;
    }
    let digits = text.trim_start_matches('0');
    if digits.len() > 19 {
        return None;
    }
    let value: u128 = format!("0{digits}").parse().unwrap();
    (value < 1 << 63).then_some(value as u64)
}

/// Pairs of keys and decoded values of an `Upload-Metadata`; `None` if it is malformed.
pub(super) fn metadata(text: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    if text.is_empty() {
        return Some(pairs);
    }
    for pair in text.split(',') {
        let pair = pair.trim_matches([' ', '\t']).to_owned();
        let key: String = pair.chars().take_while(|c| *c != ' ').collect();
        let value = pair[key.len()..].trim_start_matches(' ');
        let visible = key.chars().all(|c| ('!'..='~').contains(&c));
        if key.is_empty() || !visible || pairs.iter().any(|(known, _)| *known == key) {
            return None;
        }
        pairs.push((key, base64(value, true)?));
    }
    Some(pairs)
}

pub(super) fn is_token(text: &str) -> bool {
    let special = "!#$%&'*+-.^_`|~";
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || special.contains(c))
}

/// The characters up to one of `stops` that is not within quotes, and what follows it. `None` if a quoted string
/// is not closed.
fn until(text: &str, stops: &str) -> Option<(String, String)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && stops.contains(c) => {
                return Some((text[..at].into(), text[at + c.len_utf8()..].into()));
            }
            _ => {}
        }
    }
    (!quoted).then(|| (text.into(), String::new()))
}

/// A token, or a quoted string without its quotes and escapes.
pub(super) fn word(text: &str) -> Option<String> {
    if is_token(text) {
        return Some(text.into());
    }
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let (mut word, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                word.push(c);
            }
            '\\' => escaped = true,
            '"' => return None,
            ' '..='~' | '\t' => word.push(c),
            _ => return None,
        }
    }
    (!escaped).then_some(word)
}

/// The parameters of the last element of a `Forwarded` (RFC 7239 section 4), names in lower case; `None` if it
/// is not well-formed.
pub(super) fn forwarded(value: &str) -> Option<Vec<(String, String)>> {
    let (mut rest, mut behind) = until(value, ",")?;
    if value.trim_end().ends_with(',') {
        return None;
    }
    while !behind.is_empty() {
        (rest, behind) = until(&behind, ",")?;
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (pair, more) = until(&rest, ";")?;
        let (name, value) = pair.trim().split_once('=')?;
        let name = name.to_ascii_lowercase();
        if !is_token(&name) || pairs.iter().any(|(known, _)| *known == name) {
            return None;
        }
        pairs.push((name, word(value)?));
        rest = more;
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// Whether this is `type "/" subtype` and parameters (RFC 9110 section 8.3.1), in ASCII.
pub(super) fn is_media_type(text: &str) -> bool {
    let Some((essence, mut rest)) = until(text, ";") else { return false };
    let typed = essence.trim_end_matches([' ', '\t']).split_once('/');
    let mut well_formed = typed.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    while !rest.is_empty() {
        let Some((parameter, more)) = until(&rest, ";") else { return false };
        let parameter = parameter.trim_matches([' ', '\t']);
        let named =
            parameter.split_once('=').is_some_and(|(name, value)| is_token(name) && word(value).is_some());
        well_formed &= parameter.is_empty() || named;
        rest = more;
    }
    well_formed
}

/// The entity tags of a list, quotes included, and whether each is a weak one; `None` if it is malformed.
pub(super) fn entity_tags(list: &[u8]) -> Option<Vec<(bool, Vec<u8>)>> {
    let mut rest = list.to_vec();
    let mut tags = Vec::new();
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    loop {
        while rest.first().is_some_and(|b| blank(b) || *b == b',') {
            rest.remove(0);
        }
        if rest.is_empty() {
            return Some(tags);
        }
        let weak = rest.starts_with(b"W/");
        rest.drain(..if weak { 2 } else { 0 });
        if rest.first() != Some(&b'"') {
            return None;
        }
        let end = rest.iter().skip(1).position(|b| *b == b'"')? + 2;
        tags.push((weak, rest.drain(..end).collect()));
        while rest.first().is_some_and(blank) {
            rest.remove(0);
        }
        if !rest.is_empty() && rest[0] != b',' {
            return None;
        }
    }
}

/// One range of `length` bytes, its first and the one after its last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// Nothing that is understood was asked for.
    None,
    Unsatisfiable,
    Part(u64, u64),
}

pub(super) fn range(value: &str, length: u64) -> Range {
    let Some((unit, set)) = value.split_once('=') else { return Range::None };
    let specs: Vec<&str> = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).collect();
    let specs: Vec<&str> = specs.into_iter().filter(|spec| !spec.is_empty()).collect();
    let position = |digits: &str| {
        let well_formed = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        // A position that has no room in 128 bits is behind everything.
        well_formed.then(|| digits.parse::<u128>().unwrap_or(u128::MAX - 1))
    };
    let (true, [spec]) = (unit.eq_ignore_ascii_case("bytes"), specs.as_slice()) else { return Range::None };
    let Some((first, last)) = spec.split_once('-') else { return Range::None };
    let length = u128::from(length);
    let (from, to) = match (first, position(first), last, position(last)) {
        // The end of nothing is all of it.
        ("", _, _, Some(count)) if count > 0 && length == 0 => return Range::None,
        ("", _, _, Some(count)) => (length.saturating_sub(count), length),
        (_, Some(first), "", _) => (first, length),
        (_, Some(first), _, Some(last)) if first <= last => (first, length.min(last + 1)),
        _ => return Range::None,
    };
    if from < to { Range::Part(from as u64, to as u64) } else { Range::Unsatisfiable }
}
