//! Finished uploads are put into one file, and are themselves at any time.

use std::{io::Read, sync::Arc};

use tus_proto::{Completion, Concat, Failure, Fence, Record};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Disk, Durability, Options, Store,
    records::copy::CopyProgress,
    sim::{Crash, Fault, SimDisk},
};

const BOTH: [Durability; 2] = [Durability::Strict, Durability::Eventual];
/// One upload in three files: 4 bytes, 500, 9000.
const PARTS: [usize; 3] = [4, 500, 9_000];

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

fn bytes(parts: &[usize]) -> Vec<u8> {
    (0..parts.iter().sum()).map(|at: usize| (at % 251) as u8).collect()
}

/// Makes an upload whose bytes lie in as many files as it has parts. Stops where something fails.
fn upload(store: &Store, name: &str, parts: &[usize]) -> Option<()> {
    upload_as(store, None, name, parts)
}

fn upload_as(store: &Store, concat: Option<Concat>, name: &str, parts: &[usize]) -> Option<()> {
    let whole = bytes(parts);
    let length = whole.len() as u64;
    let record = Record { concat, ..record(name, Some(length)) };
    (store.commit(&[Change::Create { record, first: None }]) == [Completion::Created]).then_some(())?;
    let mut at = 0;
    for (number, part) in parts.iter().enumerate() {
        let fence = Fence(store.first_fence().0 + number as u64);
        if number > 0 {
            store.commit(&[Change::NewExtent { id: id(name), fence, at }]);
        }
        let mut sink = store.append(&id(name), fence, at).ok()?;
        let to = at + *part as u64;
        sink.write(&whole[at as usize..to as usize]).ok()?;
        sink.syncer().sync((to == length).then_some(to)).ok()?;
        let done = store.commit(&[commit(name, fence, at, to, Some(&sink))]);
        (done == [Completion::Committed { offset: to }]).then_some(())?;
        at = to;
    }
    Some(())
}

