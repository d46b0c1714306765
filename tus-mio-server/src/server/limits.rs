//! How many files a process may open, and who gets them: connections, and what awaits a flush.

use tus_redb::Durability;

use super::settings::Settings;
use crate::runtime::Limits;

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What the store, the log and the loops have open besides.
const OTHER_FILES: usize = 64;

/// With eventual durability, the most files that connections must leave to those that await a flush: with more of them
/// at once a flush is hardly cheaper for each.
const UNFLUSHED_FILES: usize = 256;

/// How many connections there may be, and how many files that await a flush.
pub(super) fn limits(settings: &Settings) -> (Limits, usize) {
    let wanted = settings.max_connections.max(1);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let (all, unflushed) = share_files(files, wanted, settings.durability);
    if all < wanted {
        tracing::warn!(wanted, possible = all, "the limit of open files allows fewer connections");
    }
    let limits = Limits {
        all,
        each: settings.max_connections_per_address,
        uncounted: settings.uncounted_addresses.clone(),
        prefixes: settings.address_prefixes,
    };
    (limits, unflushed)
}

/// Shares the files that the process may open among connections and what awaits a flush.
fn share_files(files: usize, wanted: usize, durability: Durability) -> (usize, usize) {
    let files = files.saturating_sub(OTHER_FILES);
    let left = match durability {
        Durability::Strict => 0,
        Durability::Eventual => (files / 4).min(UNFLUSHED_FILES),
    };
    // A connection has a descriptor, and its upload another.
    let all = wanted.min((files - left) / 2).max(1);
    (all, files.saturating_sub(all.saturating_mul(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_what_awaits_a_flush_share_the_files() {
        let strict = Durability::Strict;
        let eventual = Durability::Eventual;
        assert_eq!(share_files(400, 4096, strict), (168, 0));
        assert_eq!(share_files(400, 4096, eventual), (126, 84));
        assert_eq!(share_files(2112, 4096, eventual), (896, 256));
        assert_eq!(share_files(10_064, 4096, eventual), (4096, 1808));
        assert_eq!(share_files(usize::MAX, 10, eventual), (10, usize::MAX - 84));
        assert_eq!(share_files(3, 10, eventual), (1, 0));
    }
}
