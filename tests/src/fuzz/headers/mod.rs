//! Heads, well-formed by RFC 9112 and otherwise any: what an exchange makes of one must be what the slow reading of
//! it says, and what it tells of an upload must be what it was told.

use std::sync::Arc;

use tus_proto::{
    AppendEnd, Body, Command, Completion, Concat, Cut, Exchange, Fence, Framing, Input, Instant, LockCall,
    LockReply, Now, OpId, Output, Record, Response, UploadId, WallTime,
};

use reference::{Creation, Wanted, Write};
use rules::{Rules, Sent};

mod download;
mod reference;
mod rules;
mod text;

const NOW: Now = Now {
    monotonic: Instant::from_micros(0),
    wall: WallTime::from_micros(0),
    date: WallTime::from_micros(0),
};

/// Reads a head, and sees that the exchange reads it in the same way.
///
/// # Panics
/// If it does not: that is the finding.
pub fn headers(data: &[u8]) {
    let Some((rules, sent)) = Sent::parse(data) else { return };
    let wanted = reference::wanted(&rules, &sent);
    Case { rules, exchange: exchange(&rules, &sent), sent }.check(wanted);
}

fn exchange(rules: &Rules, sent: &Sent) -> Exchange {
    sent.look(|head| Exchange::new(Arc::new(rules.config()), head, [0; 10], NOW))
}

struct Case {
    rules: Rules,
    sent: Sent,
    exchange: Exchange,
}

impl Case {
    fn check(mut self, wanted: Wanted) {
        match wanted {
            Wanted::Options => {
                let response = self.responds();
                assert!(response.status() == 204 && response.header("Tus-Version") == Some("1.0.0"));
            }
            Wanted::Nothing(codes) => self.refused(&codes),
            Wanted::Create(creation) => self.creation(&creation),
            Wanted::Concat { parts, metadata, value } => self.concatenation(&parts, metadata, value),
            Wanted::Write(write) => self.write(&write),
            Wanted::Download(id) => self.download(&id),
            Wanted::Look(id) => {
                let (_, call) = self.locks();
                assert!(matches!(&call, LockCall::Checkpoint { key } if key.as_str() == id), "{call:?}");
            }
            Wanted::Delete(id) => {
                let command = self.stores(Completion::Missing);
                assert!(matches!(&command, Command::Load { id: loaded } if loaded.as_str() == id));
                assert_eq!(self.responds().status(), 404);
            }
        }
    }

    fn refused(&mut self, codes: &[tus_proto::ErrorCode]) {
        let response = self.responds();
        let to_head = self.is_head();
        let told = |code: &tus_proto::ErrorCode| {
            let text = if to_head && response.body().is_empty() { code.name() } else { response.body() };
            response.status() == code.status() && text.starts_with(code.name())
        };
        assert!(codes.iter().any(told), "{response:?} instead of {codes:?} for {:?}", self.sent);
        if response.status() == 405 {
            let mut told: Vec<_> = response.header("Allow").unwrap().split(", ").collect();
            let mut allowed = reference::allow(&self.rules, &self.sent.target);
            allowed.push("OPTIONS");
            told.sort_unstable();
            allowed.sort_unstable();
            assert_eq!(told, allowed);
        }
    }

    fn creation(&mut self, creation: &Creation) {
        let command = self.stores(Completion::Created);
        let Command::Create { record, .. } = command else { panic!("{command:?} for {:?}", self.sent) };
        let concat = creation.partial.then_some(Concat::Partial);
        assert_eq!((record.offset, record.length, &record.concat), (0, creation.length, &concat));
        assert_eq!(record.metadata, creation.metadata);
        if creation.with_upload {
            self.receives(&record.id, 0, creation.length, creation.algorithm.as_deref());
        }
        let response = self.responds();
        assert!(creation.with_upload || response.status() == 201);
        self.located(&response, &record);
        self.told(&record);
    }

