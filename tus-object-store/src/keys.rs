//! The names of objects. Upload ids begin with the time, so a shard of their hash stands in front: else all that is
//! written lies in one partition of the store.
//!
//! ```text
//! u/SHARD/ID              the record
//! d/SHARD/ID/NAME         its bytes, written once
//! x/SHARD/MINUTE/ID       when to look whether it has expired
//! o/SHARD/ID/NAME         an event may wait in its record
//! p/SHARD/ID/NAME         a finished upload may have to be published
//! m/opening               how often a server was started on this bucket
//! m/probe/…               the trial at the start
//! ```

use crate::bucket::Key;

/// How many shards the indexes have, each of which a sweep lists.
pub(crate) const INDEX_SHARDS: u32 = 4;

/// FNV-1a: for spreading, not against adversaries.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

pub(crate) fn record(id: &str) -> Key {
    format!("u/{:02x}/{id}", hash(id) & 0xff).into()
}

/// An object of an upload's bytes. `name` is what its extents say, the id of the owner in front of it; or, after a `/`, the
/// key that another program gave it, from the bucket's root.
pub(crate) fn data(id: &str, name: &str) -> Key {
    if is_foreign(name) {
        return name.into();
    }
    let (owner, name) = name.split_once('/').unwrap_or((id, name));
    format!("d/{:02x}/{owner}/{name}", hash(owner) & 0xff).into()
}

/// Whether another program has named an object, which lies where that has put it.
pub(crate) fn is_foreign(name: &str) -> bool {
    name.starts_with('/')
}

/// How others than their owner name its objects.
pub(crate) fn owned(owner: &str, name: &str) -> String {
    if is_foreign(name) { name.to_owned() } else { format!("{owner}/{name}") }
}

/// Where all objects of an upload's bytes are.
pub(crate) fn folder(id: &str) -> Key {
    format!("d/{:02x}/{id}", hash(id) & 0xff).into()
}

fn index_shard(id: &str) -> u32 {
    (hash(id) >> 8) % INDEX_SHARDS
}

/// The entry of an upload that is to be looked at once this minute (since 1970) is over.
pub(crate) fn expiry(id: &str, minute: u64) -> Key {
    format!("x/{}/{minute:012}/{id}", index_shard(id)).into()
}

pub(crate) fn expiries(shard: u32) -> Key {
    format!("x/{shard}").into()
}

/// The minute and the upload of an entry.
pub(crate) fn parse_expiry(key: &str) -> Option<(u64, &str)> {
    let mut parts = key.splitn(4, '/').skip(2);
    Some((parts.next()?.parse().ok()?, parts.next()?))
}

pub(crate) fn hint(id: &str, name: &str) -> Key {
    format!("o/{}/{id}/{name}", index_shard(id)).into()
}

pub(crate) fn hints(shard: u32) -> Key {
    format!("o/{shard}").into()
}

/// The mark of an upload that is to be published.
pub(crate) fn publication(id: &str, name: &str) -> Key {
    format!("p/{}/{id}/{name}", index_shard(id)).into()
}

pub(crate) fn publications(shard: u32) -> Key {
    format!("p/{shard}").into()
}

/// The upload of a hint or a mark, and the hint's name.
pub(crate) fn parse_hint(key: &str) -> Option<(&str, &str)> {
    key.splitn(3, '/').nth(2)?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!(parse_expiry(&expiry("ab-c", 12)), Some((12, "ab-c")));
        assert_eq!(parse_hint(&hint("ab-c", "7")), Some(("ab-c", "7")));
        assert_eq!(data("a", "x"), data("b", &owned("a", "x")), "a final names its parts' objects");
        assert_eq!(&*data("b", &owned("a", "/in/x")), "/in/x", "another program's stay where they are");
    }
}