fn body(store: &Store, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(&id(name)).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn files(store: &Store, name: &str) -> usize {
    store.paths(&id(name)).unwrap().len()
}

/// Does all there is to do, in steps of `budget`; tells in how many.
fn finish(store: &Store, budget: u64) -> usize {
    (0..10_000).find(|_| !store.consolidate(budget).unwrap()).expect("it ends")
}

fn reclaim(store: &Store) {
    store.flush().unwrap();
    while store.reclaim(8).unwrap() > 0 {}
}

fn files_on(disk: &SimDisk) -> usize {
    let in_dir = |dir: String| disk.list(&format!("data/{dir}")).unwrap().len();
    disk.list("data").unwrap().into_iter().map(in_dir).sum()
}

#[test]
fn a_finished_upload_is_put_into_one_file() {
    for durability in BOTH {
        for budget in [1_000, u64::MAX] {
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            upload(&store, "a", &PARTS).unwrap();
            upload(&store, "single", &[700]).unwrap();
            store.commit(&[Change::Create { record: record("empty", Some(0)), first: None }]);
            store.flush().unwrap();
            assert!(store.needs_consolidation());
            assert_eq!(store.awaits_consolidation(&id("a")), Ok(true));
            assert_eq!(store.awaits_consolidation(&id("single")), Ok(false));
            let before = store.paths(&id("single")).unwrap();
            assert!(finish(&store, budget) >= 9_504 / budget as usize);
            assert!(!store.needs_consolidation());
            assert_eq!(store.awaits_consolidation(&id("a")), Ok(false));
            assert_eq!((files(&store, "a"), store.paths(&id("single")).unwrap()), (1, before));
            assert_eq!(body(&store, "a"), bytes(&PARTS));
            reclaim(&store);
            assert_eq!(files_on(&disk), 2, "the old files are gone");
            assert_eq!(store.verify().unwrap(), []);
        }
    }
}

fn concat(store: &Store, name: &str, parts: &[&str], delete_parts: bool) {
    let concat = Some(Concat::Final("final; /p".to_owned()));
    let record = Record { concat, ..record(name, None) };
    let parts = parts.iter().map(|part| id(part)).collect();
    let made = store.commit(&[Change::Concat { record, parts, max: None, delete_parts }]);
    assert!(matches!(&made[..], [Completion::Concatenated(record)] if record.is_complete()), "{made:?}");
}

/// How many bytes the data files have together.
fn stored(disk: &SimDisk) -> u64 {
    let mut sum = 0;
    for dir in disk.list("data").unwrap() {
        for name in disk.list(&format!("data/{dir}")).unwrap() {
            let path = format!("data/{dir}/{name}");
            sum += disk.open(&path, crate::Mode::Existing).unwrap().len().unwrap();
        }
    }
    sum
}

#[test]
fn a_final_that_repeats_its_parts_stays_as_it_is() {
    for delete_parts in [false, true] {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        upload_as(&store, Some(Concat::Partial), "p", &[300]).unwrap();
        concat(&store, "twice", &["p", "p"], delete_parts);
        assert_eq!(store.awaits_consolidation(&id("twice")), Ok(false));
        finish(&store, u64::MAX);
        assert_eq!((files(&store, "twice"), stored(&disk)), (2, 300));
        assert_eq!(store.verify().unwrap(), []);
    }
}

/// A request that makes a final is a few hundred bytes long, whatever its parts hold.
#[test]
fn finals_of_the_same_parts_add_nothing_to_the_disk() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload_as(&store, Some(Concat::Partial), "p", &[40_000]).unwrap();
        upload_as(&store, Some(Concat::Partial), "q", &[30_000]).unwrap();
        for n in 0..30 {
            concat(&store, &format!("f-{n:02}"), &["p", "q"], false);
        }
        store.flush().unwrap();
        finish(&store, u64::MAX);
        reclaim(&store);
        assert_eq!(stored(&disk), 70_000, "{durability:?}");
        // Also when the parts are gone: the finals have the files together.
        for part in ["p", "q"] {
            assert!(store.delete(&id(part)).unwrap());
        }
        finish(&store, u64::MAX);
        assert_eq!(stored(&disk), 70_000, "{durability:?}");
        for n in 1..30 {
            assert!(store.delete(&id(&format!("f-{n:02}"))).unwrap());
        }
        assert!(store.needs_consolidation(), "{durability:?}: the last one has them alone");
        finish(&store, u64::MAX);
        reclaim(&store);
        assert_eq!((files(&store, "f-00"), stored(&disk)), (1, 70_000), "{durability:?}");
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_final_is_put_into_one_file_once_its_parts_are_gone() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload_as(&store, Some(Concat::Partial), "p", &[40, 50]).unwrap();
        upload_as(&store, Some(Concat::Partial), "q", &[300]).unwrap();
        assert_eq!(store.awaits_consolidation(&id("p")), Ok(false), "a part is for finals to read");
        concat(&store, "f", &["q", "p"], false);
        store.flush().unwrap();
        assert_eq!(store.awaits_consolidation(&id("f")), Ok(false), "its parts need the files");
        finish(&store, 350);
        assert_eq!(files(&store, "f"), 3);
        assert!(store.delete(&id("q")).unwrap());
        assert_eq!(store.awaits_consolidation(&id("f")), Ok(false));
        drop(store);
        let store = open(&disk, durability);
        assert!(store.delete(&id("p")).unwrap());
        assert_eq!(store.awaits_consolidation(&id("f")), Ok(true));
        let whole = [bytes(&[300]), bytes(&[90])].concat();
        assert_eq!(store.consolidate(350), Ok(true));
        assert_eq!((store.verify().unwrap(), body(&store, "f")), (vec![], whole.clone()));
        finish(&store, 350);
        reclaim(&store);
        assert_eq!((files_on(&disk), body(&store, "f")), (1, whole));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_final_that_takes_its_parts_is_put_into_one_file_at_once() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    upload_as(&store, Some(Concat::Partial), "p", &[40, 50]).unwrap();
    upload_as(&store, Some(Concat::Partial), "q", &[300]).unwrap();
    concat(&store, "f", &["q", "p"], true);
    assert_eq!(store.awaits_consolidation(&id("f")), Ok(true));
    finish(&store, 350);
    reclaim(&store);
    assert_eq!((files(&store, "f"), stored(&disk)), (1, 390));
    assert_eq!(store.verify().unwrap(), []);
}

/// What a final waits for goes with it: another upload may have its name.
#[test]
fn a_final_that_goes_waits_for_nothing() {
    let store = open(&SimDisk::new(), Durability::Strict);
    upload_as(&store, Some(Concat::Partial), "p", &[40, 50]).unwrap();
    concat(&store, "f", &["p"], false);
    assert!(store.delete(&id("f")).unwrap());
    concat(&store, "g", &["p"], false);
    assert!(store.delete(&id("p")).unwrap());
    assert_eq!(finish(&store, u64::MAX), 1);
    assert_eq!((files(&store, "g"), store.verify().unwrap()), (1, vec![]));
}

