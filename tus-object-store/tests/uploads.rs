//! What the store and its locks promise, over a bucket that fails nobody: through sessions, on one server and on several.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::cluster::{Ask, Cluster, small, told};
use tus_driver::{
    Answer, Store, Ticket,
    tus_proto::{Algorithm, Config, Cut, Hasher, UploadId},
};

fn cluster() -> (Cluster, u64, u64) {
    let mut cluster = Cluster::new(1, small());
    let (one, two) = (cluster.start(0), cluster.start(7_000_000));
    cluster.counts();
    (cluster, one, two)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn an_upload_goes_on_at_another_server_and_is_read_at_both() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(1_234);
    let upload = cluster.create(one, 1_234, &[]);
    let mut offset = 0;
    for (index, len) in [5usize, 3, 100, 51, 333, 0, 700, 42].into_iter().enumerate() {
        let server = if index % 2 == 0 { one } else { two };
        let body = &whole[offset..offset + len];
        let response = cluster.send(server, Ask::patch(&upload, offset as u64, body));
        offset += len;
        assert_eq!(told(&response), (204, Some(offset as u64)));
        assert_eq!(cluster.head(one, &upload), (200, Some(offset as u64)));
        assert_eq!(cluster.head(two, &upload), (200, Some(offset as u64)));
    }
    assert_eq!(cluster.get(one, &upload), (200, whole.clone()));
    assert_eq!(cluster.get(two, &upload), (200, whole));
}

#[test]
fn every_length_and_every_cut_is_read_back() {
    let (mut cluster, one, two) = cluster();
    for len in [0usize, 1, 16, 17, 49, 50, 51, 99, 100, 101, 150, 200, 350] {
        for first in [0, 1, 15, 16, 40, 50, 99, 100, 149, 199, 249] {
            let first = first.min(len);
            let whole = bytes(len);
            let upload = cluster.create(one, len as u64, &[]);
            if first > 0 {
                let response = cluster.send(one, Ask::patch(&upload, 0, &whole[..first]));
                assert_eq!(told(&response), (204, Some(first as u64)));
            }
            if first < len {
                let response = cluster.send(two, Ask::patch(&upload, first as u64, &whole[first..]));
                assert_eq!(told(&response), (204, Some(len as u64)), "{first} of {len}");
            }
            assert_eq!(cluster.get(two, &upload), (200, whole), "{first} of {len}");
        }
    }
    assert!(cluster.servers.values().all(|server| server.store.memory_used() == 0));
}

#[test]
fn a_request_costs_few_requests() {
    let (mut cluster, one, _) = cluster();
    let creation = |body: &[u8]| {
        let mut ask = Ask::new("POST", "/files")
            .field("Upload-Length", body.len())
            .field("Content-Type", "application/offset+octet-stream");
        ask.body = body.into();
        ask
    };
    let response = cluster.send(one, creation(&bytes(16)));
    let upload: String = response.header("Location").unwrap().into();
    assert_eq!(response.status(), 201);
    let counts = cluster.counts();
    assert_eq!(counts.values().sum::<u64>(), 1, "the record, with the bytes: {counts:?}");
    cluster.head(one, &upload);
    let counts = cluster.counts();
    assert_eq!(counts.values().sum::<u64>(), 1, "{counts:?}");
    let upload = cluster.create(one, 1_000, &[]);
    cluster.counts();
    cluster.send(one, Ask::patch(&upload, 0, &bytes(1_000)));
    let counts = cluster.counts();
    assert_eq!(counts["part"], 10);
    assert!(counts.values().sum::<u64>() <= 10 + 8, "{counts:?}");
    assert_eq!(cluster.get(one, &upload), (200, bytes(1_000)));
    assert_eq!(cluster.keys("d/").len(), 1, "it is one object");
}

#[test]
fn a_small_body_is_written_with_its_record() {
    let (mut cluster, one, two) = cluster();
    // What is longer than 16 bytes does not lie in a record.
    for (length, first, requests) in [(9usize, 9usize, 1), (300, 16, 1), (300, 17, 4)] {
        let whole = bytes(length);
        let mut ask = Ask::new("POST", "/files")
            .field("Upload-Length", length)
            .field("Content-Type", "application/offset+octet-stream");
        ask.body = whole[..first].into();
        cluster.counts();
        let response = cluster.send(one, ask);
        assert_eq!(told(&response), (201, Some(first as u64)));
        let counts = cluster.counts();
        assert_eq!(counts.values().sum::<u64>(), requests, "{first}: {counts:?}");
        let upload: String = response.header("Location").unwrap().into();
        assert_eq!(cluster.head(two, &upload), (200, Some(first as u64)));
        if first < length {
            let response = cluster.send(two, Ask::patch(&upload, first as u64, &whole[first..]));
            assert_eq!(told(&response), (204, Some(length as u64)));
        }
        assert_eq!(cluster.get(one, &upload), (200, whole));
    }
}