    fn concatenation(&mut self, parts: &[String], metadata: String, value: String) {
        let (op, command) = self.store();
        let Command::Concat { record, parts: found, max, .. } = command else { panic!("{command:?}") };
        assert!(found.iter().map(UploadId::as_str).eq(parts.iter().map(String::as_str)), "{found:?}");
        assert_eq!((&record.metadata, &record.concat), (&metadata, &Some(Concat::Final(value))));
        assert_eq!(max, self.rules.max_size);
        self.exchange.handle(NOW, Input::Store(op, Completion::Concatenated(record.clone())));
        let response = self.responds();
        assert_eq!(response.status(), 201);
        self.located(&response, &record);
        self.told(&record);
    }

    /// `Location` is as the reference has it, and may be named as a part.
    fn located(&self, response: &Response, record: &Record) {
        let location = response.header("Location").unwrap();
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
        match reference::location(&self.rules, &self.sent) {
            Some(prefix) => assert_eq!(location, format!("{prefix}{}", record.id), "{:?}", self.sent),
            None => assert!(location.ends_with(&format!("{}/{}", rules::BASE, record.id))),
        }
        if self.rules.base_url {
            // That address is of another path: a proxy leads from there to here.
            return;
        }
        let rules = Rules { concatenation: true, ..self.rules };
        let fields = [("Tus-Resumable", "1.0.0"), ("Upload-Concat", &format!("final;{location}"))];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        let (method, target) = ("POST".into(), rules::BASE.into());
        let framing = Framing::Length(0);
        let sent = Sent { method, target, framing, fields, secure: false, direct: false };
        let mut case = Self { rules, exchange: exchange(&rules, &sent), sent };
        let (_, command) = case.store();
        assert!(matches!(&command, Command::Concat { parts, .. } if *parts == [record.id.clone()]));
    }

    /// A HEAD tells the record as it was made.
    fn told(&self, record: &Record) {
        let fields = vec![("Tus-Resumable".to_owned(), b"1.0.0".to_vec())];
        let target = format!("{}/{}", rules::BASE, record.id);
        let (method, framing) = ("HEAD".into(), Framing::Length(0));
        let sent = Sent { method, target, framing, fields, secure: false, direct: false };
        let mut case = Self { rules: self.rules, exchange: exchange(&self.rules, &sent), sent };
        let (op, _) = case.locks();
        case.exchange.handle(NOW, Input::Lock(op, LockReply::Checkpointed));
        case.stores(Completion::Loaded(record.clone()));
        let response = case.responds();
        assert_eq!(response.header("Upload-Metadata").unwrap_or(""), record.metadata);
        assert_eq!(response.header("Upload-Length"), record.length.map(|n| n.to_string()).as_deref());
        let concat = match &record.concat {
            Some(Concat::Partial) => Some("partial"),
            Some(Concat::Final(value)) => Some(value.as_str()),
            None => None,
        };
        assert_eq!(response.header("Upload-Concat"), concat);
    }

    fn write(&mut self, write: &Write) {
        let id = UploadId::new(&write.id).unwrap();
        let record = record(&id, write.offset, None, String::new());
        let command = self.stores(Completion::Loaded(record.clone()));
        assert!(matches!(&command, Command::Load { id: loaded } if *loaded == id), "{:?}", self.sent);
        let body = if let Framing::Length(body) = self.sent.framing { body } else { 0 };
        let mut wrong = Vec::new();
        if write.length.is_some_and(|length| length < write.offset.saturating_add(body)) {
            wrong.push(tus_proto::ErrorCode::InvalidUploadLength);
        }
        if write.length.zip(self.rules.max_size).is_some_and(|(length, max)| length > max) {
            wrong.push(tus_proto::ErrorCode::MaxSizeExceeded);
        }
        wrong.extend(reference::too_long(&self.rules, &self.sent, write.offset, write.length));
        self.grants(&id, write.offset);
        self.stores(Completion::Loaded(record));
        if !wrong.is_empty() {
            self.releases();
            return self.refused(&wrong);
        }
        // The upload is not finished: it has no tag that could be named.
        let wanted = self.sent.values("If-Match");
        if !wanted.is_empty() && wanted.join(&b", "[..]).trim_ascii() != b"*" {
            self.releases();
            return self.refused(&[tus_proto::ErrorCode::PreconditionFailed]);
        }
        if self.sent.framing != Framing::Length(0) {
            self.appends(write.offset, write.length, write.algorithm.as_deref());
        }
    }

