//! What the server takes must not depend on how many uploads there are.

use std::{path::Path, sync::PoisonError};

use tus_proto::{Completion, Record, UploadId, WallTime};
use tus_redb::{Change, Options, Store};

use crate::support::{FORKING, Server, pattern};

const UPLOADS: u64 = 100_000;

fn id(n: u64) -> UploadId {
    UploadId::new(&format!("upload-{n:08}")).unwrap()
}

/// Makes a store with many uploads that have nothing yet.
fn fill(dir: &Path) {
    let record = |n| Record {
        id: id(n),
        created: WallTime::from_micros(n),
        offset: 0,
        length: Some(4096),
        metadata: "filename d29ybGQ=".into(),
        expires: None,
        concat: None,
        explicit: None,
    };
    let _open = FORKING.read().unwrap_or_else(PoisonError::into_inner);
    let store = Store::open(dir, &Options::default()).unwrap();
    for group in (0..UPLOADS).collect::<Vec<_>>().chunks(10_000) {
        let changes: Vec<_> =
            group.iter().map(|n| Change::Create { record: record(*n), first: None }).collect();
        assert!(store.commit(&changes).iter().all(|completion| *completion == Completion::Created));
    }
}

#[test]
fn many_uploads_in_the_store_take_no_descriptors_and_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    for durability in ["strict", "eventual"] {
        let server = Server::start(dir.path(), &["--durability", durability]);
        let idle = server.open_files();
        for n in (0..UPLOADS).step_by(250) {
            let path = format!("/files/{}", id(n));
            let offset = server.offset(&path).unwrap();
            assert_eq!(server.patch(&path, offset, &pattern(offset, 1000)), offset + 1000);
        }
        // A connection that was just closed may still be counted; files that await a flush have a limit of their own.
        let (open, peak) = (server.open_files(), server.peak_memory());
        let limit = idle + if durability == "strict" { 16 } else { 256 + 16 };
        assert!(
            idle < 64 && open <= limit,
            "{idle} descriptors, and {open} after 400 uploads were written to"
        );
        assert!(peak < 32 << 20, "{peak} bytes");
    }
}
