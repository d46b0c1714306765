//! The commands beside a running server, which they find at its socket in the data directory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    program::{Place, Running},
    store::{document, filled},
};

/// A server of `tus-data` or another directory, and its address.
pub(crate) fn serve(place: &Place, data_dir: &str, flags: &[&str]) -> (Running, String) {
    let arguments = [&["--listen", "127.0.0.1:0", "--data-dir", data_dir], flags].concat();
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let line = server.line();
    let address = line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/files"));
    let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
    (server, address)
}

/// Sends a request, and gives its connection.
pub(crate) fn send(address: &str, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("{head}\r\nHost: {address}\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An answer from this address, its status and its body.
pub(crate) fn ask(address: &str, head: &str) -> (u16, String) {
    let answer = answer(send(address, head, ""));
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn commands_tell_the_same_beside_a_server_as_without_one() {
    let place = Place::new();
    filled(&place);
    let commands: [&[&str]; 16] = [
        &["list"],
        &["list", "--json"],
        &["list", "--json", "--state", "unfinished"],
        &["list", "--json", "--state", "expired"],
        &["list", "--json", "--larger-than", "4", "--older-than", "24h"],
        &["list", "--json", "--older-than", "0"],
        &["list", "--sort", "size", "--descending"],
        &["list", "--json", "--sort", "created", "--limit", "2"],
        &["list", "--json", "--limit", "1", "--after", "0.a-complete"],
        &["show", "a-complete"],
        &["show", "--json", "c-deferred"],
        &["cat", "b-half"],
        &["stats"],
        &["verify"],
        &["verify", "--json"],
        &["export", "-"],
    ];
    // The free space of the disk is others' as well.
    let told = |command: &[&str]| {
        let run = place.run(command, &[]);
        run.assert_quiet_success().lines().filter(|line| !line.starts_with("free")).collect::<String>()
    };
    let alone = commands.map(told);
    let (server, _) = serve(&place, "tus-data", &[]);
    for (command, alone) in commands.iter().zip(alone) {
        assert_eq!(told(command), alone, "{command:?}");
    }
    for command in [&["show", "nobody"][..], &["cat", "not/an id"], &["delete", ""]] {
        place.run(command, &[]).assert_fails(1, &["there is no upload", "./tus-data"]);
    }
    place.run(&["verify", "--repair"], &[]).assert_fails(1, &["--repair needs the store alone", "stop it"]);
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    assert!(!place.path("tus-data/admin.sock").exists());
}

#[test]
fn a_limited_list_says_where_it_goes_on() {
    let place = Place::new();
    filled(&place);
    let (_server, _) = serve(&place, "tus-data", &[]);
    let run = place.run(&["list", "--limit", "2"], &[]);
    assert_eq!((run.status, run.stdout.lines().count()), (Some(0), 3));
    let place_after = run.stderr.trim_end().rsplit(' ').next().unwrap().to_owned();
    let rest = document(&place.run(&["list", "--json", "--after", &place_after], &[]));
    assert_eq!((&rest["uploads"][0]["id"], &rest["next"]), (&json!("c-deferred"), &Value::Null));
    place.run(&["list", "--after", "x"], &[]).assert_fails(2, &["after", "no place"]);
}

#[test]
fn delete_takes_the_lock_from_a_writer() {
    let place = Place::new();
    filled(&place);
    let (_server, address) = serve(&place, "tus-data", &["--disable-termination"]);
    assert_eq!(ask(&address, "DELETE /files/b-half HTTP/1.1").0, 405);
    let patch = "PATCH /files/b-half HTTP/1.1\r\nUpload-Offset: 5\r\nContent-Length: 5\r\n\
                 Content-Type: application/offset+octet-stream\r\nExpect: 100-continue";
    let mut writer = send(&address, patch, "");
    let mut begun = [0; 12];
    writer.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100", "it has the lock");
    let deleted = document(&place.run(&["delete", "--json", "b-half"], &[]));
    assert_eq!(deleted, json!({"deleted": "b-half", "bytes": 5}));
    let told = answer(writer);
    assert!(told.contains("ERR_UPLOAD_INTERRUPTED"), "{told}");
    assert_eq!(ask(&address, "HEAD /files/b-half HTTP/1.1").0, 404);
    assert_eq!(place.run(&["verify"], &[]).assert_quiet_success(), "ok: 2 uploads, 5 bytes\n");
}

#[test]
fn the_socket_is_the_owners_and_that_of_a_dead_server_is_nobodys() {
    let place = Place::new();
    filled(&place);
    // Longer than a socket's address.
    let long = format!("{}/tus-data", "d".repeat(150));
    std::fs::create_dir(place.path(&"d".repeat(150))).unwrap();
    std::fs::rename(place.path("tus-data"), place.path(&long)).unwrap();
    let (server, _) = serve(&place, &long, &[]);
    let socket = place.path(&long).join("admin.sock");
    let found = socket.symlink_metadata().unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let listed = place.run(&["list", "--data-dir", &long], &[]).assert_quiet_success().to_owned();
    server.signal(Signal::KILL);
    server.finish();
    assert!(socket.exists(), "it could not tidy up");
    assert_eq!(place.run(&["list", "--data-dir", &long], &[]).assert_quiet_success(), listed);
    let (_server, _) = serve(&place, &long, &[]);
    assert_eq!(place.run(&["list", "--data-dir", &long], &[]).assert_quiet_success(), listed);
}

#[test]
fn an_export_has_each_upload_and_what_is_known_of_it_once() {
    let place = Place::new();
    filled(&place);
    let (_server, _) = serve(&place, "tus-data", &[]);
    let run = place.run(&["export", "out"], &[]);
    assert_eq!(run.assert_quiet_success(), "exported 1 uploads, 5 bytes, to out; 0 were there already\n");
    assert_eq!(std::fs::read(place.path("out/a-complete")).unwrap(), b"hello");
    let known: Value =
        serde_json::from_slice(&std::fs::read(place.path("out/a-complete.json")).unwrap()).unwrap();
    assert_eq!(known, document(&place.run(&["show", "--json", "a-complete"], &[])));
    std::fs::write(place.path("out/a-complete"), "mine").unwrap();
    let run = document(&place.run(&["export", "--json", "out"], &[]));
    assert_eq!(run, json!({"exported": 0, "bytes": 0, "left": 1}));
    assert_eq!(std::fs::read(place.path("out/a-complete")).unwrap(), b"mine");
    let run = document(&place.run(&["export", "--json", "out", "--state", "unfinished"], &[]));
    assert_eq!(run, json!({"exported": 2, "bytes": 5, "left": 0}));
    let mut names: Vec<_> =
        std::fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 6, "nothing half done is left: {names:?}");
}

#[test]
fn administration_has_addresses_of_its_own_and_a_token() {
    let place = Place::new();
    filled(&place);
    std::fs::write(place.path("token"), "0123456789abcdef\n").unwrap();
    let flags = ["--admin-listen", "127.0.0.1:0", "--admin-token-file", "token"];
    let (mut server, public) = serve(&place, "tus-data", &flags);
    let line = server.line();
    let admin =
        line.strip_prefix("administration at http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(ask(&public, &format!("GET {path} HTTP/1.1")).0, 404, "{path}");
        assert_eq!(ask(admin, &format!("GET {path} HTTP/1.1")).0, 200, "{path}");
    }
    assert_eq!(ask(&public, "GET /uploads HTTP/1.1").0, 404);
    assert_eq!(ask(admin, "GET /uploads HTTP/1.1").0, 401);
    assert_eq!(
        ask(admin, "DELETE /uploads/a-complete HTTP/1.1\r\nAuthorization: Bearer 0123456789abcdeF").0,
        401
    );
    let shown =
        |head: &str| ask(admin, &format!("{head} HTTP/1.1\r\nAuthorization: Bearer 0123456789abcdef"));
    let (status, text) = shown("GET /uploads?state=finished&limit=5");
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &page["uploads"][0]["id"], &page["next"]), (200, &json!("a-complete"), &Value::Null));
    assert_eq!(shown("GET /uploads/a-complete/content"), (200, "hello".into()));
    for (head, status) in [
        ("GET /uploads?limit=0", 400),
        ("GET /uploads/nobody", 404),
        ("GET /files", 404),
        ("POST /uploads", 405),
        ("DELETE /stats", 405),
        ("GET /verify?after=nowhere", 400),
        ("HEAD /uploads/a-complete/content", 200),
        ("DELETE /uploads/a-complete", 200),
        ("DELETE /uploads/a-complete", 404),
    ] {
        assert_eq!(shown(head).0, status, "{head}");
    }
    let stats: Value = serde_json::from_str(&shown("GET /stats").1).unwrap();
    assert_eq!((&stats["uploads"], &stats["bytes"]), (&json!(2), &json!(5)));
    // The socket's own guard is its file.
    assert_eq!(document(&place.run(&["list", "--json"], &[]))["uploads"].as_array().unwrap().len(), 2);
}

#[test]
fn administration_that_others_reach_needs_a_token() {
    let place = Place::new();
    let run = place.run(&["--admin-listen", "0.0.0.0:0"], &[]);
    run.assert_fails(2, &["needs a token", "--admin-token-file"]);
    let run = place.run(&["--admin-listen", "0.0.0.0:0", "--admin-token-file", "missing"], &[]);
    run.assert_fails(1, &["the token in missing can't be read"]);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn health_asks_the_server_of_a_directory_or_at_an_address() {
    let place = Place::new();
    place.run(&["health"], &[]).assert_fails(1, &["no server has ./tus-data open", "--data-dir"]);
    let (server, address) = serve(&place, "tus-data", &[]);
    assert_eq!(place.run(&["health"], &[]).assert_quiet_success(), "healthy\n");
    let at = ["health", "--data-dir", "elsewhere", "--address", &address];
    assert_eq!(place.run(&at, &[]).assert_quiet_success(), "healthy\n");
    drop(server);
    place.run(&at, &[]).assert_fails(1, &["does not answer"]);
}