    /// The body of a new upload, of which nothing comes.
    fn receives(&mut self, id: &UploadId, at: u64, length: Option<u64>, algorithm: Option<&str>) {
        self.grants(id, at);
        self.appends(at, length, algorithm);
        self.releases();
    }

    fn appends(&mut self, from: u64, length: Option<u64>, algorithm: Option<&str>) {
        assert_eq!(self.next(), Some(Output::Continue));
        let (op, command) = self.store();
        let Command::Append { at, max, digest, .. } = command else { panic!("{command:?}") };
        assert_eq!((at, max), (from, reference::room(&self.rules, from, length)));
        assert_eq!(digest.map(tus_proto::Algorithm::name), algorithm);
        let end = AppendEnd::Cut(Cut::HalfClosed);
        self.exchange.handle(NOW, Input::Store(op, Completion::Appended { total: 0, end, digest: None }));
    }

    fn download(&mut self, id: &str) {
        let id = UploadId::new(id).unwrap();
        let length = self.rules.length;
        let metadata: Vec<_> = self.sent.values("Upload-Metadata");
        let metadata = metadata.first().map_or(String::new(), |value| String::from_utf8_lossy(value).into());
        let metadata = if text::metadata(&metadata).is_some() { metadata } else { String::new() };
        let record = record(&id, length, Some(length), metadata);
        let command = self.stores(Completion::Opened(record.clone()));
        assert!(matches!(&command, Command::Open { id: opened } if *opened == id));
        let response = self.responds();
        let tag = format!("\"{id}-0\"");
        if [200, 206, 304].contains(&response.status()) {
            assert_eq!(response.header("ETag"), Some(tag.as_str()));
        }
        let told = |from, to| match (self.sent.method.as_str(), self.is_head()) {
            ("HEAD", _) => Body::Omitted { length: to - from },
            (_, true) => Body::Text("".into()),
            (_, false) => Body::Upload { from, to },
        };
        download::check(&self.sent, &record, &tag, &response, told);
    }

    fn is_head(&self) -> bool {
        let method = reference::method(&self.rules, &self.sent);
        self.sent.method == "HEAD" || method.as_deref() == Some("HEAD")
    }

    fn next(&mut self) -> Option<Output> {
        loop {
            match self.exchange.poll() {
                Some(Output::Notify(_)) => {}
                // Uploads are made before their bodies come.
                Some(Output::Store(op, Command::Reserve { .. })) => {
                    self.exchange.handle(NOW, Input::Store(op, Completion::Declined));
                }
                other => return other,
            }
        }
    }

    fn store(&mut self) -> (OpId, Command) {
        match self.next() {
            Some(Output::Store(op, command)) => (op, command),
            other => panic!("{other:?} for {:?}", self.sent),
        }
    }

    /// The next command, which completes so.
    fn stores(&mut self, completion: Completion) -> Command {
        let (op, command) = self.store();
        self.exchange.handle(NOW, Input::Store(op, completion));
        command
    }

    fn locks(&mut self) -> (OpId, LockCall) {
        match self.next() {
            Some(Output::Lock(op, call)) => (op, call),
            other => panic!("{other:?} for {:?}", self.sent),
        }
    }

    fn grants(&mut self, id: &UploadId, at: u64) {
        let (op, call) = self.locks();
        assert!(matches!(&call, LockCall::Acquire { key, offset, .. } if key == id && *offset == Some(at)));
        let reply = LockReply::Granted { fence: Fence(1), rotate: false };
        self.exchange.handle(NOW, Input::Lock(op, reply));
    }

    fn releases(&mut self) {
        let (op, call) = self.locks();
        assert!(matches!(call, LockCall::Release { .. }), "{call:?}");
        self.exchange.handle(NOW, Input::Lock(op, LockReply::Released));
    }