#[test]
fn what_came_before_a_cut_is_kept_and_a_finished_upload_is_one_object() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(500);
    let upload = cluster.create(one, 500, &[]);
    let mut ask = Ask::patch(&upload, 0, &whole[..230]);
    (ask.promised, ask.cut) = (Some(500), Some(Cut::PeerGone));
    let id = cluster.ask(one, ask);
    cluster.run_until(|cluster| cluster.requests[&id].done.then_some(())).unwrap();
    assert_eq!(cluster.head(two, &upload), (200, Some(230)));
    assert_eq!(told(&cluster.send(two, Ask::patch(&upload, 230, &whole[230..]))), (204, Some(500)));
    assert_eq!(cluster.get(one, &upload), (200, whole));
    cluster.run_for(Duration::from_secs(5));
    assert_eq!(cluster.keys("d/").len(), 1, "{:?}", cluster.keys("d/"));
}

#[test]
fn a_writer_yields_to_one_at_another_server() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(300);
    let upload = cluster.create(one, 300, &[]);
    let mut ask = Ask::patch(&upload, 0, &whole[..120]);
    ask.promised = Some(300);
    let early = cluster.ask(one, ask);
    // It has sent what it had, and stays.
    cluster.run_until(|cluster| {
        let request = cluster.requests.get_mut(&early).unwrap();
        request.slow = request.body.len() <= 1;
        request.slow.then_some(())
    });
    cluster.run_for(Duration::from_secs(3));
    let (_, offset) = cluster.head(two, &upload);
    let offset = offset.unwrap();
    assert!(offset >= 100, "the checkpoint: {offset}");
    let response = cluster.send(two, Ask::patch(&upload, offset, &whole[offset as usize..]));
    let (status, now) = told(&response);
    if status == 409 {
        let now = now.unwrap();
        assert_eq!(
            told(&cluster.send(two, Ask::patch(&upload, now, &whole[now as usize..]))),
            (204, Some(300))
        );
    } else {
        assert_eq!((status, now), (204, Some(300)));
    }
    assert_eq!(cluster.get(one, &upload), (200, whole));
}

#[test]
fn the_lease_of_a_server_that_died_runs_out_and_its_late_parts_harm_nobody() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(900);
    let upload = cluster.create(one, 900, &[]);
    let mut ask = Ask::patch(&upload, 0, &whole[..450]);
    ask.promised = Some(900);
    let early = cluster.ask(one, ask);
    cluster.run_until(|cluster| (cluster.requests[&early].body.len() < 200).then_some(()));
    cluster.kill(one);
    let mut tries = 0;
    let mut offset = cluster.head(two, &upload).1.unwrap();
    loop {
        let response = cluster.send(two, Ask::patch(&upload, offset, &whole[offset as usize..]));
        match told(&response) {
            (204, Some(900)) => break,
            (423, _) => cluster.run_for(Duration::from_secs(1)),
            (409, Some(now)) => offset = now,
            other => panic!("{other:?}"),
        }
        tries += 1;
        assert!(tries < 10);
    }
    assert!(tries >= 1, "the lease held for a while");
    assert_eq!(cluster.get(two, &upload), (200, whole));
}

#[test]
fn a_deleted_upload_is_gone_everywhere_and_so_are_its_bytes() {
    let (mut cluster, one, two) = cluster();
    let upload = cluster.create(one, 400, &[]);
    cluster.send(one, Ask::patch(&upload, 0, &bytes(250)));
    assert_eq!(cluster.send(two, Ask::new("DELETE", &upload)).status(), 204);
    assert_eq!(cluster.head(one, &upload).0, 404);
    assert_eq!(cluster.send(one, Ask::patch(&upload, 250, &bytes(10))).status(), 404);
    cluster.run_for(Duration::from_secs(200));
    assert_eq!(cluster.keys("d/"), Vec::<String>::new());
    assert_eq!(cluster.keys("u/").len(), 1, "the tombstone");
    cluster.run_for(Duration::from_secs(25 * 60 * 60));
    assert_eq!(cluster.keys("u/"), Vec::<String>::new());
    assert_eq!(cluster.keys("x/"), Vec::<String>::new());
}

