//! `Upload-Checksum`, in the header section or in the trailer.

use alloc::boxed::Box;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{members, single};
use crate::{Algorithm, Digest, ErrorCode, Framing, Hasher, Head, Trailers};

/// What a body must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub algorithm: Algorithm,
    pub digest: Digest,
}

impl Checksum {
    /// An algorithm's name, a blank, and the digest in Base64.
    fn parse(value: &[u8], enabled: &[Algorithm]) -> Result<Self, ErrorCode> {
        let text = core::str::from_utf8(value).map_err(|_| ErrorCode::InvalidChecksum)?;
        let (name, encoded) = text.split_once(' ').ok_or(ErrorCode::InvalidChecksum)?;
        let algorithm = Algorithm::named(name).filter(|algorithm| enabled.contains(algorithm));
        let algorithm = algorithm.ok_or(ErrorCode::UnsupportedChecksum)?;
        let bytes = STANDARD.decode(encoded.trim_matches(' ')).map_err(|_| ErrorCode::InvalidChecksum)?;
        // One that is too long or too short for its algorithm is well-formed, and matches nothing.
        let digest = Digest::new(&bytes).filter(|_| !bytes.is_empty());
        Ok(Self { algorithm, digest: digest.ok_or(ErrorCode::InvalidChecksum)? })
    }

    /// Whether the body of no bytes matches.
    pub(crate) fn matches_nothing(&self) -> bool {
        Hasher::new(self.algorithm).finish() == self.digest
    }
}

/// What a head says of its body's checksum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checksums {
    /// Boxed: a digest is large, and most bodies have none.
    pub header: Option<Box<Checksum>>,
    /// A trailer with one is announced.
    pub announced: bool,
}

impl Checksums {
    pub(crate) fn of(head: &Head<'_>, enabled: &[Algorithm]) -> Result<Self, ErrorCode> {
        let value = single(head, "Upload-Checksum").map_err(|_| ErrorCode::InvalidChecksum)?;
        let header = value.map(|value| Checksum::parse(value, enabled)).transpose()?.map(Box::new);
        // A body with a length has no trailer: what announces one means nothing.
        let announced = head.framing == Framing::Chunked
            && members(head, "Trailer").any(|name| name.eq_ignore_ascii_case(b"Upload-Checksum"));
        if announced && enabled.is_empty() {
            return Err(ErrorCode::UnsupportedChecksum);
        }
        Ok(Self { header, announced })
    }

    /// Whether nothing may be committed before the body has been verified.
    pub(crate) fn guard(&self) -> bool {
        let guarded = self.header.is_some() || mutation!("checkpoint-before-trailer", self.announced, false);
        mutation!("unverified-committed", guarded, false)
    }

    /// What the body must hash to, now that its trailer is known too.
    pub(crate) fn with_trailers(
        &self,
        trailers: &Trailers,
        enabled: &[Algorithm],
    ) -> Result<Option<Box<Checksum>>, ErrorCode> {
        let mut values = trailers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Upload-Checksum"));
        let trailer = values.next().map(|(_, value)| Checksum::parse(value, enabled)).transpose()?;
        for (_, value) in values {
            if Some(Checksum::parse(value, enabled)?) != trailer {
                return Err(ErrorCode::InvalidChecksum);
            }
        }
        match (&self.header, trailer.map(Box::new)) {
            (None, None) if self.announced => Err(ErrorCode::InvalidChecksum),
            (Some(_), None) if self.announced => Err(ErrorCode::InvalidChecksum),
            (Some(header), Some(trailer)) if *header != trailer => Err(ErrorCode::InvalidChecksum),
            (header, trailer) => Ok(trailer.or_else(|| header.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Checksum, ErrorCode> {
        Checksum::parse(text.as_bytes(), Algorithm::ALL)
    }

    #[test]
    fn an_algorithm_and_a_digest() {
        let checksum = parse("sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        assert!(checksum.is_ok_and(|checksum| checksum.matches_nothing()));
        for bad in [
            "",
            "sha1",
            "sha1 ",
            "sha1 !!!",
            "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk",
            "sha1:2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        ] {
            assert_eq!(parse(bad), Err(ErrorCode::InvalidChecksum), "{bad:?}");
        }
        let long = alloc::format!("sha1 {}", "A".repeat(88));
        assert_eq!(parse(&long), Err(ErrorCode::InvalidChecksum));
        for other in ["sha1 YWJj", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(parse(other).is_ok_and(|checksum| !checksum.matches_nothing()), "{other:?}");
        }
        assert_eq!(parse("crc32 AAAAAA=="), Err(ErrorCode::UnsupportedChecksum));
        assert_eq!(
            Checksum::parse(b"sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", &[]),
            Err(ErrorCode::UnsupportedChecksum)
        );
    }
}
