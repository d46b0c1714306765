//! What a request must come to, by the slow and obvious reading of its head: each rule looks at the head by itself,
//! and all that is wrong with it is collected.

use tus_proto::{ErrorCode, Framing};

use super::{
    rules::{BASE, BASE_URL, Rules, Sent},
    text,
};

/// What the head asks for.
#[derive(Debug)]
pub(super) enum Wanted {
    Options,
    /// It must be rejected, with one of these codes.
    Nothing(Vec<ErrorCode>),
    Create(Creation),
    Concat {
        parts: Vec<String>,
        metadata: String,
        value: String,
    },
    Look(String),
    Delete(String),
    Download(String),
    Write(Write),
}

#[derive(Debug)]
pub(super) struct Creation {
    pub(super) length: Option<u64>,
    pub(super) metadata: String,
    pub(super) partial: bool,
    /// The body is the upload's first bytes.
    pub(super) with_upload: bool,
    pub(super) algorithm: Option<String>,
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: String,
    pub(super) offset: u64,
    pub(super) length: Option<u64>,
    pub(super) algorithm: Option<String>,
}

/// The path, the method and the rest, in this order (the order of the checks).
pub(super) fn wanted(rules: &Rules, sent: &Sent) -> Wanted {
    let place = match place(&sent.target) {
        Ok(place) => place,
        Err(code) => return Wanted::Nothing(vec![code]),
    };
    let Some(method) = method(rules, sent) else {
        return Wanted::Nothing(vec![ErrorCode::InvalidMethodOverride]);
    };
    if method == "OPTIONS" {
        return Wanted::Options;
    }
    // What a GET would be answered is asked by a HEAD that says nothing of tus.
    let of_get = method == "HEAD" && rules.downloads && sent.values("Tus-Resumable").is_empty();
    let method = if of_get { "GET".into() } else { method };
    if method != "GET" && sent.distinct("Tus-Resumable") != [b"1.0.0"] {
        return Wanted::Nothing(vec![ErrorCode::UnsupportedVersion]);
    }
    if !allowed(rules, &place).contains(&method.as_str()) {
        return Wanted::Nothing(vec![ErrorCode::MethodNotAllowed]);
    }
    let mut wrong = Vec::new();
    let expectations = sent.values("Expect").concat_list();
    if expectations.iter().any(|value| !value.eq_ignore_ascii_case("100-continue")) {
        wrong.push(ErrorCode::ExpectationFailed);
    }
    let wanted = match (place, method.as_str()) {
        (Place::Upload(id), "HEAD") => Wanted::Look(id),
        (Place::Upload(id), "DELETE") => Wanted::Delete(id),
        (Place::Upload(id), "GET") => Wanted::Download(id),
        (Place::Upload(id), _) => Wanted::Write(write(rules, sent, id, &mut wrong)),
        _ => post(rules, sent, &mut wrong),
    };
    if wrong.is_empty() { limited(rules, sent, wanted) } else { Wanted::Nothing(wrong) }
}

/// What the target names.
enum Place {
    Server,
    Collection,
    Upload(String),
}

fn place(target: &str) -> Result<Place, ErrorCode> {
    if target == "*" {
        return Ok(Place::Server);
    }
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let mut path = target[..end].to_owned();
    let scheme = |at: &usize| ["http", "https"].contains(&path[..*at].to_ascii_lowercase().as_str());
    if let Some(at) = path.find("://").filter(scheme) {
        let rest = path.split_off(at + 3);
        path = rest.find('/').map_or("/".into(), |slash| rest[slash..].into());
    }
    match path.strip_prefix(BASE) {
        Some("" | "/") => Ok(Place::Collection),
        Some(rest) if rest.starts_with('/') => match is_id(&rest[1..]) {
            true => Ok(Place::Upload(rest[1..].into())),
            false => Err(ErrorCode::UploadNotFound),
        },
        _ => Err(ErrorCode::NotFound),
    }
}

fn is_id(text: &str) -> bool {
    let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    (1..=128).contains(&text.len()) && text.chars().all(|c| allowed.contains(c))
}

