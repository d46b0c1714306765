//! A request's head as the runtime has parsed it. The exchange keeps nothing of it: what it needs is read
//! into typed values when the exchange is made.

/// How the body of a request is framed, after RFC 9112 section 6.3. The framing itself is the runtime's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length: N`, or no body at all (0).
    Length(u64),
    /// `Transfer-Encoding: chunked`: the length shows at the end.
    Chunked,
}

/// A request's head: well-formed by RFC 9112, not yet looked at by tus.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method as it was sent. Methods are case-sensitive.
    pub method: &'a str,
    /// The request target in any of its forms: `/files/x?y`, `http://host/files/x`, `*`.
    pub target: &'a str,
    /// Names and values in their order. Names in any case; values without surrounding blanks.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the connection to us is TLS. Only the scheme of an absolute `Location` depends on it.
    pub secure: bool,
    /// Whether the client itself may be at the other end: HTTP/1.1 or later, over TCP. Proxies are met at UNIX
    /// sockets, and speak HTTP/1.0. Only [`Locations::Auto`](crate::Locations::Auto) depends on it: say no where
    /// you don't know it.
    pub direct: bool,
}

impl<'a> Head<'a> {
    /// The values of all fields of this name, in their order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields;
        fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// What the client calls this request: `X-Request-ID`, cut to 36 characters that are safe in a log line and a
    /// header. The answer tells it again.
    pub fn request_id(&self) -> Option<alloc::string::String> {
        crate::header::request_id(self)
    }
}

/// The trailer fields of a chunked body (RFC 9112 section 7.1.2); empty for any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    fields: alloc::vec::Vec<(alloc::string::String, alloc::vec::Vec<u8>)>,
}

impl Trailers {
    /// Adds a field at the end.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.fields.push((name.into(), value.into()));
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}
