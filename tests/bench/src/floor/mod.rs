//! The floor: the least a program can do to take the same bytes, or to answer as many requests. It understands just
//! enough of HTTP for the same client to drive it, checks nothing, survives nothing, and is nobody's model.

mod bodies;
mod constant;
mod log;

use std::{fs, net::TcpListener};

use self::log::Log;
use crate::{
    Trouble,
    args::{FloorArgs, How},
};

/// Where its uploads are.
const PATH: &str = "/files/";

/// The longest head it reads.
const HEAD: usize = 16 << 10;

/// Serves until it is ended.
///
/// # Errors
/// The address or the directory can't be used.
pub(crate) fn serve(args: &FloorArgs) -> Result<(), Trouble> {
    fs::create_dir_all(&args.data_dir)?;
    let listener = TcpListener::bind(args.listen)?;
    match args.how {
        How::Loop => constant::serve(listener, None),
        How::Log => constant::serve(listener, Some(Log::create(&args.data_dir)?)),
        How::Splice | How::SpliceSync | How::Copy => bodies::serve(&listener, args.how, &args.data_dir),
    }
}

/// What is needed of a request's head.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    method: String,
    /// The number at the end of the path, of the upload.
    upload: u64,
    /// Content-Length.
    length: u64,
    offset: u64,
    /// The algorithm of its Upload-Checksum.
    algorithm: Option<String>,
}

impl Head {
    /// The head at the start of `bytes`, and how long it is; `None` if it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Trouble> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(end) = request.parse(bytes).map_err(|error| error.to_string())? else {
            return if bytes.len() < HEAD { Ok(None) } else { Err("too long a head".into()) };
        };
        let mut head = Self { method: request.method.unwrap_or_default().to_owned(), ..Self::default() };
        head.upload = request.path.and_then(|path| path.strip_prefix(PATH)?.parse().ok()).unwrap_or_default();
        for field in request.headers.iter() {
            let value = std::str::from_utf8(field.value)?;
            match field.name {
                "Content-Length" => head.length = value.parse()?,
                "Upload-Offset" => head.offset = value.parse()?,
                "Upload-Checksum" => head.algorithm = value.split_once(' ').map(|(name, _)| name.to_owned()),
                _ => {}
            }
        }
        Ok(Some((head, end)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"PATCH /files/7 HTTP/1.1\r\nContent-Length: 3\r\nUpload-Offset: 5\r\n\
            Upload-Checksum: sha1 xyz=\r\n\r\nabc";
        let (head, end) = Head::parse(text).unwrap().unwrap();
        let algorithm = Some("sha1".to_owned());
        assert_eq!(head, Head { method: "PATCH".into(), upload: 7, length: 3, offset: 5, algorithm });
        assert_eq!(end, text.len() - 3);
        assert!(Head::parse(&text[..end - 1]).unwrap().is_none());
        assert!(Head::parse(b"\0").is_err());
    }
}