/// The method that counts; `None` if the override can't be one.
pub(super) fn method(rules: &Rules, sent: &Sent) -> Option<String> {
    let heeded = if rules.any_override { sent.method != "OPTIONS" } else { sent.method == "POST" };
    match sent.distinct("X-HTTP-Method-Override").as_slice() {
        [value] if heeded => {
            let name = String::from_utf8(value.to_vec()).ok().filter(|name| text::is_token(name))?;
            Some(name.to_ascii_uppercase())
        }
        [_, _, ..] if heeded => None,
        _ => Some(sent.method.clone()),
    }
}

fn allowed(rules: &Rules, place: &Place) -> Vec<&'static str> {
    match place {
        Place::Server => vec![],
        Place::Collection => vec!["POST"],
        Place::Upload(_) => {
            let mut methods = vec!["HEAD", "PATCH"];
            methods.extend(rules.downloads.then_some("GET"));
            methods.extend(rules.termination.then_some("DELETE"));
            methods
        }
    }
}

/// What `Allow` must name, beside OPTIONS.
pub(super) fn allow(rules: &Rules, target: &str) -> Vec<&'static str> {
    place(target).map(|place| allowed(rules, &place)).unwrap_or_default()
}

/// The members of a list over all lines of a field, without empty ones.
trait ConcatList {
    fn concat_list(&self) -> Vec<String>;
}

impl ConcatList for Vec<&[u8]> {
    fn concat_list(&self) -> Vec<String> {
        let all = self.join(&b","[..]);
        let members =
            all.split(|byte| *byte == b',').map(|member| String::from_utf8_lossy(member).trim().into());
        members.filter(|member: &String| !member.is_empty()).collect()
    }
}

fn post(rules: &Rules, sent: &Sent, wrong: &mut Vec<ErrorCode>) -> Wanted {
    let concat = sent.distinct("Upload-Concat");
    if !concat.is_empty() && !rules.concatenation {
        wrong.push(ErrorCode::ConcatenationUnsupported);
        return Wanted::Options;
    }
    let metadata = metadata(sent, wrong);
    match concat.as_slice() {
        [] | [b"partial"] => {
            let length = upload_length(sent, wrong);
            match (sent.distinct("Upload-Defer-Length").as_slice(), sent.values("Upload-Length").is_empty()) {
                ([], true) => wrong.push(ErrorCode::InvalidUploadLength),
                ([], false) | ([b"1"], true) => {}
                ([b"1"], false) => wrong.push(ErrorCode::AmbiguousUploadLength),
                _ => wrong.push(ErrorCode::InvalidUploadLengthDefer),
            }
            let with_upload = sent.framing != Framing::Length(0) && is_upload_type(sent);
            let algorithm = if with_upload { algorithm(rules, sent, wrong) } else { None };
            Wanted::Create(Creation { length, metadata, partial: !concat.is_empty(), with_upload, algorithm })
        }
        [value] => match parts(rules, value) {
            Some(parts) => {
                let value = String::from_utf8_lossy(value).into_owned();
                Wanted::Concat { parts, metadata, value }
            }
            None => {
                wrong.push(ErrorCode::InvalidConcat);
                Wanted::Options
            }
        },
        _ => {
            wrong.push(ErrorCode::InvalidConcat);
            Wanted::Options
        }
    }
}

fn write(rules: &Rules, sent: &Sent, id: String, wrong: &mut Vec<ErrorCode>) -> Write {
    if !is_upload_type(sent) {
        wrong.push(ErrorCode::InvalidContentType);
    }
    let offset = match sent.distinct("Upload-Offset").as_slice() {
        [value] => text::number(value),
        _ => None,
    };
    if offset.is_none() {
        wrong.push(ErrorCode::InvalidOffset);
    }
    let length = upload_length(sent, wrong);
    let algorithm = algorithm(rules, sent, wrong);
    Write { id, offset: offset.unwrap_or(0), length, algorithm }
}

fn is_upload_type(sent: &Sent) -> bool {
    match sent.distinct("Content-Type").as_slice() {
        [value] => {
            let text = String::from_utf8_lossy(value).to_ascii_lowercase();
            text.split(';').next().unwrap().trim() == "application/offset+octet-stream"
        }
        _ => false,
    }
}

fn upload_length(sent: &Sent, wrong: &mut Vec<ErrorCode>) -> Option<u64> {
    let length = match sent.distinct("Upload-Length").as_slice() {
        [] => return None,
        [value] => text::number(value),
        _ => None,
    };
    if length.is_none() {
        wrong.push(ErrorCode::InvalidUploadLength);
    }
    length
}

