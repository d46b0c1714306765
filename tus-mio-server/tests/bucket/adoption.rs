//! `import tusd s3://…`: a real tusd leaves uploads in a bucket, and its clients go on here, at the URLs that it gave them.
//! `TUSD` names the program: `TUSD=$(tests/tusd/install)`.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Gateway, Server, await_listener, bytes, command, field, id, json};

const PART: usize = 5 << 20;

/// Starts tusd on the bucket. `None` if `TUSD` is not set.
fn tusd(gateway: &Gateway) -> Option<Server> {
    let program = std::env::var_os("TUSD")?;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .args(["-host", "127.0.0.1", "-port", &port.to_string(), "-base-path", "/files/"])
        .args(["-s3-bucket", "bucket", "-s3-object-prefix", "old/"])
        .args(["-s3-endpoint", &format!("http://127.0.0.1:{}", gateway.port)])
        .args(["-s3-part-size", &PART.to_string()])
        .env("AWS_ACCESS_KEY_ID", "ak")
        .env("AWS_SECRET_ACCESS_KEY", "sksksksk")
        .env("AWS_REGION", "us-east-1")
        .stdout(Stdio::null())
        .spawn()
        .expect("tusd runs");
    await_listener(port, "tusd");
    Some(Server { child, address: format!("127.0.0.1:{port}") })
}

fn create(server: &Server, fields: &str) -> String {
    let fields = format!("{fields}Content-Length: 0\r\n");
    let (status, head, _) = server.ask("POST", "/files/", &fields, &[]);
    assert_eq!(status, 201, "{head}");
    let location = field(&head, "location").unwrap();
    location[location.find("/files").unwrap()..].to_owned()
}

fn patch(server: &Server, target: &str, from: usize, body: &[u8], more: &str) {
    let fields = Server::patch_fields(from, body.len()) + more;
    let (status, head, _) = server.ask("PATCH", target, &fields, body);
    assert_eq!(
        (status, field(&head, "upload-offset")),
        (204, Some((from + body.len()).to_string())),
        "{head}"
    );
}

fn length(length: usize) -> String {
    format!("Upload-Length: {length}\r\n")
}

fn object(target: &str) -> &str {
    id(target).split('+').next().unwrap()
}

