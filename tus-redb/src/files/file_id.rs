//! The names of data files: a file's id says where it is.

use std::fmt;

use crate::disk::DATA;

/// How many ids share a directory, as a power of two.
const PER_DIR: u32 = 10;

/// A data file: the number of the opening that made it (32 bits), then a count, which goes on into the numbers of openings
/// to come where it must: the records note how far, and the next opening begins above that. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(pub(crate) u64);

impl FileId {
    pub(crate) fn new(epoch: u32, count: u32) -> Self {
        Self(u64::from(epoch) << 32 | u64::from(count))
    }

    pub(crate) fn dir(self) -> String {
        format!("{DATA}/{:08x}-{:06x}", self.0 >> 32, (self.0 & 0xffff_ffff) >> PER_DIR)
    }

    pub(crate) fn path(self) -> String {
        format!("{}/{:08x}", self.dir(), self.0 & 0xffff_ffff)
    }

    /// The file at `path`, if it is a name that this module gives.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (dir, count) = path.rsplit_once('/')?;
        let epoch = dir.rsplit_once('/')?.1.split('-').next()?;
        let id = Self::new(u32::from_str_radix(epoch, 16).ok()?, u32::from_str_radix(count, 16).ok()?);
        (id.path() == path).then_some(id)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The first `len` bytes of a data file, as part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) file: FileId,
    pub(crate) len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_ids() {
        let id = FileId::new(0x1f, 0x2c01);
        assert_eq!(id.path(), "data/0000001f-00000b/00002c01");
        assert_eq!(FileId::from_path(&id.path()), Some(id));
        for other in ["data/0000001f-00000b/2c01", "data/x", "lock", "data/0000001f-000000/00002c01"] {
            assert_eq!(FileId::from_path(other), None, "{other}");
        }
    }
}
