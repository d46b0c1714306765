//! Clients that upload known bytes, each in a manner of its own, to a server that may be gone at any moment; and the
//! book they keep of it: what they were told, which must be there ever after, and what they asked for, which may.

use base64::{Engine, engine::general_purpose::STANDARD};
use tus_proto::{Algorithm, Hasher};

use crate::{
    line::{Gone, Line},
    support::pattern,
};

/// How a client uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In requests of any size, the first of them the creation.
    Plain,
    /// In one request each, long enough to be cut anywhere.
    Large,
    /// In chunks with checksums, some of them wrong, in header or trailer.
    Checked,
    /// In parts, of a final that is there before them.
    Parallel,
    /// As plain, and deletes most of them again.
    Fickle,
}

/// Random numbers that are the same in every run.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (word ^ (word >> 27)) % bound
    }
}

/// An upload, as its client knows it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) path: String,
    /// No two uploads have the same bytes.
    salt: u64,
    length: u64,
    /// How many bytes the server said it has,
    told: u64,
    /// and how many it may have, as they were sent.
    sent: u64,
    /// Nothing between the two is possible.
    whole_chunks: bool,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Its deletion was asked for, and not answered.
    Unsure,
    Deleted,
}

/// A final, and which of the client's uploads are its parts.
#[derive(Debug)]
struct Final {
    path: String,
    parts: Vec<usize>,
}

/// Somebody who uses the server until it is gone.
#[derive(Debug)]
pub(crate) struct Client {
    manner: Manner,
    dice: Dice,
    uploads: Vec<Upload>,
    finals: Vec<Final>,
}

/// How many uploads a client has under way at once.
const UNDER_WAY: usize = 3;
/// and how many finished ones it keeps.
const KEPT: usize = 12;

impl Client {
    pub(crate) fn new(manner: Manner, seed: u64) -> Self {
        Self { manner, dice: Dice(seed << 40), uploads: Vec::new(), finals: Vec::new() }
    }

    /// Goes on until the server is gone.
    pub(crate) fn work(&mut self, line: &mut Line) {
        while self.step(line).is_ok() {}
    }

    fn step(&mut self, line: &mut Line) -> Result<(), Gone> {
        let (going, done): (Vec<_>, Vec<_>) = (0..self.uploads.len())
            .filter(|&index| self.uploads[index].fate == Fate::Kept)
            .partition(|&index| !self.uploads[index].is_complete());
        let chance = self.dice.roll(10);
        if done.len() > if self.manner == Manner::Large { 1 } else { KEPT } {
            let oldest = done[self.dice.roll(done.len() as u64) as usize];
            return self.uploads[oldest].delete(line);
        }
        if going.is_empty() || (going.len() < UNDER_WAY && chance < 3) {
            return if self.manner == Manner::Parallel { self.create_final(line) } else { self.create(line) };
        }
        let index = going[self.dice.roll(going.len() as u64) as usize];
        match chance {
            3 => self.uploads[index].look(line),
            // An unfinished part would take its final along, which others here do not expect.
            4 | 5 if self.manner == Manner::Fickle => self.uploads[index].delete(line),
            _ => {
                self.patch(line, index)?;
                self.look_at_finals(line)
            }
        }
    }

    fn create(&mut self, line: &mut Line) -> Result<(), Gone> {
        let length = match self.manner {
            Manner::Large => 6 << 20,
            _ => 1 + self.dice.roll(200_000),
        };
        let with = if self.manner == Manner::Plain { self.dice.roll(length + 1) } else { 0 };
        let upload = self.new_upload(length);
        let body = upload.bytes(0, with);
        let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {length}\r\n{}", fields_of(&body));
        let answer = line.ask(&head, &body)?;
        assert_eq!(answer.status, 201, "{answer:?}");
        let path = answer.header("Location").unwrap();
        self.uploads.push(Upload { path, told: with, sent: with, ..upload });
        Ok(())
    }

    /// Parts that have nothing yet, and the final that waits for them.
    fn create_final(&mut self, line: &mut Line) -> Result<(), Gone> {
        let mut parts = Vec::new();
        for _ in 0..2 + self.dice.roll(3) {
            let length = 1 + self.dice.roll(100_000);
            let upload = self.new_upload(length);
            let head =
                format!("POST /files HTTP/1.1\r\nUpload-Length: {length}\r\nUpload-Concat: partial\r\n");
            let answer = line.ask(&head, &[])?;
            assert_eq!(answer.status, 201, "{answer:?}");
            parts.push(self.uploads.len());
            self.uploads.push(Upload { path: answer.header("Location").unwrap(), ..upload });
        }
        let urls: Vec<_> = parts.iter().map(|&part| self.uploads[part].path.as_str()).collect();
        let head = format!("POST /files HTTP/1.1\r\nUpload-Concat: final;{}\r\n", urls.join(" "));
        let answer = line.ask(&head, &[])?;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.finals.push(Final { path: answer.header("Location").unwrap(), parts });
        Ok(())
    }

