//! What the fuzz targets drive. It lives here, and `cargo test` runs it on generated input and on the committed
//! corpora, so that it can't rot; the targets in `fuzz/` only hand bytes over.

use std::sync::Once;

use tracing::{Event, Level, Metadata, Subscriber, span};

#[cfg(test)]
use crate::choice::Choice;

pub mod exchange;
pub mod headers;
pub mod http1;
pub mod locks;
pub mod store;
pub mod wire;

/// A target: it panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: [(&str, Target); 7] = [
    ("exchange", exchange::exchange),
    ("headers", headers::headers),
    ("http1_chunking", http1::chunking),
    ("locks", locks::locks),
    ("store_model", store::model),
    ("wire_differential", wire::differential),
    ("world", world),
];

/// The simulator, its decisions made by these bytes.
///
/// # Panics
/// If a promise is not kept: that is the finding.
pub fn world(data: &[u8]) {
    crate::sim::run_by(data, false);
}

/// Runs a target on these bytes. What the server would have logged as an error is a finding as well.
///
/// # Panics
/// If the target does.
pub fn run(target: Target, data: &[u8]) {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // Where somebody else listens, as another test may, the events are theirs.
        let _ = tracing::subscriber::set_global_default(NoErrors);
    });
    target(data);
}

/// Spoils an input somewhere behind its first `from` bytes, of which there must be more: changes a byte, takes one
/// out, puts one of `inserts` in, or goes on as one of `seeds` does.
#[cfg(test)]
fn damage(choice: &mut Choice, data: &mut Vec<u8>, from: usize, inserts: &[u8], seeds: &[&str]) {
    let at = from + choice.index(data.len() - from);
    match choice.index(4) {
        0 => data[at] = choice.below(256) as u8,
        1 => drop(data.remove(at)),
        2 => data.insert(at, choice.pick(inserts)),
        _ => {
            let other = choice.pick(seeds);
            data.truncate(at);
            data.extend_from_slice(&other.as_bytes()[choice.index(other.len())..]);
        }
    }
}

/// Listens to the log, and takes no errors.
struct NoErrors;

impl Subscriber for NoErrors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        panic!("an error was logged: {event:?}");
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// What fuzzing has found worth keeping, once more. Coverage is measured by this test: see `fuzz/README.md`.
    #[test]
    fn the_corpora_run_clean() {
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
            let mut inputs = 0;
            for entry in fs::read_dir(&corpus).unwrap() {
                let path = entry.unwrap().path();
                let data = fs::read(&path).unwrap();
                let outcome = std::panic::catch_unwind(|| run(target, &data));
                assert!(outcome.is_ok(), "{}", path.display());
                inputs += 1;
            }
            assert!(inputs > 0, "{name} has no corpus");
        }
    }
}
