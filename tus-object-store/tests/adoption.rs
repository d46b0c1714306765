//! Uploads of another program in the same bucket, in the layout of tusd's S3 store: adopted where they are, gone on with at
//! two servers, read, concatenated and deleted.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use support::{
    cluster::{Ask, Cluster, small, told},
    model::etag,
};
use tus_driver::tus_proto::{Concat, Failure, Record, UploadId, WallTime};
use tus_object_store::{Adopted, BucketStore, Foreign, ForeignBytes};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 11 + at / 253) as u8).collect()
}

fn cluster() -> (Cluster, u64, u64) {
    let mut cluster = Cluster::new(1, small());
    let (one, two) = (cluster.start(0), cluster.start(7_000_000));
    (cluster, one, two)
}

fn foreign(id: &str) -> Foreign {
    let (object, multipart) = (format!("/tusd/{id}"), format!("multi-{id}"));
    Foreign { tail: format!("{object}.part"), object, multipart }
}

/// Puts an upload there as tusd would: parts by their numbers, and what lies past them.
fn put(cluster: &Cluster, id: &str, parts: &[(usize, &[u8])], tail: &[u8]) {
    let mut model = cluster.model.lock().unwrap();
    let parts: BTreeMap<usize, Bytes> =
        parts.iter().map(|(number, bytes)| (*number, Bytes::copy_from_slice(bytes))).collect();
    let foreign = foreign(id);
    model.uploads.insert(foreign.multipart, (foreign.object, parts));
    if !tail.is_empty() {
        model.write(&foreign.tail, Bytes::copy_from_slice(tail), etag(tail));
    }
}

/// Puts a finished upload there.
fn put_object(cluster: &Cluster, id: &str, bytes: &[u8]) {
    cluster.model.lock().unwrap().write(
        &foreign(id).object,
        Bytes::copy_from_slice(bytes),
        "\"whole\"".into(),
    );
}

fn run<T: Send + 'static, F>(cluster: &mut Cluster, server: u64, work: impl FnOnce(BucketStore) -> F) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let (told, work) = (result.clone(), work(cluster.servers[&server].store.clone()));
    let task = async move {
        let value = work.await;
        *told.lock().unwrap() = Some(value);
    };
    assert!(cluster.executor(server).spawn(Box::pin(task)).is_ok());
    cluster.run_until(|_| result.lock().unwrap().take()).expect("it ends")
}

fn survey(cluster: &mut Cluster, server: u64, id: &str) -> Option<ForeignBytes> {
    let foreign = foreign(id);
    run(cluster, server, |store| async move { store.survey(&foreign).await.unwrap() })
}

fn adopt(
    cluster: &mut Cluster,
    server: u64,
    id: &str,
    length: Option<u64>,
    concat: Option<Concat>,
) -> Result<Adopted, Failure> {
    let bytes = survey(cluster, server, id).expect("it is there");
    let record = Record {
        id: UploadId::new(id).unwrap(),
        created: WallTime::default(),
        offset: bytes.offset(),
        length,
        metadata: String::new(),
        expires: None,
        concat,
        explicit: None,
    };
    run(cluster, server, |store| async move { store.adopt(&record, &bytes, false).await })
}

fn foreign_keys(cluster: &Cluster) -> Vec<String> {
    let model = cluster.model.lock().unwrap();
    model.objects.keys().filter(|key| key.starts_with("/tusd")).cloned().collect()
}

#[test]
fn unfinished_uploads_go_on_from_each_state_that_tusd_leaves() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(450);
    // Parts of 100 bytes, at least 50; a tail of fewer, in the record or an object.
    for (parts, tail) in [(0, 0), (0, 7), (0, 40), (1, 0), (1, 16), (1, 17), (4, 0), (4, 49)] {
        let id = format!("u-{parts}-{tail}");
        let sent: Vec<(usize, &[u8])> = (0..parts).map(|at| (at, &whole[at * 100..at * 100 + 100])).collect();
        let offset = parts * 100 + tail;
        put(&cluster, &id, &sent, &whole[parts * 100..offset]);
        let before = foreign_keys(&cluster);
        assert_eq!(adopt(&mut cluster, one, &id, Some(450), None), Ok(Adopted::Yes), "{id}");
        assert_eq!(foreign_keys(&cluster), before, "nothing of tusd's is changed");
        assert_eq!(adopt(&mut cluster, two, &id, Some(450), None), Ok(Adopted::Exists), "{id}");
        let target = format!("/files/{id}");
        assert_eq!(cluster.head(two, &target), (200, Some(offset as u64)), "{id}");
        let middle = (offset + 450) / 2;
        for (server, from, to) in [(two, offset, middle), (one, middle, 450)] {
            let answer = cluster.send(server, Ask::patch(&target, from as u64, &whole[from..to]));
            assert_eq!(told(&answer), (204, Some(to as u64)), "{id}");
        }
        assert_eq!(cluster.get(two, &target), (200, whole.clone()), "{id}");
        assert!(cluster.model.lock().unwrap().objects.contains_key(&foreign(&id).tail) == (tail > 0));
    }
    let check = run(&mut cluster, one, |store| async move { store.check(false).await.unwrap() });
    assert_eq!((check.uploads, check.findings), (8, vec![]));
}