fn metadata(sent: &Sent, wrong: &mut Vec<ErrorCode>) -> String {
    let lines: Vec<&[u8]> =
        sent.values("Upload-Metadata").into_iter().filter(|line| !line.is_empty()).collect();
    let joined = lines.join(&b", "[..]);
    if joined.len() > 4096 {
        wrong.push(ErrorCode::MetadataTooLarge);
    }
    let metadata = String::from_utf8(joined).ok().filter(|joined| text::metadata(joined).is_some());
    if metadata.is_none() {
        wrong.push(ErrorCode::InvalidMetadata);
    }
    metadata.unwrap_or_default()
}

/// The algorithm of the body's checksum, where its header has one.
fn algorithm(rules: &Rules, sent: &Sent, wrong: &mut Vec<ErrorCode>) -> Option<String> {
    let announced = sent.values("Trailer").concat_list();
    let announced = announced.iter().any(|name| name.eq_ignore_ascii_case("Upload-Checksum"));
    if announced && sent.framing == Framing::Chunked && !rules.checksums {
        wrong.push(ErrorCode::UnsupportedChecksum);
    }
    let values = sent.distinct("Upload-Checksum");
    let [value] = values.as_slice() else {
        if !values.is_empty() {
            wrong.push(ErrorCode::InvalidChecksum);
        }
        return None;
    };
    let text = String::from_utf8(value.to_vec()).unwrap_or_default();
    let Some((name, digest)) = text.split_once(' ') else {
        wrong.push(ErrorCode::InvalidChecksum);
        return None;
    };
    if !rules.checksums || !["sha1", "sha256", "sha512", "md5"].contains(&name) {
        wrong.push(ErrorCode::UnsupportedChecksum);
    }
    // No algorithm makes one longer than 64 bytes.
    let digest = text::base64(digest.trim_matches(' '), false);
    if digest.is_none_or(|digest| digest.is_empty() || digest.len() > 64) {
        wrong.push(ErrorCode::InvalidChecksum);
    }
    Some(name.into())
}

/// The ids of a final's parts.
fn parts(rules: &Rules, value: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8(value.to_vec()).ok()?;
    let text = text.replace('\t', " ");
    let urls = text.strip_prefix("final")?.trim_start_matches(' ').strip_prefix(';')?;
    let parts: Option<Vec<String>> = urls.split(' ').filter(|url| !url.is_empty()).map(part).collect();
    parts.filter(|parts| !parts.is_empty() && parts.len() <= rules.max_parts)
}

fn part(url: &str) -> Option<String> {
    if url.chars().any(|c| !('!'..='~').contains(&c)) {
        return None;
    }
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let has_scheme = url.find("://").is_some_and(|at| !url[..at].contains('/'));
    let authority = match has_scheme {
        true => url.find("://").map(|at| at + 3),
        false => url.starts_with("//").then_some(2),
    };
    let path = match authority {
        Some(at) => &url[at + url[at..].find('/')?..],
        None => url,
    };
    let id = path.rfind("/files/").map(|at| at + "/files/".len())?;
    let well_formed = is_id(&path[id..]) && !path[..id].contains(',');
    well_formed.then(|| path[id..].into())
}

/// The limits, which need the typed values; the final that may have no body.
fn limited(rules: &Rules, sent: &Sent, wanted: Wanted) -> Wanted {
    let mut wrong = Vec::new();
    match &wanted {
        Wanted::Create(creation) => {
            if creation.length.zip(rules.max_size).is_some_and(|(length, max)| length > max) {
                wrong.push(ErrorCode::MaxSizeExceeded);
            }
            if creation.with_upload {
                wrong.extend(too_long(rules, sent, 0, creation.length));
            }
        }
        Wanted::Concat { .. } if sent.framing != Framing::Length(0) => wrong.push(ErrorCode::ModifyFinal),
        _ => {}
    }
    if wrong.is_empty() { wanted } else { Wanted::Nothing(wrong) }
}

/// What a body of a known length can be too long for.
pub(super) fn too_long(rules: &Rules, sent: &Sent, at: u64, length: Option<u64>) -> Vec<ErrorCode> {
    let Framing::Length(body) = sent.framing else { return Vec::new() };
    let mut wrong = Vec::new();
    if length.is_some_and(|length| body > length.saturating_sub(at)) {
        wrong.push(ErrorCode::UploadSizeExceeded);
    }
    if length.is_none() && body > rules.max_size.unwrap_or(u64::MAX >> 1).saturating_sub(at) {
        wrong.push(ErrorCode::MaxSizeExceeded);
    }
    if rules.max_chunk_size.is_some_and(|max| body > max) {
        wrong.push(ErrorCode::ChunkSizeExceeded);
    }
    wrong
}

