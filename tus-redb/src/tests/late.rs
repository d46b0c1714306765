//! Writers that lost their lock, and come late.

use std::sync::Arc;

use tus_proto::{Completion, Fence};

use super::harness::{commit, id, options, record};
use crate::{Change, Disk, Durability, Store, sim::SimDisk};

#[test]
fn the_file_of_a_late_writer_goes_also_where_nothing_else_is_to_be_flushed() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap();
        assert_eq!(
            store.commit(&[Change::Create { record: record("a", Some(5)), first: None }]),
            [Completion::Created]
        );
        let (early, late) = (Fence(store.first_fence().0 + 1), store.first_fence());
        let mut sink = store.append(&id("a"), late, 0).unwrap();
        sink.write(b"hello").unwrap();
        let fresh = Change::NewExtent { id: id("a"), fence: early, at: 0 };
        assert_eq!(store.commit(&[fresh]), [Completion::Committed { offset: 0 }]);
        store.flush().unwrap();
        sink.syncer().sync(None).unwrap();
        let refused = store.commit(&[commit("a", late, 0, 5, Some(&sink))]);
        assert_eq!(refused, [Completion::Conflict { offset: 0 }]);
        drop(sink);
        store.flush().unwrap();
        assert_eq!(store.reclaim(8), Ok(1), "{durability:?}");
        let dirs = disk.list("data").unwrap();
        assert!(dirs.iter().all(|dir| disk.list(&format!("data/{dir}")).unwrap().is_empty()));
    }
}