#[test]
fn an_upload_that_nobody_goes_on_with_expires_and_one_that_is_written_does_not() {
    let expiring =
        Config::builder().upload_expiry(Some(Duration::from_secs(600))).downloads(true).build().unwrap();
    let mut cluster = Cluster::with_config(3, small(), expiring);
    let one = cluster.start(0);
    let (left, kept) = (cluster.create(one, 300, &[]), cluster.create(one, 300, &[]));
    cluster.send(one, Ask::patch(&left, 0, &bytes(120)));
    cluster.run_for(Duration::from_secs(400));
    assert_eq!(told(&cluster.send(one, Ask::patch(&kept, 0, &bytes(120)))), (204, Some(120)));
    cluster.run_for(Duration::from_secs(500));
    assert_eq!(cluster.head(one, &left).0, 410);
    assert_eq!(cluster.head(one, &kept), (200, Some(120)));
    assert_eq!(told(&cluster.send(one, Ask::patch(&kept, 120, &bytes(180)))), (204, Some(300)));
    cluster.run_for(Duration::from_secs(26 * 60 * 60));
    assert_eq!(cluster.head(one, &left).0, 404);
    assert_eq!(cluster.head(one, &kept), (200, Some(300)), "what is finished stays");
    assert_eq!(cluster.keys("u/").len(), 1);
    assert_eq!(cluster.keys("x/"), Vec::<String>::new());
}

#[test]
fn a_final_shares_its_parts_objects_and_keeps_them() {
    let (mut cluster, one, two) = cluster();
    let part = [("Upload-Concat", "partial")];
    let (first, second) = (cluster.create(one, 230, &part), cluster.create(two, 5, &part));
    cluster.send(one, Ask::patch(&first, 0, &bytes(230)));
    let concat = format!("final;{first} {second}");
    let response = cluster.send(one, Ask::new("POST", "/files").field("Upload-Concat", &concat));
    assert_eq!(response.status(), 201);
    let whole: String = response.header("Location").unwrap().into();
    let objects = cluster.keys("d/").len();
    cluster.send(two, Ask::patch(&second, 0, b"abcde"));
    let expected: Vec<u8> = bytes(230).into_iter().chain(*b"abcde").collect();
    assert_eq!(cluster.get(two, &whole), (200, expected.clone()));
    assert_eq!(cluster.keys("d/").len(), objects, "nothing was copied");
    assert_eq!(cluster.send(one, Ask::new("DELETE", &first)).status(), 204);
    assert_eq!(cluster.send(one, Ask::new("DELETE", &second)).status(), 204);
    cluster.run_for(Duration::from_secs(26 * 60 * 60));
    assert_eq!(cluster.get(one, &whole), (200, expected));
    assert_eq!(cluster.send(two, Ask::new("DELETE", &whole)).status(), 204);
    cluster.run_for(Duration::from_secs(26 * 60 * 60));
    assert_eq!(cluster.keys(""), ["m/opening"]);
}

#[test]
fn a_checksum_decides_whether_a_body_is_kept() {
    let (mut cluster, one, two) = cluster();
    let upload = cluster.create(one, 5, &[]);
    let right = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";
    let response = cluster.send(one, Ask::patch(&upload, 0, b"hallo").field("Upload-Checksum", right));
    assert_eq!(response.status(), 460);
    assert_eq!(cluster.head(two, &upload), (200, Some(0)));
    let response = cluster.send(two, Ask::patch(&upload, 0, b"hello").field("Upload-Checksum", right));
    assert_eq!(told(&response), (204, Some(5)));
    assert_eq!(cluster.get(one, &upload), (200, b"hello".to_vec()));
}

#[test]
fn sixty_four_bodies_go_on_with_memory_for_few() {
    let mut options = small();
    options.memory = 1_000;
    let mut cluster = Cluster::new(5, options);
    let one = cluster.start(0);
    let uploads: Vec<String> = (0..64).map(|_| cluster.create(one, 400, &[])).collect();
    let requests: Vec<u64> =
        uploads.iter().map(|upload| cluster.ask(one, Ask::patch(upload, 0, &bytes(400)))).collect();
    // All but one stop in the middle, and hold what they have.
    for id in &requests[1..] {
        cluster
            .run_until(|cluster| {
                let request = cluster.requests.get_mut(id).unwrap();
                request.slow = request.body.len() < 320;
                request.slow.then_some(())
            })
            .expect("each goes on");
    }
    let peak = cluster.servers[&one].store.memory_used();
    assert!(peak <= 1_000 + 64, "{peak}");
    for id in &requests[1..] {
        cluster.requests.get_mut(id).unwrap().slow = false;
        cluster.wake(*id);
    }
    for id in requests {
        assert_eq!(told(&cluster.answer(id)), (204, Some(400)));
        cluster.requests.remove(&id);
    }
    assert_eq!(cluster.servers[&one].store.memory_used(), 0);
}

