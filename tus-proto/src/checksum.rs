//! The checksum extension's algorithms and digests. Hashing itself happens where the bytes are; it is here so
//! that every runtime does it with the same code.

use core::fmt;

use sha1::Digest as _;

/// A hash function that `Upload-Checksum` may name. Those beside sha1 are features of the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-1, which the extension demands of every server.
    Sha1,
    /// SHA-256.
    #[cfg(feature = "sha2")]
    Sha256,
    /// SHA-512.
    #[cfg(feature = "sha2")]
    Sha512,
    /// MD5: for accidents only, not for adversaries.
    #[cfg(feature = "md5")]
    Md5,
}

impl Algorithm {
    /// All that were compiled in, in the order they are told to clients.
    pub const ALL: &[Self] = &[
        Self::Sha1,
        #[cfg(feature = "sha2")]
        Self::Sha256,
        #[cfg(feature = "sha2")]
        Self::Sha512,
        #[cfg(feature = "md5")]
        Self::Md5,
    ];

    /// Its name in `Upload-Checksum` and `Tus-Checksum-Algorithm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            #[cfg(feature = "sha2")]
            Self::Sha256 => "sha256",
            #[cfg(feature = "sha2")]
            Self::Sha512 => "sha512",
            #[cfg(feature = "md5")]
            Self::Md5 => "md5",
        }
    }

    /// The algorithm of this name, in lower case as clients write it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// How long its digests are, in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            #[cfg(feature = "sha2")]
            Self::Sha256 => 32,
            #[cfg(feature = "sha2")]
            Self::Sha512 => 64,
            #[cfg(feature = "md5")]
            Self::Md5 => 16,
        }
    }
}

/// A digest, at most 64 bytes long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; 64],
    len: u8,
}

impl Digest {
    /// The bytes as a digest; `None` if they are more than 64.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self { bytes: [0; 64], len: u8::try_from(bytes.len()).ok()? };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash function at work.
///
/// ```
/// use tus_proto::{Algorithm, Hasher};
/// let mut hasher = Hasher::new(Algorithm::Sha1);
/// hasher.update(b"abc");
/// assert_eq!(format!("{:?}", hasher.finish()), "a9993e364706816aba3e25717850c26c9cd0d89d");
/// ```
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(sha1::Sha1),
    #[cfg(feature = "sha2")]
    Sha256(sha2::Sha256),
    #[cfg(feature = "sha2")]
    Sha512(sha2::Sha512),
    #[cfg(feature = "md5")]
    Md5(md5::Md5),
}

impl Hasher {
    /// One that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            #[cfg(feature = "sha2")]
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            #[cfg(feature = "sha2")]
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            #[cfg(feature = "md5")]
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
        })
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha1(state) => state.update(bytes),
            #[cfg(feature = "sha2")]
            State::Sha256(state) => state.update(bytes),
            #[cfg(feature = "sha2")]
            State::Sha512(state) => state.update(bytes),
            #[cfg(feature = "md5")]
            State::Md5(state) => state.update(bytes),
        }
    }

    /// The digest of all it has seen.
    pub fn finish(self) -> Digest {
        let digest = match self.0 {
            State::Sha1(state) => Digest::new(&state.finalize()),
            #[cfg(feature = "sha2")]
            State::Sha256(state) => Digest::new(&state.finalize()),
            #[cfg(feature = "sha2")]
            State::Sha512(state) => Digest::new(&state.finalize()),
            #[cfg(feature = "md5")]
            State::Md5(state) => Digest::new(&state.finalize()),
        };
        // No function here has a digest of more than 64 bytes; an empty one would match nothing.
        digest.unwrap_or(Digest { bytes: [0; 64], len: 0 })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn digests_of_nothing_are_the_published_ones() {
        let known = |name| match name {
            "sha1" => "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "sha256" => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "md5" => "d41d8cd98f00b204e9800998ecf8427e",
            _ => {
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f\
                  63b931bd47417a81a538327af927da3e"
            }
        };
        for algorithm in Algorithm::ALL {
            let digest = Hasher::new(*algorithm).finish();
            assert_eq!(format!("{digest:?}"), known(algorithm.name()));
            assert_eq!(digest.as_bytes().len(), algorithm.digest_len());
            assert_eq!(Algorithm::named(algorithm.name()), Some(*algorithm));
        }
        assert_eq!(Algorithm::named("SHA1"), None);
    }
}