    fn new_upload(&mut self, length: u64) -> Upload {
        let (salt, whole_chunks) = (self.dice.roll(u64::MAX), self.manner == Manner::Checked);
        let fate = Fate::Kept;
        Upload { path: String::new(), salt, length, told: 0, sent: 0, whole_chunks, fate }
    }

    fn patch(&mut self, line: &mut Line, index: usize) -> Result<(), Gone> {
        let upload = &mut self.uploads[index];
        let rest = upload.length - upload.told;
        let size = match self.manner {
            Manner::Large => rest,
            _ => 1 + self.dice.roll(rest),
        };
        match (self.manner, self.dice.roll(3)) {
            (Manner::Checked, 0) => upload.patch_wrongly(line, size),
            (Manner::Checked, 1) => upload.patch_in_pieces(line, size),
            (Manner::Checked, _) => {
                let checksum = upload.checksum(size);
                upload.patch(line, size, &format!("Upload-Checksum: {checksum}\r\n"))
            }
            _ => upload.patch(line, size, ""),
        }
    }

    fn look_at_finals(&self, line: &mut Line) -> Result<(), Gone> {
        self.finals.last().map_or(Ok(()), |last| self.look_at(line, last))
    }

    /// A final is complete exactly when all its parts are: since the same transaction.
    fn look_at(&self, line: &mut Line, Final { path, parts }: &Final) -> Result<(), Gone> {
        let parts = || parts.iter().map(|&part| &self.uploads[part]);
        let length: u64 = parts().map(|part| part.length).sum();
        let complete = parts().all(Upload::is_complete);
        let wanted = if complete { Some(Some(length)) } else { Some(None) };
        assert_eq!(offset(line, path)?, wanted, "{path}");
        Ok(())
    }

    /// After the server was started again: what was told is there. What it tells now counts as told.
    pub(crate) fn check(&mut self, line: &mut Line) -> Result<(), Gone> {
        for upload in &mut self.uploads {
            let fresh = !upload.is_complete() || upload.fate != Fate::Kept;
            upload.check(line)?;
            if fresh && upload.fate == Fate::Kept && upload.is_complete() {
                assert!(line.get(&upload.path)? == upload.whole(), "{}", upload.path);
            }
        }
        self.finals.iter().try_for_each(|last| self.look_at(line, last))
    }

    /// Uploads what is missing of everything.
    pub(crate) fn finish(&mut self, line: &mut Line) -> Result<(), Gone> {
        for upload in self.uploads.iter_mut().filter(|upload| upload.fate == Fate::Kept) {
            let rest = upload.length - upload.told;
            if rest > 0 {
                upload.patch(line, rest, "")?;
            }
        }
        self.finals.iter().try_for_each(|last| self.look_at(line, last))
    }

    /// All that is to be stored at the end, by path: its bytes, or none where it was deleted.
    pub(crate) fn expected(&self) -> Vec<(&str, Option<Vec<u8>>)> {
        let kept = |upload: &Upload| (upload.fate == Fate::Kept).then(|| upload.whole());
        let uploads = self.uploads.iter().map(|upload| (upload.path.as_str(), kept(upload)));
        let whole = |parts: &[usize]| parts.iter().flat_map(|&part| self.uploads[part].whole()).collect();
        let finals = self.finals.iter().map(|last| (last.path.as_str(), Some(whole(&last.parts))));
        uploads.chain(finals).collect()
    }
}

impl Upload {
    fn is_complete(&self) -> bool {
        self.told == self.length
    }

    fn bytes(&self, at: u64, size: u64) -> Vec<u8> {
        pattern((self.salt << 32) + at, size as usize)
    }

    fn whole(&self) -> Vec<u8> {
        self.bytes(0, self.length)
    }