#[test]
fn servers_that_reach_each_other_ask_for_commits_and_for_leases() {
    let mut cluster = Cluster::new(3, small());
    cluster.net = Some(Arc::default());
    let (one, two) = (cluster.start(0), cluster.start(0));
    let upload = cluster.create(one, 200, &[]);
    let mut ask = Ask::patch(&upload, 0, &bytes(130));
    (ask.promised, ask.holds) = (Some(200), true);
    let writer = cluster.ask(one, ask);
    cluster
        .run_until(|cluster| cluster.requests[&writer].body.is_empty().then_some(()))
        .expect("what there is is sent");
    let begun = cluster.world.now();
    assert_eq!(
        cluster.head(two, &upload),
        (200, Some(130)),
        "the other server has committed what has arrived"
    );
    assert!(cluster.world.now() - begun < 1_000_000);
    // A HEAD where nobody writes, or where the writer is, asks nobody.
    let asked = *cluster.net.as_ref().unwrap().asked.lock().unwrap();
    assert_eq!(cluster.head(one, &upload), (200, Some(130)));
    let other = cluster.create(two, 5, &[]);
    assert_eq!(cluster.head(one, &other), (200, Some(0)));
    assert_eq!(*cluster.net.as_ref().unwrap().asked.lock().unwrap(), asked);
    // A newcomer at the other server goes on at once.
    let begun = cluster.world.now();
    let response = cluster.send(two, Ask::patch(&upload, 130, &bytes(200)[130..]));
    assert_eq!(told(&response), (204, Some(200)));
    assert!(cluster.world.now() - begun < 10_000_000);
    assert_eq!(cluster.answer(writer).status(), 400, "the writer has yielded");
    assert_eq!(cluster.get(one, &upload).0, 200);
}

#[test]
fn finished_uploads_are_published_also_after_a_crash() {
    let mut options = small();
    options.publish_prefix = Some("done".into());
    let mut cluster = Cluster::new(5, options);
    let one = cluster.start(0);
    let name = [("Upload-Metadata", "filename YS9i")];
    let mut uploads = Vec::new();
    for len in [0, 7, 130, 730] {
        let upload = cluster.create(one, len as u64, &name);
        if len > 0 {
            let response = cluster.send(one, Ask::patch(&upload, 0, &bytes(len)));
            assert_eq!(told(&response), (204, Some(len as u64)));
        }
        uploads.push((upload, len));
    }
    // The last one's server dies before it is published, or after: another does what is left.
    cluster.kill(one);
    let two = cluster.start(0);
    cluster.sweep(two);
    cluster.run_for(Duration::from_secs(5));
    for (upload, len) in &uploads {
        let key = format!("done/{}/a_b", upload.rsplit('/').next().unwrap());
        let model = cluster.model.lock().unwrap();
        assert_eq!(model.objects.get(&key).map(|object| object.to_vec()), Some(bytes(*len)), "{key}");
    }
    assert!(cluster.keys("p/").is_empty());
    // The copy stays.
    assert_eq!(cluster.send(two, Ask::new("DELETE", &uploads[3].0)).status(), 204);
    assert_eq!(cluster.keys("done/").len(), 4);
}

#[test]
fn committed_bytes_are_hashed_wherever_they_are_and_the_upload_goes_on() {
    let (mut cluster, one, two) = cluster();
    let whole = bytes(500);
    let upload = cluster.create(one, 500, &[]);
    let mut at = 0;
    for to in [10, 280, 333, 500] {
        let response = cluster.send(one, Ask::patch(&upload, at as u64, &whole[at..to]));
        assert_eq!(told(&response), (204, Some(to as u64)));
        at = to;
        let id = UploadId::new(upload.rsplit('/').next().unwrap()).unwrap();
        let hashed = Arc::new(Mutex::new(None));
        let answer = hashed.clone();
        let later = move || Ticket::new(move |digest| *answer.lock().unwrap() = Some(digest));
        let store = cluster.servers[&two].store.clone();
        assert!(matches!(store.hash(&id, to as u64, Algorithm::Sha256, later), Answer::Later));
        let digest = cluster.run_until(|_| hashed.lock().unwrap().take()).unwrap().unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&whole[..to]);
        assert_eq!(digest, hasher.finish(), "{to}");
    }
    assert_eq!(cluster.get(two, &upload), (200, whole));
}