#[test]
fn on_a_real_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &options(Durability::Strict)).unwrap();
    upload(&store, "a", &PARTS).unwrap();
    finish(&store, 4_000);
    let [(path, len)] = &store.paths(&id("a")).unwrap()[..] else { panic!("it is in one file") };
    assert_eq!((std::fs::read(path).unwrap(), *len), (bytes(&PARTS), 9_504));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn who_reads_meanwhile_reads_the_same() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    upload(&store, "a", &PARTS).unwrap();
    let mut source = store.open_source(&id("a")).unwrap();
    let mut read = vec![0; 100];
    assert_eq!(source.read_at(0, &mut read), Ok(4));
    finish(&store, u64::MAX);
    assert_eq!(files(&store, "a"), 1);
    assert_eq!(store.reclaim(8), Ok(0), "the old files are held");
    assert_eq!(source.read_at(9_404, &mut read), Ok(100));
    assert_eq!(read, bytes(&PARTS)[9_404..]);
    drop(source);
    assert_eq!(store.reclaim(8), Ok(3));
}

#[test]
fn a_crash_costs_no_more_than_what_was_not_recorded() {
    for (durability, crash) in BOTH.into_iter().flat_map(|d| [(d, Crash::Process), (d, Crash::Machine(3))]) {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload(&store, "a", &PARTS).unwrap();
        store.flush().unwrap();
        for _ in 0..3 {
            store.consolidate(1_000).unwrap();
        }
        store.flush().unwrap();
        let (task, _) = (progress(&store, "a"), disk.crash(crash));
        assert_eq!(task.map(|task| task.copied), Some(3_000));
        drop(store);
        let store = open(&disk, durability);
        assert!(store.needs_consolidation());
        assert_eq!(progress(&store, "a"), task, "{durability:?}, {crash:?}");
        assert_eq!(finish(&store, 1_000), 7);
        assert_eq!(body(&store, "a"), bytes(&PARTS));
    }
}

fn progress(store: &Store, name: &str) -> Option<CopyProgress> {
    crate::mutex::lock(&store.live).fragmented(&id(name)).unwrap().flatten()
}

#[test]
fn an_upload_that_goes_takes_its_copy_along() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload(&store, "a", &PARTS).unwrap();
        store.flush().unwrap();
        store.consolidate(1_000).unwrap();
        assert_eq!(files_on(&disk), 4);
        assert_eq!(store.verify().unwrap(), []);
        assert!(store.delete(&id("a")).unwrap());
        assert_eq!(store.consolidate(1_000), Ok(false));
        reclaim(&store);
        assert_eq!(files_on(&disk), 0);
        // Another of the same name has nothing of it.
        upload(&store, "a", &[1, 2]).unwrap();
        store.flush().unwrap();
        finish(&store, 1_000);
        assert_eq!(body(&store, "a"), bytes(&[1, 2]));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn all_get_their_turn() {
    let store = open(&SimDisk::new(), Durability::Strict);
    upload(&store, "a-large", &PARTS).unwrap();
    upload(&store, "b", &[3, 4]).unwrap();
    upload(&store, "c", &[5, 6]).unwrap();
    for _ in 0..3 {
        assert_eq!(store.consolidate(100), Ok(true));
    }
    assert_eq!((files(&store, "b"), files(&store, "c")), (1, 1));
    assert_eq!(files(&store, "a-large"), 3);
    finish(&store, 100);
    assert_eq!(files(&store, "a-large"), 1);
}

#[test]
fn one_that_can_not_be_read_hinders_no_other() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    upload(&store, "a", &PARTS).unwrap();
    upload(&store, "b", &[3, 4]).unwrap();
    let (path, _) = store.paths(&id("a")).unwrap().remove(2);
    let path = path.strip_prefix("/sim").unwrap().to_str().unwrap();
    disk.open(path, crate::Mode::Existing).unwrap().set_len(7).unwrap();
    assert_eq!(store.consolidate(u64::MAX), Err(Failure::Io));
    assert!(store.trouble().is_some());
    assert_eq!(store.consolidate(u64::MAX), Ok(true));
    assert_eq!(files(&store, "b"), 1);
    assert_eq!(store.consolidate(u64::MAX), Err(Failure::Io), "it is tried again");
    reclaim(&store);
    assert_eq!(files_on(&disk), 4, "what was copied of it is gone");
}