    fn checksum(&self, size: u64) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha1);
        hasher.update(&self.bytes(self.told, size));
        format!("sha1 {}", STANDARD.encode(hasher.finish().as_bytes()))
    }

    /// The next `size` bytes in one request.
    fn patch(&mut self, line: &mut Line, size: u64, fields: &str) -> Result<(), Gone> {
        let body = self.bytes(self.told, size);
        self.sent = self.told + size;
        let head = format!(
            "PATCH {} HTTP/1.1\r\nUpload-Offset: {}\r\n{fields}{}",
            self.path,
            self.told,
            fields_of(&body)
        );
        self.conclude(line, &head, &body)
    }

    /// The same chunked, with the checksum in a trailer.
    fn patch_in_pieces(&mut self, line: &mut Line, size: u64) -> Result<(), Gone> {
        let mut body = Vec::new();
        for piece in self.bytes(self.told, size).chunks(7_000) {
            body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            body.extend(piece);
            body.extend(b"\r\n");
        }
        body.extend(format!("0\r\nUpload-Checksum: {}\r\n\r\n", self.checksum(size)).into_bytes());
        self.sent = self.told + size;
        let head = format!(
            "PATCH {} HTTP/1.1\r\nUpload-Offset: {}\r\nTransfer-Encoding: chunked\r\nTrailer: Upload-Checksum\r\n\
             Content-Type: application/offset+octet-stream\r\n",
            self.path, self.told
        );
        self.conclude(line, &head, &body)
    }

    fn conclude(&mut self, line: &mut Line, head: &str, body: &[u8]) -> Result<(), Gone> {
        let answer = line.ask(head, body)?;
        assert_eq!(answer.status, 204, "{answer:?}");
        self.told = self.sent;
        assert_eq!(answer.header("Upload-Offset").unwrap(), self.told.to_string());
        Ok(())
    }

    /// Bytes that are not the client's, with the checksum of those that are: none may ever be counted.
    fn patch_wrongly(&mut self, line: &mut Line, size: u64) -> Result<(), Gone> {
        let checksum = self.checksum(size);
        let mut body = self.bytes(self.told, size);
        body[size as usize / 2] ^= 1;
        let head = format!(
            "PATCH {} HTTP/1.1\r\nUpload-Offset: {}\r\nUpload-Checksum: {checksum}\r\n{}",
            self.path,
            self.told,
            fields_of(&body)
        );
        let answer = line.ask(&head, &body)?;
        assert_eq!(answer.status, 460, "{answer:?}");
        Ok(())
    }

    fn delete(&mut self, line: &mut Line) -> Result<(), Gone> {
        self.fate = Fate::Unsure;
        let answer = line.ask(&format!("DELETE {} HTTP/1.1\r\n", self.path), &[])?;
        assert_eq!(answer.status, 204, "{answer:?}");
        self.fate = Fate::Deleted;
        Ok(())
    }

    fn look(&mut self, line: &mut Line) -> Result<(), Gone> {
        assert_eq!(offset(line, &self.path)?, Some(Some(self.told)), "{self:?}");
        Ok(())
    }

    fn check(&mut self, line: &mut Line) -> Result<(), Gone> {
        let found = offset(line, &self.path)?;
        match (self.fate, found) {
            (Fate::Deleted, None) => {}
            (Fate::Unsure, None) => self.fate = Fate::Deleted,
            (Fate::Kept | Fate::Unsure, Some(Some(offset))) => {
                let possible = self.told <= offset && offset <= self.sent;
                let whole = offset == self.told || offset == self.sent;
                assert!(possible && (whole || !self.whole_chunks), "{offset}: {self:?}");
                (self.told, self.sent, self.fate) = (offset, offset, Fate::Kept);
            }
            _ => panic!("{found:?}: {self:?}"),
        }
        Ok(())
    }
}

/// What describes a body in a head; nothing where it is empty.
fn fields_of(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("Content-Length: {}\r\nContent-Type: application/offset+octet-stream\r\n", body.len())
}

/// What HEAD tells: none where there is no upload, and no offset of a final that is pending.
fn offset(line: &mut Line, path: &str) -> Result<Option<Option<u64>>, Gone> {
    let answer = line.ask(&format!("HEAD {path} HTTP/1.1\r\n"), &[])?;
    match answer.status {
        404 => Ok(None),
        200 => Ok(Some(answer.header("Upload-Offset").map(|offset| offset.parse().unwrap()))),
        // A framework hands requests over for a moment after its service was told to end; our own loops do not.
        423 if std::env::var_os("TUS_SERVE_BIN").is_some() => Err(Gone),
        _ => panic!("{answer:?}"),
    }
}
