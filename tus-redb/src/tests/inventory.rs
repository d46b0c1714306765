//! Lists: by ids and by other orders, filtered, page by page, and what changes between two pages.

use tus_proto::{Completion, Fence, Record, WallTime};

use super::harness::{commit, id, options, record};
use crate::{Change, Cursor, Durability, ListQuery, Sort, Store, Totals, UploadState, sim::SimDisk};

const NOW: WallTime = WallTime::from_micros(1_000);

/// Uploads `u0000` and so on: every third is finished, every tenth has expired; sizes and ages in an order of their own.
fn filled(durability: Durability, count: u64) -> Store {
    let store = Store::open_on(std::sync::Arc::new(SimDisk::new()), &options(durability)).unwrap();
    for number in 0..count {
        let name = format!("u{number:04}");
        let size = (number * 7) % 10;
        let made = Record {
            created: WallTime::from_micros(500 + (number * 13) % 100),
            length: Some(if number % 3 == 0 { size } else { 20 }),
            expires: (number % 10 == 9).then_some(NOW),
            ..record(&name, None)
        };
        assert_eq!(store.commit(&[Change::Create { record: made, first: None }]), [Completion::Created]);
        if size > 0 {
            let mut sink = store.append(&id(&name), Fence(1), 0).unwrap();
            sink.write(&vec![0; size as usize]).unwrap();
            sink.syncer().sync(Some(size)).unwrap();
            let expires = (number % 10 == 9).then_some(NOW);
            let Change::Commit { id, fence, from, to, length, finish, syncer, .. } =
                commit(&name, Fence(1), 0, size, Some(&sink))
            else {
                unreachable!()
            };
            let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer };
            assert_eq!(store.commit(&[change]), [Completion::Committed { offset: size }]);
        }
    }
    store
}

/// All pages, by this limit.
fn pages(store: &Store, query: &ListQuery) -> Vec<Record> {
    let (mut query, mut all) = (query.clone(), Vec::new());
    loop {
        let page = store.query(&query).unwrap();
        assert!(page.records.len() <= query.limit);
        all.extend(page.records);
        let Some(next) = page.next else { return all };
        assert_eq!(next.to_string().parse::<Cursor>().unwrap(), next);
        query.after = Some(next);
    }
}

#[test]
fn pages_of_any_size_and_order_have_each_upload_once() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let store = filled(durability, 60);
        let all = store.query(&ListQuery::new(NOW, 1_000)).unwrap();
        assert_eq!((all.records.len(), all.next), (60, None));
        for sort in [Sort::Id, Sort::Created, Sort::Size, Sort::Expires] {
            let key = |record: &Record| match sort {
                Sort::Id => 0,
                Sort::Created => record.created.as_micros(),
                Sort::Size => record.offset,
                Sort::Expires => record.expires.map_or(u64::MAX, WallTime::as_micros),
            };
            let mut expected = all.records.clone();
            expected.sort_by_key(|record| (key(record), record.id.clone()));
            for limit in [1, 7, 59, 60, 61] {
                let query = ListQuery { sort, ..ListQuery::new(NOW, limit) };
                assert_eq!(pages(&store, &query), expected, "{sort:?} by {limit}");
                let descending = pages(&store, &ListQuery { descending: true, ..query });
                assert!(descending.iter().rev().eq(&expected), "{sort:?} by {limit}, the other way");
            }
        }
    }
}

#[test]
fn filters_hold_in_any_order() {
    let store = filled(Durability::Strict, 40);
    let all = store.query(&ListQuery::new(NOW, 1_000)).unwrap().records;
    let filters = [
        ListQuery { state: Some(UploadState::Finished), ..ListQuery::new(NOW, 3) },
        ListQuery { state: Some(UploadState::Unfinished), ..ListQuery::new(NOW, 3) },
        ListQuery { state: Some(UploadState::Expired), ..ListQuery::new(NOW, 3) },
        ListQuery { created_before: Some(WallTime::from_micros(550)), ..ListQuery::new(NOW, 3) },
        ListQuery { larger_than: Some(5), ..ListQuery::new(NOW, 3) },
    ];
    let mut states = 0;
    for filter in filters {
        let wanted: Vec<_> =
            all.iter().filter(|record| filter.wants(record)).map(|record| &record.id).collect();
        assert!(!wanted.is_empty() && wanted.len() < all.len(), "{filter:?}");
        states += if filter.state.is_some() { wanted.len() } else { 0 };
        for sort in [Sort::Id, Sort::Size] {
            let mut found: Vec<_> = pages(&store, &ListQuery { sort, ..filter.clone() })
                .into_iter()
                .map(|record| record.id)
                .collect();
            found.sort();
            assert!(found.iter().eq(wanted.iter().copied()), "{filter:?} by {sort:?}");
        }
    }
    assert_eq!(states, all.len(), "each upload is in one state");
    let totals = store.totals(NOW).unwrap();
    let Totals { uploads, finished, unfinished, expired, .. } = totals;
    assert_eq!((uploads, finished + unfinished + expired, store.count().unwrap()), (40, 40, 40));
    assert_eq!(totals.bytes, all.iter().map(|record| record.offset).sum::<u64>());
    let unfinished = all.iter().filter(|record| UploadState::of(record, NOW) == UploadState::Unfinished);
    assert_eq!(totals.missing, unfinished.map(|record| 20 - record.offset).sum::<u64>());
}

#[test]
fn what_goes_between_two_pages_takes_nothing_else_along() {
    let store = filled(Durability::Eventual, 10);
    for sort in [Sort::Id, Sort::Size] {
        let query = ListQuery { sort, ..ListQuery::new(NOW, 2) };
        let first = store.query(&query).unwrap();
        let next = first.next.unwrap();
        assert!(store.delete(&first.records[1].id).unwrap(), "the one that the cursor names");
        let rest = pages(&store, &ListQuery { after: Some(next), ..query });
        assert_eq!(rest.len() as u64 + 1, store.count().unwrap(), "{sort:?}");
        assert!(!rest.contains(&first.records[0]));
    }
}

#[test]
fn a_place_that_is_none_is_refused() {
    for text in ["", "a", "1", ".a", "x.a", "1.", "1.a/b", "-1.a"] {
        assert!(text.parse::<Cursor>().is_err(), "{text:?}");
    }
}
