//! Administration of a server in this process: what needs a hook to be seen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tus_mio_server::{
    Handle, Server, Settings,
    admin::{AdminError, Administration, Client, UploadQuery},
    hooks::Hooks,
};
use tus_proto::{Completion, Record, UploadId, WallTime};
use tus_redb::{Change, Options, Store};

fn create(dir: &Path, ids: impl Iterator<Item = String>) {
    let store = Store::open(dir, &Options::default()).unwrap();
    let changes: Vec<_> = ids
        .map(|id| Change::Create {
            record: Record {
                id: UploadId::new(&id).unwrap(),
                created: WallTime::from_micros(1),
                offset: 0,
                length: Some(1),
                metadata: String::new(),
                expires: None,
                concat: None,
                explicit: None,
            },
            first: None,
        })
        .collect();
    assert!(store.commit(&changes).iter().all(|completion| *completion == Completion::Created));
}

fn start(dir: &Path, hooks: Hooks) -> (Handle, JoinHandle<()>, Client) {
    let settings = Settings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        data_dir: dir.to_owned(),
        hooks,
        ..Settings::default()
    };
    let server = Server::bind(settings).unwrap();
    let handle = server.handle();
    let thread = thread::spawn(|| server.run().unwrap());
    (handle, thread, Client::find(dir).unwrap().unwrap())
}

#[test]
fn what_an_operator_deletes_is_told_to_the_hook_and_asked_of_none() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), ["a".to_owned(), "b".to_owned()].into_iter());
    let (tell, told) = mpsc::channel();
    let hooks = Hooks::new()
        .on_before_terminate(|_, _| Err(tus_mio_server::hooks::HookError::failed("never")))
        .on_upload_terminate(move |upload| {
            tell.send(upload.id.to_string()).unwrap();
            Ok(())
        });
    let (handle, thread, client) = start(dir.path(), hooks);
    assert_eq!(client.delete("a").unwrap().deleted, "a");
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), "a");
    assert!(matches!(client.delete("a"), Err(AdminError::Unknown(_))));
    handle.shutdown();
    thread.join().unwrap();
    assert!(Client::find(dir.path()).unwrap().is_none());
}

#[test]
fn pages_are_read_while_uploads_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), (0..2_500).map(|number| format!("upload-{number:04}")));
    let (handle, thread, client) = start(dir.path(), Hooks::new());
    let mut query = UploadQuery::default();
    let mut seen = Vec::new();
    loop {
        let page = client.uploads(&query).unwrap();
        seen.extend(page.uploads.into_iter().map(|upload| upload.id));
        // One that was seen, one that comes next.
        let _ = (client.delete(&seen[0]), client.delete("upload-1500"));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert!(seen.is_sorted() && !seen.contains(&"upload-1500".to_owned()));
    assert_eq!(seen.len(), 2_499);
    let mut place = None;
    let mut uploads = 0;
    loop {
        let page = client.check(place.as_deref()).unwrap();
        assert_eq!(page.findings, []);
        uploads += page.uploads;
        place = page.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(uploads, client.stats().unwrap().uploads);
    handle.shutdown();
    thread.join().unwrap();
}