#[test]
fn bytes_past_a_gap_are_given_up_and_what_is_gone_is_not_adopted() {
    let (mut cluster, one, _) = cluster();
    let whole = bytes(400);
    put(&cluster, "gap", &[(0, &whole[..100]), (2, &whole[200..300])], &whole[300..320]);
    let found = survey(&mut cluster, one, "gap").unwrap();
    assert_eq!((found.offset(), found.given_up()), (100, 120));
    put(&cluster, "short", &[(0, &whole[..100]), (1, &whole[100..130]), (2, &whole[130..230])], b"");
    let found = survey(&mut cluster, one, "short").unwrap();
    assert_eq!((found.offset(), found.given_up()), (130, 100));
    assert_eq!(survey(&mut cluster, one, "gone"), None);
    for (id, offset) in [("gap", 100), ("short", 130)] {
        assert_eq!(adopt(&mut cluster, one, id, Some(400), None), Ok(Adopted::Yes));
        let target = format!("/files/{id}");
        assert_eq!(cluster.head(one, &target), (200, Some(offset as u64)));
        let answer = cluster.send(one, Ask::patch(&target, offset as u64, &whole[offset..]));
        assert_eq!(told(&answer), (204, Some(400)));
        assert_eq!(cluster.get(one, &target), (200, whole.clone()), "{id}");
    }
}

#[test]
fn a_deferred_length_is_declared_later_and_all_bytes_without_completion_are_completed() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(250);
    put(&cluster, "deferred", &[(0, &whole[..100])], &whole[100..140]);
    assert_eq!(adopt(&mut cluster, one, "deferred", None, None), Ok(Adopted::Yes));
    assert_eq!(cluster.head(two, "/files/deferred"), (200, Some(140)));
    let last = Ask::patch("/files/deferred", 140, &whole[140..]).field("Upload-Length", 250);
    assert_eq!(told(&cluster.send(two, last)), (204, Some(250)));
    assert_eq!(cluster.get(one, "/files/deferred"), (200, whole.clone()));
    // tusd ended after the last part, and before it completed the multipart upload.
    put(&cluster, "all", &[(0, &whole[..100]), (1, &whole[100..200]), (2, &whole[200..])], b"");
    assert_eq!(adopt(&mut cluster, one, "all", Some(250), None), Ok(Adopted::Yes));
    assert_eq!(cluster.get(two, "/files/all"), (200, whole));
    put(&cluster, "nothing", &[], b"");
    assert_eq!(adopt(&mut cluster, one, "nothing", Some(0), None), Ok(Adopted::Yes));
    assert_eq!(cluster.get(two, "/files/nothing"), (200, Vec::new()));
}

#[test]
fn finished_uploads_are_read_where_they_are_and_parts_make_new_finals() {
    let (mut cluster, one, two) = cluster();
    let (a, b) = (bytes(130), bytes(77));
    put_object(&cluster, "a", &a);
    put(&cluster, "b", &[], &b[..40]);
    put_object(&cluster, "done", &[&*a, &*b].concat());
    for (id, length, concat) in [
        ("a", 130, Some(Concat::Partial)),
        ("b", 77, Some(Concat::Partial)),
        ("done", 207, Some(Concat::Final("final;/files/a+x /files/b+y".into()))),
    ] {
        assert_eq!(adopt(&mut cluster, one, id, Some(length), concat), Ok(Adopted::Yes));
    }
    let objects = cluster.keys("d/").len();
    assert_eq!(objects, 1, "the tail of b alone was copied");
    assert_eq!(cluster.get(two, "/files/done"), (200, [&*a, &*b].concat()));
    let final_of = Ask::new("POST", "/files").field("Upload-Concat", "final;/files/a /files/b");
    let answer = cluster.send(two, final_of);
    assert_eq!(answer.status(), 201);
    let target: String = answer.header("Location").unwrap().into();
    assert_eq!(told(&cluster.send(one, Ask::patch("/files/b", 40, &b[40..]))), (204, Some(77)));
    let both = [&*a, &*b].concat();
    assert_eq!(cluster.get(one, &target), (200, both.clone()));

    // A part's object stays as long as a final has it.
    assert_eq!(cluster.send(one, Ask::new("DELETE", "/files/a")).status(), 204);
    cluster.run_for(Duration::from_secs(300));
    assert_eq!(cluster.get(two, &target), (200, both));
    assert!(foreign_keys(&cluster).contains(&"/tusd/a".to_owned()));
    assert_eq!(cluster.send(one, Ask::new("DELETE", &target)).status(), 204);
    cluster.run_for(Duration::from_secs(300));
    assert!(!foreign_keys(&cluster).contains(&"/tusd/a".to_owned()), "{:?}", foreign_keys(&cluster));
    assert_eq!(cluster.get(two, "/files/done").0, 200);
}

#[test]
fn a_deletion_takes_adopted_bytes_along() {
    let (mut cluster, one, _) = cluster();
    let whole = bytes(300);
    put(&cluster, "parts", &[(0, &whole[..100])], b"");
    put_object(&cluster, "object", &whole);
    for id in ["parts", "object"] {
        assert_eq!(adopt(&mut cluster, one, id, Some(300), None), Ok(Adopted::Yes));
        assert_eq!(cluster.send(one, Ask::new("DELETE", &format!("/files/{id}"))).status(), 204);
    }
    cluster.run_for(Duration::from_secs(5));
    assert_eq!(foreign_keys(&cluster), Vec::<String>::new());
    assert!(!cluster.model.lock().unwrap().uploads.contains_key("multi-parts"), "it is aborted");
    assert_eq!(cluster.head(one, "/files/parts").0, 404);
}