    /// The answer, which no header can have broken open.
    fn responds(&mut self) -> Response {
        let response = match self.next() {
            Some(Output::Respond(response)) => response,
            other => panic!("{other:?} for {:?}", self.sent),
        };
        assert_eq!(self.next(), Some(Output::Done));
        let plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
        assert!(response.headers().all(|(_, value)| value.bytes().all(plain)), "{response:?}");
        let id = self.sent.values("X-Request-ID").first().map_or(String::new(), |value| {
            let safe = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
            value.iter().map(|byte| char::from(*byte)).filter(safe).take(36).collect()
        });
        assert_eq!(response.header("X-Request-ID").unwrap_or(""), id);
        let origin = self.sent.values("Origin").first().map(|value| value.to_ascii_lowercase());
        let ours = self.rules.cors && origin.as_deref() == Some(rules::ORIGIN.as_bytes());
        assert_eq!(response.header("Access-Control-Allow-Origin").is_some(), ours);
        response
    }
}

fn record(id: &UploadId, offset: u64, length: Option<u64>, metadata: String) -> Record {
    let created = WallTime::default();
    Record { id: id.clone(), created, offset, length, metadata, expires: None, concat: None, explicit: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{choice::Choice, fuzz::damage};

    /// Heads as clients send them.
    const SEEDS: [&str; 11] = [
        "POST /files 0\nTus-Resumable: 1.0.0\nUpload-Length: 10\nUpload-Metadata: name YQ==,k, x YWI=\nX-Request-ID: a-b",
        "POST /files/ 5\nTus-Resumable: 1.0.0\nUpload-Defer-Length: 1\nContent-Type: application/offset+octet-stream\n\
         Upload-Checksum: md5 AAAAAAAAAAAAAAAAAAAAAA==\nHost: h:80\nExpect: 100-continue",
        "POST http://h/files chunked\nTus-Resumable: 1.0.0\nUpload-Length: 7\nUpload-Concat: partial\n\
         Content-Type: application/offset+octet-stream;x\nTrailer: Upload-Checksum\nForwarded: for=a;proto=https;host=\"h:443\"",
        "POST /files 0\nTus-Resumable: 1.0.0\nUpload-Concat: final;/files/a http://h/files/b?q  //x/p/files/c\n\
         X-Forwarded-Proto: https\nX-Forwarded-Host: [::1], b\nX-Forwarded-Port: 8080",
        "PATCH /files/a 20\nTus-Resumable: 1.0.0\nUpload-Offset: 3\nUpload-Length: 30\n\
         Content-Type: application/offset+octet-stream\nUpload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "POST /files/a 0\nTus-Resumable: 1.0.0\nX-HTTP-Method-Override: Delete\nOrigin: https://example.org",
        "GET /files/a 0\nRange: bytes=1-2\nIf-Range: \"a-0\"\nIf-None-Match: W/\"x\", \"y\"\n\
         Upload-Metadata: filetype dGV4dC9wbGFpbjtjaGFyc2V0PXV0Zi04,filename Li4vw6QuIg==",
        "HEAD /files/a 0\nTus-Resumable: 1.0.0\nIf-Match: *",
        "OPTIONS * 0",
        // The longest upload there may be, and a longer one.
        "POST /files 0\nTus-Resumable: 1.0.0\nUpload-Length: 9223372036854775807",
        "POST /files 0\nTus-Resumable: 1.0.0\nUpload-Length: 9223372036854775808",
    ];

    #[test]
    fn heads_are_read_alike_however_damaged() {
        let mut choice = Choice::seeded(7);
        for round in 0..40_000 {
            let mut data = vec![choice.below(256) as u8, choice.below(64) as u8];
            if choice.percent(50) {
                data.fill(0);
            }
            data.extend_from_slice(choice.pick(&SEEDS).as_bytes());
            for _ in 0..round % 5 {
                damage(&mut choice, &mut data, 2, b"\n ,;:=/\"0-", &SEEDS);
                if data.len() == 2 {
                    data.push(b'*');
                }
            }
            headers(&data);
        }
    }
}