#[test]
fn a_full_disk_puts_it_off() {
    const NEEDED: u64 = 800_000 + 100_000 + 4 * (256 << 10);
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload(&store, "a", &[400_000, 400_000]).unwrap();
        store.flush().unwrap();
        let written = disk.traffic("data/");
        for free in [400_000, 900_000, NEEDED - 5_000] {
            disk.set_free(Some(free));
            for _ in 0..3 {
                assert_eq!(store.consolidate(100_000), Err(Failure::NoSpace), "{durability:?}");
                assert!(store.needs_consolidation());
            }
        }
        assert_eq!(
            (disk.traffic("data/"), files_on(&disk)),
            (written, 2),
            "{durability:?}: nothing is written"
        );
        assert!(!store.is_full(), "{durability:?}");
        // Once the copy has its space, less is free than it needed; it goes on.
        disk.set_free(Some(NEEDED + (256 << 10)));
        finish(&store, 100_000);
        assert_eq!((files(&store, "a"), body(&store, "a")), (1, bytes(&[400_000, 400_000])));
        assert_eq!(store.verify().unwrap(), []);
    }
}

/// All of it is set aside first: whoever fills the disk meanwhile takes nothing of it.
#[test]
fn a_copy_that_was_begun_fits() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload(&store, "a", &[20_000, 20_000]).unwrap();
        store.flush().unwrap();
        assert_eq!(store.consolidate(4_000), Ok(true));
        assert_eq!(stored(&disk), 80_000);
        disk.set_free(Some(300 << 10));
        finish(&store, 4_000);
        assert_eq!((files(&store, "a"), body(&store, "a")), (1, bytes(&[20_000, 20_000])));
        assert_eq!(store.verify().unwrap(), []);
    }
}

/// The disk says that there is space, and a quota that there is none.
#[test]
fn pauses_grow_where_space_is_missing_in_spite_of_what_the_disk_says() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    upload(&store, "a", &[20_000, 20_000]).unwrap();
    disk.set_free(Some(64 << 20));
    disk.refuse_claims(true);
    let mut tries = Vec::new();
    for call in 0..20 {
        let before = disk.calls();
        assert_eq!(store.consolidate(4_000), Err(Failure::NoSpace));
        if disk.calls() > before {
            tries.push(call);
        }
        reclaim(&store);
    }
    assert!(tries.len() <= 6 && tries.windows(3).all(|w| w[2] - w[1] >= w[1] - w[0]), "{tries:?}");
    assert!(!store.is_full());
    disk.refuse_claims(false);
    disk.set_free(Some(65 << 20));
    finish(&store, 4_000);
    assert_eq!(files(&store, "a"), 1);
}

#[test]
fn eventual_copies_nothing_that_a_flush_may_take_back() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.flush().unwrap();
    assert_eq!(store.consolidate(100), Ok(false));
    upload(&store, "a", &PARTS).unwrap();
    assert!(!store.needs_consolidation());
    assert_eq!(store.consolidate(u64::MAX), Ok(false));
    // The call for all of them fails, and then that for the first of the three: it is lost.
    let next = disk.calls();
    disk.fail(next..next + 2, Fault::Evict);
    assert!(store.flush_data().is_err());
    assert_eq!(store.consolidate(u64::MAX), Ok(false));
    store.flush().unwrap();
    assert!(!store.load(&id("a")).unwrap().unwrap().is_complete());
    assert_eq!(store.awaits_consolidation(&id("a")), Ok(false));
    finish(&store, 100);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn it_can_be_left_undone() {
    let disk = SimDisk::new();
    let options = Options { consolidate: false, ..options(Durability::Strict) };
    let store = Store::open_on(Arc::new(disk), &options).unwrap();
    upload(&store, "a", &PARTS).unwrap();
    assert!(!store.needs_consolidation());
    assert_eq!(store.awaits_consolidation(&id("a")), Ok(false));
    assert_eq!(store.consolidate(u64::MAX), Ok(false));
    assert_eq!((files(&store, "a"), store.verify().unwrap()), (3, vec![]));
}

/// Two uploads are put into one file; one of them goes half way. Goes on after failures.
fn run_script(disk: &SimDisk, durability: Durability) -> Option<Store> {
    let store = Store::open_on(Arc::new(disk.clone()), &options(durability)).ok()?;
    let _ = upload(&store, "a", &PARTS);
    let _ = upload(&store, "gone", &[900, 600]);
    let _ = store.flush();
    for _ in 0..3 {
        let _ = store.consolidate(1_000);
    }
    let _ = upload(&store, "b", &[1, 3_000, 700]);
    let _ = store.commit(&[Change::Delete { id: id("gone"), fence: Fence(u64::MAX) }]);
    let _ = store.flush();
    // A few of them may fail.
    let _ = (0..12).try_for_each(|_| match store.consolidate(3_000) {
        Ok(false) => Err(()),
        _ => Ok(()),
    });
    let _ = store.flush();
    let _ = store.reclaim(8);
    Some(store)
}

