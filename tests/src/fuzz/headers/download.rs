//! GET: which bytes are sent, under which name and type, by the slow reading of its head and of the metadata.

use tus_proto::{Body, Record, Response};

use super::{
    rules::Sent,
    text::{self, Range},
};

/// What must come of a GET.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    /// 412
    Failed,
    /// 304
    NotModified,
    Ranged(Range),
}

/// `told` is the body that carries this of the upload.
pub(super) fn check(
    sent: &Sent,
    record: &Record,
    tag: &str,
    response: &Response,
    told: impl Fn(u64, u64) -> Body,
) {
    let status = response.status();
    let ranged = response.header("Content-Range").map(ToOwned::to_owned);
    let length = record.offset;
    match (selection(sent, tag, length), response.content()) {
        (Some(Selection::Failed), _) => assert_eq!(status, 412),
        (Some(Selection::NotModified), body) => assert!(status == 304 && body.is_empty()),
        (Some(Selection::Ranged(Range::None)), body) => {
            assert_eq!((status, body, ranged), (200, &told(0, length), None));
        }
        (Some(Selection::Ranged(Range::Unsatisfiable)), _) => {
            assert_eq!((status, ranged), (416, Some(format!("bytes */{length}"))));
        }
        (Some(Selection::Ranged(Range::Part(from, to))), body) => {
            let range = format!("bytes {from}-{}/{length}", to - 1);
            assert_eq!((status, body, ranged), (206, &told(from, to), Some(range)));
        }
        (None, _) => assert!([200, 206, 304, 412, 416].contains(&status)),
    }
    if [200, 206].contains(&status) {
        described(record, response);
    }
}

/// None where a list of entity tags is malformed: how much of it is read is not for this to say.
fn selection(sent: &Sent, tag: &str, length: u64) -> Option<Selection> {
    let strong = |list: &[u8]| names(list, |weak, this| !weak && this == tag.as_bytes());
    let any = |list: &[u8]| names(list, |_, this| this == tag.as_bytes());
    let list = |name| Some(sent.values(name).join(&b", "[..])).filter(|_| !sent.values(name).is_empty());
    if list("If-Match").is_some_and(|list| strong(&list) == Some(false)) {
        return Some(Selection::Failed);
    }
    if list("If-Match").is_some_and(|list| strong(&list).is_none()) {
        return None;
    }
    match list("If-None-Match").map(|list| any(&list)) {
        Some(None) => return None,
        Some(Some(true)) => return Some(Selection::NotModified),
        Some(Some(false)) | None => {}
    }
    let current = match sent.distinct("If-Range").as_slice() {
        [] => true,
        [validator] => *validator == tag.as_bytes(),
        _ => false,
    };
    let range = match sent.distinct("Range").as_slice() {
        [value] if current => str::from_utf8(value).map_or(Range::None, |value| text::range(value, length)),
        _ => Range::None,
    };
    Some(Selection::Ranged(range))
}

fn names(list: &[u8], is_this: impl Fn(bool, &[u8]) -> bool) -> Option<bool> {
    if list.trim_ascii() == b"*" {
        return Some(true);
    }
    Some(text::entity_tags(list)?.iter().any(|(weak, this)| is_this(*weak, this)))
}

/// The type and the name are those of the metadata where they are harmless.
fn described(record: &Record, response: &Response) {
    let metadata = text::metadata(&record.metadata).unwrap();
    let value = |key: &str| {
        let (_, value) = metadata.iter().find(|(known, _)| known == key)?;
        String::from_utf8(value.clone()).ok()
    };
    let harmless = |text: &String| !text.to_ascii_lowercase().starts_with("multipart/");
    let media_type = value("filetype").filter(|text| text::is_media_type(text)).filter(harmless);
    let media_type = media_type.unwrap_or("application/octet-stream".into());
    assert_eq!(response.header("Content-Type"), Some(media_type.as_str()));
    let disposition = response.header("Content-Disposition").unwrap();
    let name = value("filename").or_else(|| value("name")).and_then(|name| safe(&name));
    assert_eq!(saved_as(disposition), name, "{disposition:?}");
}

/// The name without what could lead out of a directory or fool a reader; `None` if nothing is left.
fn safe(name: &str) -> Option<String> {
    let last = name.split(['/', '\\']).next_back().unwrap();
    let directional =
        "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let seen: String = last.chars().filter(|c| !c.is_control() && !directional.contains(*c)).collect();
    let seen = seen.trim().to_owned();
    (!["", ".", ".."].contains(&seen.as_str())).then_some(seen)
}

/// Under which name a browser saves it, by RFC 6266 and RFC 8187.
fn saved_as(disposition: &str) -> Option<String> {
    let rest = disposition.strip_prefix("attachment").unwrap();
    if rest.is_empty() {
        return None;
    }
    let (plain, full) = rest.split_once("; filename*=UTF-8''").map_or((rest, None), |(a, b)| (a, Some(b)));
    let quoted = plain.strip_prefix("; filename=").unwrap();
    let plain = text::word(quoted).filter(|_| quoted.starts_with('"')).unwrap();
    assert!(!plain.contains(['/', '\\', '%']), "{disposition:?}");
    let Some(full) = full else { return Some(plain) };
    let (mut bytes, mut rest) = (Vec::new(), full.chars());
    while let Some(c) = rest.next() {
        if c == '%' {
            let digits: String = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            assert!(c.is_ascii_alphanumeric() || "!#$&+-.^_`|~".contains(c), "{disposition:?}");
            bytes.push(c as u8);
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}
