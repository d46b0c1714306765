//! Digest fields (RFC 9530): `Content-Digest` of a request's body, `Repr-Digest` of the whole upload, and
//! `Want-Repr-Digest`. Unknown algorithms, and malformed fields, are ignored.

use alloc::{boxed::Box, format, string::String};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::structured::{self, Value};
use crate::{Algorithm, Digest, Head, header::Checksum};

/// The names of the algorithms that are safe against adversaries; the registry deprecates the others.
const NAMES: &[(&str, Algorithm)] = &[
    #[cfg(feature = "sha2")]
    ("sha-512", Algorithm::Sha512),
    #[cfg(feature = "sha2")]
    ("sha-256", Algorithm::Sha256),
];

fn named(name: &str, enabled: &[Algorithm]) -> Option<Algorithm> {
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm);
    known.filter(|algorithm| enabled.contains(algorithm))
}

/// A digest from a field, by the first algorithm that is known.
pub(super) fn of(head: &Head<'_>, field: &str, enabled: &[Algorithm]) -> Option<Box<Checksum>> {
    structured::dictionary(head, field)?.into_iter().find_map(|(name, value)| {
        let algorithm = named(&name, enabled)?;
        let Value::Bytes(bytes) = value else { return None };
        let digest = Digest::new(&bytes)?;
        Some(Box::new(Checksum { algorithm, digest }))
    })
}

/// The algorithm that the client prefers of those it wants: a weight from 1 to 10, the highest first.
pub(super) fn wanted(head: &Head<'_>, enabled: &[Algorithm]) -> Option<Algorithm> {
    let members = structured::dictionary(head, "Want-Repr-Digest")?;
    let weights = members.iter().filter_map(|(name, value)| match value {
        Value::Integer(weight @ 1..=10) => named(name, enabled).map(|algorithm| (*weight, algorithm)),
        _ => None,
    });
    weights.max_by_key(|(weight, _)| *weight).map(|(_, algorithm)| algorithm)
}

/// A digest as a field's value. `None` if the algorithm has no name here.
pub(super) fn value(algorithm: Algorithm, digest: &Digest) -> Option<String> {
    let (name, _) = NAMES.iter().find(|(_, known)| *known == algorithm)?;
    Some(format!("{name}=:{}:", STANDARD.encode(digest.as_bytes())))
}

#[cfg(all(test, feature = "sha2"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Framing, Hasher};

    fn with<T>(name: &str, value: &str, read: impl Fn(&Head<'_>) -> T) -> T {
        let fields: &[(&str, &[u8])] = &[(name, value.as_bytes())];
        let framing = Framing::Length(0);
        read(&Head { method: "PUT", target: "/", fields, framing, secure: false, direct: false })
    }

    #[test]
    fn the_first_known_algorithm_counts() {
        let nothing = Hasher::new(Algorithm::Sha256).finish();
        let told = value(Algorithm::Sha256, &nothing).unwrap();
        let read =
            |text: &str| with("Content-Digest", text, |head| of(head, "content-digest", Algorithm::ALL));
        assert_eq!(read(&told).unwrap().digest, nothing);
        assert_eq!(read(&format!("md5=:AA==:, x=1, {told}")).unwrap().algorithm, Algorithm::Sha256);
        for ignored in ["", "md5=:AA==:", "sha-256=1", "sha-256", "sha-256=:!:", "sha-256=:AA=="] {
            assert_eq!(read(ignored), None, "{ignored:?}");
        }
        assert_eq!(with("Content-Digest", &told, |head| of(head, "Content-Digest", &[])), None);
        assert_eq!(value(Algorithm::Sha1, &nothing), None);
    }

    #[test]
    fn the_highest_weight_is_preferred() {
        let read = |text: &str| with("Want-Repr-Digest", text, |head| wanted(head, Algorithm::ALL));
        assert_eq!(read("sha-256=10, sha-512=3"), Some(Algorithm::Sha256));
        assert_eq!(read("sha-256=1, sha-512=3, md5=9"), Some(Algorithm::Sha512));
        for nothing in ["sha-256=0", "sha-256", "sha-256=11", "", "sha-256=1,"] {
            assert_eq!(read(nothing), None, "{nothing:?}");
        }
    }
}
