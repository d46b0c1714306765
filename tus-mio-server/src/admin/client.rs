//! The way to a running server's administration, for the commands that find one: a request is a connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{
    AdminError, Administration, CheckPage, Content, Deleted, Stats, UploadDetails, UploadPage, UploadQuery,
    socket::connect,
};

/// The largest head of an answer.
const HEAD: usize = 16 << 10;

/// The server that has a data directory open.
#[derive(Clone, Debug)]
pub struct Client {
    data_dir: PathBuf,
}

/// An answer whose body is still to be read.
struct Reply {
    status: u16,
    length: u64,
    body: BufReader<UnixStream>,
}

impl Client {
    /// The server that has this data directory open; `None` if none has.
    ///
    /// # Errors
    /// The system's: its socket belongs to another user.
    pub fn find(data_dir: &Path) -> io::Result<Option<Self>> {
        Ok(connect(data_dir)?.map(|_| Self { data_dir: data_dir.to_owned() }))
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, target: &str) -> Result<T, AdminError> {
        let reply = self.request(method, target)?;
        serde_json::from_str(&reply.text()?).map_err(lost)
    }

    fn request(&self, method: &str, target: &str) -> Result<Reply, AdminError> {
        let gone = || AdminError::Failed("the server has ended meanwhile: try again".into());
        let mut stream = connect(&self.data_dir).map_err(lost)?.ok_or_else(gone)?;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).map_err(lost)?;
        let reply = Reply::read(BufReader::new(stream)).map_err(lost)?;
        if reply.status == 200 {
            return Ok(reply);
        }
        let status = reply.status;
        let text = reply.text()?;
        let error = serde_json::from_str::<serde_json::Value>(&text).ok();
        let error = error.as_ref().and_then(|error| error["error"].as_str()).unwrap_or("it gives no reason");
        Err(AdminError::of(status, error.to_owned()))
    }
}

impl Reply {
    fn read(mut body: BufReader<UnixStream>) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let left = (HEAD - head.len().min(HEAD)) as u64;
            if (&mut body).take(left).read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&head).map_err(|error| io::Error::other(error.to_string()))?;
        let length = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("Content-Length"));
        let length = length.and_then(|field| str::from_utf8(field.value).ok()?.parse().ok());
        Ok(Self { status: parsed.code.unwrap_or(0), length: length.unwrap_or(0), body })
    }

    fn text(self) -> Result<String, AdminError> {
        let mut text = String::new();
        let count = self.body.take(self.length).read_to_string(&mut text).map_err(lost)?;
        if count as u64 == self.length { Ok(text) } else { Err(lost("its answer was cut short")) }
    }
}

fn lost(error: impl std::fmt::Display) -> AdminError {
    AdminError::Failed(format!("the running server can't be asked: {error}"))
}

impl Administration for Client {
    fn uploads(&self, query: &UploadQuery) -> Result<UploadPage, AdminError> {
        self.ask("GET", &format!("/uploads{}", query.text()))
    }

    fn upload(&self, id: &str) -> Result<UploadDetails, AdminError> {
        self.ask("GET", &format!("/uploads/{}", named(id)?))
    }

    fn content(&self, id: &str) -> Result<Content, AdminError> {
        let reply = self.request("GET", &format!("/uploads/{}/content", named(id)?))?;
        Ok(Content { length: reply.length, bytes: Box::new(reply.body.take(reply.length)) })
    }

    fn delete(&self, id: &str) -> Result<Deleted, AdminError> {
        self.ask("DELETE", &format!("/uploads/{}", named(id)?))
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        self.ask("GET", "/stats")
    }

    fn check(&self, after: Option<&str>) -> Result<CheckPage, AdminError> {
        let after = after.map(|place| format!("?after={}", escaped(place))).unwrap_or_default();
        self.ask("GET", &format!("/verify{after}"))
    }
}

/// What is no id is none of an upload, and must not become another path.
fn named(id: &str) -> Result<&str, AdminError> {
    tus_proto::UploadId::new(id).map(|_| id).ok_or_else(|| AdminError::unknown(id))
}

/// A value of a URL's query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
