//! Requests and answers as the rows of the table see them.

use tus_proto::Response;

/// A request: its head, and as much of its body as is sent with it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target; `{upload}` stands for where the row's last upload is.
    pub target: String,
    /// The fields but those of the framing.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A body, and how it is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, and no framing field either.
    None,
    /// `Content-Length`: this many bytes, of which these are sent at once.
    Sized(u64, Vec<u8>),
    /// `Transfer-Encoding: chunked`: these chunks are sent at once, and the last one if that is said.
    Chunked(Vec<Vec<u8>>, Last),
}

/// Whether the last chunk comes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It does.
    Sent,
    /// More is to come.
    Later,
}

impl Request {
    /// A request without fields and without a body.
    pub fn bare(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), fields: Vec::new(), body: Body::None }
    }

    /// One that says `Tus-Resumable: 1.0.0`.
    pub fn tus(method: &str, target: &str) -> Self {
        Self::bare(method, target).with("Tus-Resumable", "1.0.0")
    }

    /// A POST to the collection.
    pub fn post() -> Self {
        Self::tus("POST", "/files")
    }

    /// A HEAD of the row's upload.
    pub fn head() -> Self {
        Self::tus("HEAD", "{upload}")
    }

    /// A DELETE of the row's upload.
    pub fn delete() -> Self {
        Self::tus("DELETE", "{upload}")
    }

    /// A PATCH of the row's upload at `offset`, without a body.
    pub fn patch(offset: u64) -> Self {
        Self::tus("PATCH", "{upload}").with("Upload-Offset", offset).upload_type()
    }

    /// With a field at the end.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.push((name.into(), value.to_string()));
        self
    }

    /// Without the fields of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Whether it has a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// With the content type of upload bodies.
    pub fn upload_type(self) -> Self {
        self.with("Content-Type", "application/offset+octet-stream")
    }

    /// With this body and its length.
    pub fn sized(self, body: &str) -> Self {
        self.announcing(body.len() as u64, body)
    }

    /// With a `Content-Length` of which only the beginning is sent at once.
    pub fn announcing(mut self, length: u64, body: &str) -> Self {
        self.body = Body::Sized(length, body.into());
        self
    }

    /// With a chunked body, all of it.
    pub fn chunked(mut self, chunks: &[&str]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(), Last::Sent);
        self
    }

    /// With a chunked body of which more is to come.
    pub fn chunked_so_far(mut self, chunks: &[&str]) -> Self {
        self.body =
            Body::Chunked(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(), Last::Later);
        self
    }

    /// The host it names.
    pub fn host(&self) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == "Host").map(|(_, host)| host.as_str())
    }

    /// The method that counts by default.
    pub fn effective_method(&self) -> String {
        let overridden =
            self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-HTTP-Method-Override"));
        match overridden {
            Some((_, method)) if self.method == "POST" => method.to_ascii_uppercase(),
            _ => self.method.clone(),
        }
    }

    /// Whether the answer to it must have no body.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD" || self.effective_method() == "HEAD"
    }
}

impl Body {
    /// What is sent of it at once.
    pub fn sent(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Sized(_, body) => body.clone(),
            Self::Chunked(chunks, _) => chunks.concat(),
        }
    }

    /// Whether all of it is sent at once.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::None => true,
            Self::Sized(length, body) => *length == body.len() as u64,
            Self::Chunked(_, last) => *last == Last::Sent,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The fields in their order.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A response as a client has it before any framing, but without the bytes of an upload.
impl From<&Response> for Answer {
    fn from(response: &Response) -> Self {
        let fields = response.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status: response.status(), fields, body: response.body().into() }
    }
}

impl Answer {
    /// The values of all fields of this name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let of_name = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only field of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}
