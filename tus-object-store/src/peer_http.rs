//! Peers over HTTP: `POST URL/peer/ID?fence=N&ask=checkpoint` or `&ask=yield[&offset=N]`, with the servers' shared secret as
//! `Authorization: Bearer`. The answer is 204 if it was done, 409 if not. Each request has a connection of its own: they
//! are rare.

use std::{fmt, fs, io, net::TcpListener, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tus_proto::{Fence, UploadId};

use crate::{
    peers::{PeerQuestion, PeerReply, PeerRequest, Peers},
    store::BucketStore,
};

/// The shortest secret that is taken.
const SHORTEST: usize = 16;

/// The largest head of a request.
const HEAD: usize = 8 << 10;

/// How long a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);

/// How many requests are served at once; more wait.
const AT_ONCE: usize = 256;

/// How long to wait before accepting again when the system could not.
const PAUSE: Duration = Duration::from_millis(100);

/// What servers show each other.
#[derive(Clone)]
pub struct PeerSecret(Arc<str>);

impl PeerSecret {
    /// Reads it from a file: its first line.
    ///
    /// # Errors
    /// The file can't be read, or its first line is shorter than 16 visible ASCII characters.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let line = text.lines().next().unwrap_or_default().trim();
        if line.len() < SHORTEST || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = format!(
                "its first line must be at least {SHORTEST} visible ASCII characters: make one by openssl rand -hex 32"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Self(line.into()))
    }

    /// Whether `text` is the secret. It takes the same time wherever they differ.
    fn is(&self, text: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let differs = secret.iter().zip(text).fold(0, |differs, (one, other)| differs | (one ^ other));
        secret.len() == text.len() && std::hint::black_box(differs) == 0
    }
}

impl fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerSecret")
    }
}

/// Other servers, by HTTP.
#[derive(Debug)]
pub struct HttpPeers {
    url: String,
    secret: PeerSecret,
    client: reqwest::Client,
}

impl HttpPeers {
    /// `url` is where others reach this server.
    ///
    /// # Errors
    /// The client can't be made, or `url` is no http or https URL.
    pub fn new(url: &str, secret: PeerSecret) -> Result<Self, String> {
        let parsed = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(format!("{url} must begin with http:// or https://"));
        }
        // TLS has no provider of its own here; a second call finds the first one's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), secret, client })
    }
}

impl Peers for HttpPeers {
    fn own_url(&self) -> &str {
        &self.url
    }

    fn ask(&self, url: &str, request: PeerRequest) -> PeerReply {
        let PeerRequest { id, fence, question, patience } = request;
        let question = match question {
            PeerQuestion::Checkpoint => "checkpoint".to_owned(),
            PeerQuestion::Yield(None) => "yield".to_owned(),
            PeerQuestion::Yield(Some(offset)) => format!("yield&offset={offset}"),
        };
        let target = format!("{url}/peer/{id}?fence={}&ask={question}", fence.0);
        let sent = self.client.post(&target).bearer_auth(&self.secret.0).timeout(patience).send();
        Box::pin(async move {
            match sent.await {
                Ok(answer) => answer.status() == reqwest::StatusCode::NO_CONTENT,
                Err(error) => {
                    tracing::debug!(target, %error, "another server can't be asked");
                    false
                }
            }
        })
    }
}

impl BucketStore {
    /// Answers other servers at a listener, for as long as the tasks of the store's executor run, which must be on a
    /// tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn serve_peers(&self, listener: TcpListener, secret: PeerSecret) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let store = self.clone();
        let serve = Box::pin(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "other servers can't be listened to"),
            };
            let places = Arc::new(Semaphore::new(AT_ONCE));
            loop {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (store, secret) = (store.clone(), secret.clone());
                        tokio::spawn(async move {
                            let _place = place;
                            if let Err(error) = serve(&store, &secret, stream).await {
                                tracing::debug!(%error, "another server's connection broke");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "another server's connection can't be accepted; trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        self.shared.requests.executor.spawn(serve).map_err(|_| io::Error::other("the executor runs no tasks"))
    }
}

async fn serve(store: &BucketStore, secret: &PeerSecret, mut stream: TcpStream) -> io::Result<()> {
    let head = timeout(ARRIVAL, read_head(&mut stream)).await??;
    let status = match parse(&head, secret) {
        Ok(request) => match store.answer_peer(request).await {
            true => "204 No Content",
            false => "409 Conflict",
        },
        Err(status) => status,
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{}\r\n",
        match status {
            "204 No Content" => "",
            _ => "Content-Length: 0\r\n",
        }
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() >= HEAD || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// A request, or the status of its rejection.
fn parse(head: &[u8], secret: &PeerSecret) -> Result<PeerRequest, &'static str> {
    const MALFORMED: &str = "400 Bad Request";
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).map_err(|_| MALFORMED)?;
    let (Some(method), Some(target), true) = (request.method, request.path, parsed.is_complete()) else {
        return Err(MALFORMED);
    };
    let mut shown = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("authorization"));
    let shown = shown.next().and_then(|field| field.value.strip_prefix(b"Bearer "));
    if !shown.is_some_and(|text| secret.is(text)) {
        return Err("401 Unauthorized");
    }
    let (path, query) = target.split_once('?').ok_or(MALFORMED)?;
    // Whatever precedes it is a prefix of the URL's own.
    let (_, id) = path.rsplit_once("/peer/").ok_or("404 Not Found")?;
    if method != "POST" {
        return Err("405 Method Not Allowed");
    }
    let id = UploadId::new(id).ok_or(MALFORMED)?;
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(of, _)| *of == name).map(|(_, value)| value)
    };
    let number = |name: &str| value(name).map(|text| text.parse::<u64>().map_err(|_| MALFORMED)).transpose();
    let fence = Fence(number("fence")?.ok_or(MALFORMED)?);
    let question = match value("ask") {
        Some("checkpoint") => PeerQuestion::Checkpoint,
        Some("yield") => PeerQuestion::Yield(number("offset")?),
        _ => return Err(MALFORMED),
    };
    Ok(PeerRequest::new(id, fence.0, question))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(target: &str, secret: &str) -> Result<PeerRequest, &'static str> {
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n");
        parse(head.as_bytes(), &PeerSecret("0123456789abcdef".into()))
    }

    #[test]
    fn requests_are_read_as_they_are_sent() {
        let good = "0123456789abcdef";
        let request = parsed("/below/peer/abc?fence=7&ask=yield&offset=12", good).unwrap();
        assert_eq!((request.id.as_str(), request.fence), ("abc", Fence(7)));
        assert_eq!(request.question, PeerQuestion::Yield(Some(12)));
        let request = parsed("/peer/abc?fence=7&ask=checkpoint", good).unwrap();
        assert_eq!(request.question, PeerQuestion::Checkpoint);
        for (target, secret, status) in [
            ("/peer/abc?fence=7&ask=yield", "0123456789abcdeg", "401 Unauthorized"),
            ("/peer/abc?fence=7&ask=yield", "", "401 Unauthorized"),
            ("/peer/abc?ask=yield", good, "400 Bad Request"),
            ("/peer/abc?fence=7&ask=yield&offset=x", good, "400 Bad Request"),
            ("/peer/a.b?fence=7&ask=yield", good, "400 Bad Request"),
            ("/abc?fence=7&ask=yield", good, "404 Not Found"),
        ] {
            assert_eq!(parsed(target, secret), Err(status), "{target}");
        }
    }
}