/// How many bytes a body may have that begins at `at`.
pub(super) fn room(rules: &Rules, at: u64, length: Option<u64>) -> u64 {
    let size = length.or(rules.max_size).unwrap_or(u64::MAX >> 1).saturating_sub(at);
    size.min(rules.max_chunk_size.unwrap_or(u64::MAX))
}

/// What `Location` has before the id; `None` if the head is too malformed to say.
pub(super) fn location(rules: &Rules, sent: &Sent) -> Option<String> {
    if rules.base_url {
        return Some(format!("{BASE_URL}/"));
    }
    let shows = |name: &str| {
        let name = name.to_lowercase();
        ["forwarded", "via", "x-real-ip", "origin"].contains(&name.as_str())
            || name.starts_with("x-forwarded-")
            || name.starts_with("sec-fetch-")
    };
    let origin = match rules.behind_proxy {
        true => origin(rules, sent)?,
        false if !sent.direct || sent.fields.iter().any(|(name, _)| shows(name)) => None,
        false => host(sent).map(|host| url(own_scheme(sent), host)),
    };
    Some(format!("{}{BASE}/", origin.unwrap_or_default()))
}

type Host = (String, Option<u64>);

/// The last member of the last line of a list.
fn last(sent: &Sent, name: &str) -> Option<String> {
    let line = String::from_utf8(sent.values(name).last()?.to_vec()).ok()?;
    Some(line.split(',').next_back().unwrap().trim().to_owned())
}

fn own_scheme(sent: &Sent) -> &'static str {
    if sent.secure { "https" } else { "http" }
}

fn host(sent: &Sent) -> Option<Host> {
    let absolute = sent.target.split_once("://").filter(|_| !sent.target.starts_with('/'));
    match absolute {
        Some((_, rest)) => authority(rest.split(['/', '?', '#']).next().unwrap()),
        None => authority(str::from_utf8(sent.values("Host").last()?).ok()?),
    }
}

fn url(scheme: &str, (host, port): Host) -> String {
    let known = [("https", Some(443)), ("http", Some(80))];
    match port {
        Some(number) if !known.contains(&(scheme, port)) => format!("{scheme}://{host}:{number}"),
        _ => format!("{scheme}://{host}"),
    }
}

fn origin(rules: &Rules, sent: &Sent) -> Option<Option<String>> {
    let (scheme, told) = if rules.forwarded {
        let pairs = match sent.values("Forwarded").last() {
            // Escapes are nowhere needed in what is read here.
            Some(line) if line.contains(&b'\\') => return None,
            Some(line) => text::forwarded(str::from_utf8(line).ok()?)?,
            None => Vec::new(),
        };
        let of = |name| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        (of("proto"), of("host").as_deref().and_then(authority))
    } else {
        let told = last(sent, "X-Forwarded-Host").as_deref().and_then(authority);
        let port = last(sent, "X-Forwarded-Port").as_deref().and_then(port_number);
        (last(sent, "X-Forwarded-Proto"), told.map(|(host, known)| (host, known.or(port))))
    };
    let scheme = scheme.map(|scheme| scheme.to_ascii_lowercase());
    let scheme = scheme.filter(|scheme| ["http", "https"].contains(&scheme.as_str()));
    let scheme = scheme.as_deref().unwrap_or(own_scheme(sent));
    Some(told.or_else(|| host(sent)).map(|host| url(scheme, host)))
}

fn authority(text: &str) -> Option<(String, Option<u64>)> {
    let close = text.find(']').map_or(0, |at| at + 1);
    let colon = text[close..].find(':').map_or(text.len(), |at| close + at);
    let host = text[..colon].to_owned();
    let well_formed = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
        }
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let port = match text[colon..].strip_prefix(':') {
        Some(port) => Some(port_number(port)?),
        None => None,
    };
    well_formed.then_some((host, port))
}

fn port_number(text: &str) -> Option<u64> {
    text::number(text.as_bytes()).filter(|port| (1..65536).contains(port))
}