/// All files below a directory, and how long they are.
fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.metadata().unwrap() {
            meta if meta.is_dir() => found.extend(files(&entry.path())),
            meta => found.push((entry.path().display().to_string(), meta.len())),
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_bucket_of_a_real_tusd_is_adopted_and_clients_go_on_at_their_urls() {
    let Some(gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return;
    };
    let Some(old) = tusd(&gateway) else {
        eprintln!("TUSD names no program: nothing was tried");
        return;
    };
    let whole = bytes(13 << 20);
    let unfinished = create(&old, &(length(whole.len()) + "Upload-Metadata: filename YS5iaW4=\r\n"));
    patch(&old, &unfinished, 0, &whole[..11 << 20], "");
    patch(&old, &unfinished, 11 << 20, &whole[11 << 20..12 << 20], "");
    let short = create(&old, &length(2000));
    patch(&old, &short, 0, &whole[..900], "");
    let finished = create(&old, &length(6 << 20));
    patch(&old, &finished, 0, &whole[..6 << 20], "");
    let (untouched, empty) = (create(&old, &length(10)), create(&old, &length(0)));
    let deferred = create(&old, "Upload-Defer-Length: 1\r\n");
    patch(&old, &deferred, 0, &whole[..6 << 20], "");
    let partial = |from: usize, to: usize, sent: usize| {
        let target = create(&old, &(length(to - from) + "Upload-Concat: partial\r\n"));
        patch(&old, &target, 0, &whole[from..sent], "");
        target
    };
    let a = partial(0, 6 << 20, 6 << 20);
    let b = partial(6 << 20, 12 << 20, 12 << 20);
    let c = partial(12 << 20, 13 << 20, (12 << 20) + 5);
    let of_two = create(&old, &format!("Upload-Concat: final;{a} {b}\r\n"));
    drop(old);

    let dir = gateway.dir.path().join("bucket/old");
    let before = files(&dir);
    let import = ["import", "tusd", "s3://bucket/old"];
    let report = json(&gateway, &[&import[..], &["--dry-run"]].concat());
    assert_eq!((&report["imported"], &report["refused"]), (&10.into(), &0.into()), "{report}");
    let report = json(&gateway, &import);
    assert_eq!((&report["imported"], &report["refused"]), (&10.into(), &0.into()), "{report}");
    let upload = |target: &str| {
        let mut uploads = report["uploads"].as_array().unwrap().iter();
        uploads.find(|upload| upload["id"] == object(target)).unwrap_or_else(|| panic!("{target}: {report}"))
    };
    for (target, kind, offset, length) in [
        (&unfinished, "plain", 12 << 20, Some(13 << 20)),
        (&short, "plain", 900, Some(2000)),
        (&finished, "plain", 6 << 20, Some(6 << 20)),
        (&untouched, "plain", 0, Some(10)),
        (&empty, "plain", 0, Some(0)),
        (&deferred, "plain", 6 << 20, None),
        (&a, "partial", 6 << 20, Some(6 << 20)),
        (&b, "partial", 6 << 20, Some(6 << 20)),
        (&c, "partial", 5, Some(1 << 20)),
        (&of_two, "final", 12 << 20, Some(12 << 20)),
    ] {
        let found = upload(target);
        assert_eq!((&found["outcome"], &found["kind"]), (&"adopted".into(), &kind.into()), "{found}");
        assert_eq!((&found["offset"], found["length"].as_u64()), (&offset.into(), length), "{found}");
    }
    let (good, text) = command(&gateway, &import);
    assert!(good && text.contains("already there: 10\nnot imported: 0"), "{text}");
    assert_eq!(files(&dir), before, "nothing of tusd's is changed");
    assert_eq!(json(&gateway, &["verify"])["ok"], true);

    let flags = [gateway.flags(), vec!["--tusd-urls".into()]].concat();
    let (one, two) = (Server::start(&flags), Server::start(&flags));
    let mut at = 12 << 20;
    assert_eq!(one.offset(&unfinished), Some(at));
    for (server, to) in [(&two, at + 70_000), (&one, whole.len())] {
        patch(server, &unfinished, at, &whole[at..to], "");
        at = to;
    }
    patch(&two, &short, 900, &whole[900..2000], "");
    patch(&two, &untouched, 0, &whole[..10], "");
    patch(&one, &deferred, 6 << 20, &whole[6 << 20..7 << 20], &length(7 << 20));
    patch(&two, &c, 5, &whole[(12 << 20) + 5..], "");
    let of_three = create(&one, &format!("Upload-Concat: final;{a} {b} {c}\r\n"));
    for (target, end) in [
        (&unfinished, 13 << 20),
        (&short, 2000),
        (&finished, 6 << 20),
        (&untouched, 10),
        (&empty, 0),
        (&deferred, 7 << 20),
        (&of_two, 12 << 20),
        (&of_three, 13 << 20),
    ] {
        let (status, _, body) = two.ask("GET", target, "", &[]);
        assert!(
            status == 200 && body == whole[..end],
            "{target} is answered {status}, or its bytes are others"
        );
    }
    // Deleted here, its bytes go; a second import does not bring it back.
    assert_eq!(one.ask("DELETE", &finished, "", &[]).0, 204);
    let gone = dir.join(object(&finished));
    let deadline = Instant::now() + Duration::from_secs(20);
    while gone.exists() {
        assert!(Instant::now() < deadline, "{} stays", gone.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = json(&gateway, &import);
    assert_eq!((&report["imported"], &report["refused"]), (&0.into(), &1.into()), "{report}");
    assert_eq!(json(&gateway, &["verify"])["ok"], true);
}

#[test]
fn a_bucket_is_imported_into_itself_alone() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tus-mio-server")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, expected) in [
        (&["import", "tusd", "s3://a/in"][..], "name with --store where in the same bucket"),
        (&["import", "tusd", "s3://a/in", "--store=s3://b/x"], "is not in the bucket a"),
        (&["import", "tusd", "gs://a/in", "--store=gs://a/x"], "no bucket of tusd's that can be imported"),
        (&["import", "tusd", "data", "--store=s3://a/x"], "a directory can't be imported into s3://a/x"),
    ] {
        let (status, text) = run(arguments);
        assert!(status == Some(2) && text.contains(expected), "{arguments:?}: {status:?} {text}");
    }
}
