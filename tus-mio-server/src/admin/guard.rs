//! Who may administer: whoever can open the socket in the data directory; at an address, whoever knows the token, or where
//! there is none, programs of this machine.

use std::{fmt, fs, io, net::IpAddr, path::Path};

use tus_proto::Head;

/// The shortest token that is taken.
const SHORTEST: usize = 16;

/// A secret that a request must show.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// Reads it from a file: its first line.
    pub(crate) fn load(path: &Path) -> Result<Self, TokenError> {
        let failed =
            |error: io::Error| TokenError(format!("the token in {} can't be read: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(failed)?;
        let line = text.lines().next().unwrap_or_default().trim();
        if line.len() < SHORTEST || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError(format!(
                "the token in {} must be at least {SHORTEST} visible ASCII characters in the first line: make one by \
                 openssl rand -hex 32",
                path.display()
            )));
        }
        Ok(Self(line.to_owned()))
    }

    /// Whether `text` is the token; it takes the same time wherever they differ.
    fn is(&self, text: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let differs = token.iter().zip(text).fold(0, |differs, (one, other)| differs | (one ^ other));
        token.len() == text.len() && std::hint::black_box(differs) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The file has no token. The fault is its author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError(String);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TokenError {}

/// What a request must show at a listener.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    /// Nothing: the permissions of the socket's file are guard enough.
    File,
    /// That it was sent to this machine by its address or as localhost: a page in a browser that has its own name point
    /// here says that name.
    Local,
    /// The token, as `Authorization: Bearer TOKEN`.
    Token(Token),
}

/// Why a request may not administer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// 401.
    Token,
    /// 403.
    Host,
}

impl Guard {
    pub(super) fn admit(&self, head: &Head<'_>) -> Result<(), Denied> {
        match self {
            Self::File => Ok(()),
            Self::Local => match head.values("Host").all(is_local) {
                true => Ok(()),
                false => Err(Denied::Host),
            },
            Self::Token(token) => match head.values("Authorization").next().and_then(bearer) {
                Some(text) if token.is(text) => Ok(()),
                _ => Err(Denied::Token),
            },
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1; the scheme in any case).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn is_local(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::Framing;

    use super::*;

    fn admits(guard: &Guard, field: (&str, &[u8])) -> bool {
        let fields = [field];
        let head = Head {
            method: "GET",
            target: "/uploads",
            fields: &fields,
            framing: Framing::Length(0),
            secure: false,
            direct: true,
        };
        guard.admit(&head).is_ok()
    }

    #[test]
    fn a_token_is_shown_as_a_bearer_or_not_at_all() {
        let guard = Guard::Token(Token("0123456789abcdef".into()));
        for (value, expected) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcdeg", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(admits(&guard, ("Authorization", value.as_bytes())), expected, "{value}");
        }
        assert!(!admits(&guard, ("Host", b"localhost")));
    }

    #[test]
    fn without_a_token_a_foreign_name_is_no_address_of_this_machine() {
        for (host, expected) in [
            ("127.0.0.1:9000", true),
            ("localhost", true),
            ("LOCALHOST:9000", true),
            ("[::1]:9000", true),
            ("", true),
            ("evil.example:9000", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example:9000", false),
        ] {
            assert_eq!(admits(&Guard::Local, ("Host", host.as_bytes())), expected, "{host}");
            assert!(admits(&Guard::File, ("Host", host.as_bytes())));
        }
    }

    #[test]
    fn a_token_that_is_easily_guessed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(Token::load(&path).unwrap_err().to_string().contains("can't be read"));
        for (text, good) in [
            ("", false),
            ("short\n", false),
            ("with a blank in it and more\n", false),
            ("0123456789abcdef\n", true),
            ("0123456789abcdef\r\nmore\n", true),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Token::load(&path).is_ok(), good, "{text:?}");
        }
    }
}