/// Whatever happened: what is complete is itself, and is put into one file; and nothing else is there.
fn check(store: &Store, disk: &SimDisk, context: &str) {
    let uploads = store.list(None, 9).unwrap();
    let is_itself = |context: &str| {
        for record in &uploads {
            let name = record.id.as_str();
            let parts: &[usize] = match name {
                "a" => &PARTS,
                "b" => &[1, 3_000, 700],
                _ => &[900, 600],
            };
            let whole = bytes(parts);
            assert!(whole.starts_with(&body(store, name)), "{context}: {name}");
            assert!(!record.is_complete() || whole.len() as u64 == record.offset, "{context}: {name}");
        }
    };
    is_itself(context);
    store.flush().unwrap();
    reclaim(store);
    assert_eq!(store.verify().unwrap(), [], "{context}");
    finish(store, 2_000);
    is_itself(&format!("{context}, in one file"));
    for record in uploads.iter().filter(|record| record.is_complete()) {
        assert_eq!(files(store, record.id.as_str()), 1, "{context}: {}", record.id);
    }
    reclaim(store);
    assert_eq!(store.verify().unwrap(), [], "{context}");
    for record in &uploads {
        assert!(store.delete(&record.id).unwrap(), "{context}");
    }
    reclaim(store);
    assert_eq!(files_on(disk), 0, "{context}");
}

fn calls(durability: Durability) -> u64 {
    let disk = SimDisk::new();
    let store = run_script(&disk, durability).unwrap();
    assert_eq!((files(&store, "a"), files(&store, "b")), (1, 1), "the script does all of it");
    disk.calls()
}

#[test]
fn a_crash_at_any_call_changes_no_byte_and_leaves_nothing_behind() {
    for durability in BOTH {
        for at in 0..calls(durability) {
            for crash in [Crash::Process, Crash::Machine(at)] {
                let disk = SimDisk::new();
                disk.write_short(at % 3 == 0);
                disk.die_at(at);
                let store = run_script(&disk, durability);
                disk.crash(crash);
                drop(store);
                let context = format!("{durability:?}, {crash:?} at call {at}");
                check(&open(&disk, durability), &disk, &context);
            }
        }
    }
}

#[test]
fn a_failure_at_any_call_changes_no_byte_and_leaves_nothing_behind() {
    for durability in BOTH {
        for (at, fault) in
            (0..calls(durability)).zip([Fault::Io, Fault::Evict, Fault::Full, Fault::Io].into_iter().cycle())
        {
            let disk = SimDisk::new();
            disk.fail(at..at + 1 + at % 3, fault);
            let store = run_script(&disk, durability);
            disk.heal();
            let context = format!("{durability:?}, {fault:?} at call {at}");
            check(&store.unwrap_or_else(|| open(&disk, durability)), &disk, &context);
        }
    }
}

/// Who waits for one file must not wait for ever.
#[test]
fn what_could_not_be_put_into_one_file_is_not_waited_for() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        upload(&store, "a", &PARTS).unwrap();
        store.flush().unwrap();
        disk.set_free(Some(8 << 10));
        assert_eq!(store.awaits_consolidation(&id("a")), Ok(true));
        assert_eq!(store.consolidate(u64::MAX), Err(Failure::NoSpace));
        assert_eq!(store.awaits_consolidation(&id("a")), Ok(false), "{durability:?}");
        disk.set_free(None);
        reclaim(&store);
        finish(&store, u64::MAX);
        assert_eq!((files(&store, "a"), body(&store, "a")), (1, bytes(&PARTS)));
    }
}

/// The answer to a commit may be lost, but not what it did.
#[test]
fn what_was_completed_in_spite_of_a_failure_is_put_into_one_file() {
    let mut happened = 0;
    for late in 0..20 {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        upload_as(&store, Some(Concat::Partial), "p", &[40]).unwrap();
        upload_as(&store, Some(Concat::Partial), "q", &[40]).unwrap();
        assert_eq!(store.consolidate(1), Ok(false));
        let next = disk.calls() + late;
        disk.fail(next..next + 1, Fault::Io);
        let record = Record { concat: Some(Concat::Final("final; /p /p".to_owned())), ..record("f", None) };
        let parts = ["p", "q"].map(id).to_vec();
        store.commit(&[Change::Concat { record, parts, max: None, delete_parts: true }]);
        disk.heal();
        if store.load(&id("f")).unwrap().is_some() {
            happened += 1;
            assert!(store.needs_consolidation(), "fault at {late}");
        }
    }
    assert!(happened > 0);
}
