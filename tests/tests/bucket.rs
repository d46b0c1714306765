//! Servers that share a bucket on versitygw, through a proxy that counts requests to it and makes them fail. Without
//! `VERSITYGW` in the environment nothing here runs: `VERSITYGW=$(tests/versitygw)`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::{
    Answer, Body, Request,
    client::Client,
    gateway::{self, Gateway},
    proxy::{Fate, Proxy, Seen},
    server::Running,
};
use tus_object_store::{BucketStore, Options};
use tus_proto::Config;

const MIB: usize = 1 << 20;

struct Cluster {
    servers: Vec<(Running, BucketStore)>,
    proxy: Proxy,
    _gateway: Gateway,
}

/// `None` if there is no versitygw.
fn cluster(count: usize, options: &Options, config: &Config) -> Option<Cluster> {
    let Some(gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return None;
    };
    let proxy = Proxy::start(gateway.address());
    let start = |_| {
        let bucket = gateway::client(proxy.address(), "up");
        Running::start_on(bucket, options.clone(), |settings| settings.protocol = config.clone())
    };
    let servers = (0..count).map(start).collect();
    proxy.take();
    Some(Cluster { servers, proxy, _gateway: gateway })
}

impl Cluster {
    /// Every record is understood, and all that it names is there.
    fn verify(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let check = runtime.block_on(self.servers[0].1.check(false)).unwrap();
        eprintln!("{} uploads and {} bytes at the end", check.uploads, check.bytes);
        assert!(check.findings.is_empty(), "{:?}", check.findings);
    }
}

fn quiet() -> Options {
    let mut options = Options::default();
    // Sweeps would be counted.
    options.sweep_interval = Duration::ZERO;
    options
}

fn config() -> Config {
    let config = Config::builder().upload_expiry(None).downloads(true);
    config.lock_ttl(Duration::from_secs(4)).build().unwrap()
}

/// A value from the environment, for longer runs by hand.
fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Byte `at` of every upload of this number.
fn byte(upload: u64, at: u64) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 9).wrapping_mul(7) ^ upload.wrapping_mul(91)) as u8
}

fn bytes(upload: u64, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| byte(upload, at)).collect()
}

/// An answer, or what was wrong with the connection.
fn ask(address: SocketAddr, mut request: Request, body: Option<Vec<u8>>) -> Result<Answer, String> {
    if let Some(body) = body {
        request.body = Body::Sized(body.len() as u64, body);
    }
    let mut client = Client::connect(address);
    client.set_patience(Duration::from_secs(60));
    client.request(&request);
    client.answer(request.method == "HEAD")
}

fn create(address: SocketAddr, length: usize, fields: &[(&str, &str)]) -> String {
    let mut request = Request::post().with("Upload-Length", length);
    for (name, value) in fields {
        request = request.with(name, value);
    }
    let answer = ask(address, request, None).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    path(&answer)
}

fn path(answer: &Answer) -> String {
    let location = answer.value("Location").unwrap();
    location[location.find("/files").unwrap()..].to_owned()
}

fn patch(target: &str, offset: u64) -> Request {
    Request::tus("PATCH", target).with("Upload-Offset", offset).upload_type()
}

fn offset_of(answer: &Answer) -> Option<u64> {
    answer.value("Upload-Offset").map(|offset| offset.parse().unwrap())
}

fn count(seen: &[Seen], wanted: impl Fn(&Seen) -> bool) -> usize {
    seen.iter().filter(|seen| wanted(seen)).count()
}

/// `BULK_MIB=1024` for a larger upload.
#[test]
fn requests_to_the_store_are_few() {
    let Some(cluster) = cluster(1, &quiet(), &config()) else { return };
    let (address, proxy) = (cluster.servers[0].0.address(), &cluster.proxy);
    let target = create(address, 5, &[]);
    let seen = proxy.take();
    assert_eq!(seen.len(), 1, "creation: {seen:?}");

    let answer = ask(address, Request::tus("HEAD", &target), None).unwrap();
    assert_eq!(offset_of(&answer), Some(0));
    let seen = proxy.take();
    assert_eq!(seen.len(), 1, "HEAD: {seen:?}");

    let request = Request::post().with("Upload-Length", 16 << 10).upload_type();
    let answer = ask(address, request, Some(bytes(1, 0, 16 << 10))).unwrap();
    assert_eq!((answer.status, offset_of(&answer)), (201, Some(16 << 10)));
    let seen = proxy.take();
    assert!(seen.len() <= 3, "a creation with its 16 KiB: {seen:?}");

    let mib = setting("BULK_MIB", 64);
    let target = create(address, mib as usize * MIB, &[]);
    proxy.take();
    let start = Instant::now();
    let body = bytes(2, 0, mib << 20);
    let answer = ask(address, patch(&target, 0), Some(body)).unwrap();
    assert_eq!((answer.status, offset_of(&answer)), (204, Some(mib << 20)));
    let seen = proxy.take();
    let parts = count(&seen, |seen| seen.target.contains("partNumber="));
    let slow = start.elapsed().as_secs() / 2;
    let others = (seen.len() - parts) as u64;
    eprintln!("{mib} MiB in {:?}: {parts} parts, {others} other requests", start.elapsed());
    assert_eq!(parts as u64, mib.div_ceil(8));
    assert!(others <= 8 + slow, "{others} requests: {seen:?}");
}

/// `PART_MIB=64` for larger parts.
#[test]
fn concatenation_moves_no_bytes() {
    let Some(cluster) = cluster(1, &quiet(), &config()) else { return };
    let (address, proxy) = (cluster.servers[0].0.address(), &cluster.proxy);
    let size = setting("PART_MIB", 6) << 20;
    let mut whole = Vec::new();
    let mut parts = Vec::new();
    for part in 0..16 {
        let target = create(address, size as usize, &[("Upload-Concat", "partial")]);
        let body = bytes(part, 0, size);
        whole.extend_from_slice(&body);
        let answer = ask(address, patch(&target, 0), Some(body)).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        parts.push(target);
    }
    proxy.take();
    let request = Request::post().with("Upload-Concat", format!("final;{}", parts.join(" ")));
    let answer = ask(address, request, None).unwrap();
    assert_eq!((answer.status, offset_of(&answer)), (201, Some(16 * size)), "{answer:?}");
    let seen = proxy.take();
    let data = count(&seen, |seen| seen.target.contains("/d/") || seen.sent.max(seen.received) > 64 << 10);
    assert_eq!(data, 0, "{seen:?}");
    assert!(seen.len() <= 33, "{} requests", seen.len());
    let answer = ask(address, Request::tus("GET", &path(&answer)), None).unwrap();
    assert!(answer.status == 200 && answer.body == whole);
}

/// What all clients were told of an upload.
#[derive(Default)]
struct Upload {
    target: String,
    length: u64,
    told: AtomicU64,
    deletable: AtomicBool,
    gone: AtomicBool,
    /// From where to where a 204 said that bytes were taken.
    taken: Mutex<Vec<(u64, u64)>>,
}

/// Clients that race for the same uploads, and what must hold whatever comes of that.
struct Race {
    addresses: Vec<SocketAddr>,
    uploads: Vec<Mutex<Arc<Upload>>>,
    end: Instant,
    deletes: bool,
    requests: AtomicU64,
    /// How long the longest request took, in milliseconds.
    longest: AtomicU64,
}

impl Race {
    fn new(cluster: &Cluster, uploads: usize, time: Duration, deletes: bool) -> Self {
        let addresses: Vec<_> = cluster.servers.iter().map(|(server, _)| server.address()).collect();
        let race = Self {
            addresses,
            uploads: Vec::new(),
            end: Instant::now() + time,
            deletes,
            requests: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        };
        let uploads = (0..uploads as u64).map(|number| Mutex::new(race.create(number).unwrap()));
        Self { uploads: uploads.collect(), ..race }
    }

    fn create(&self, number: u64) -> Option<Arc<Upload>> {
        let length = 200_000 + number * 3_000_000;
        for at in 0..10 {
            let request = Request::post().with("Upload-Length", length);
            let answer = ask(self.addresses[at % self.addresses.len()], request, None);
            if let Ok(answer) = answer.as_ref()
                && answer.status == 201
            {
                return Some(Arc::new(Upload { target: path(answer), length, ..Upload::default() }));
            }
        }
        None
    }

    fn client(&self, seed: u64) {
        let mut draw = seed;
        let mut below = |bound: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % bound.max(1)
        };
        while Instant::now() < self.end {
            let number = below(self.uploads.len() as u64);
            let upload = self.uploads[number as usize].lock().unwrap().clone();
            let address = self.addresses[below(self.addresses.len() as u64) as usize];
            let kind = below(if self.deletes { 40 } else { 38 });
            let told = upload.told.load(Ordering::SeqCst);
            let start = Instant::now();
            match kind {
                0..15 => self.head(address, &upload, told),
                15..38 => {
                    let left = upload.length - told;
                    let len = if below(3) == 0 { left } else { below(left + 1).min(1 + below(1 << 20)) };
                    self.patch(address, &upload, number, (told, told + len));
                }
                _ => self.delete(address, &upload),
            }
            let took = start.elapsed().as_millis() as u64;
            self.longest.fetch_max(took, Ordering::SeqCst);
            self.requests.fetch_add(1, Ordering::SeqCst);
            if upload.gone.load(Ordering::SeqCst) || upload.told.load(Ordering::SeqCst) == upload.length {
                self.renew(number, &upload);
            }
        }
    }

    fn head(&self, address: SocketAddr, upload: &Upload, before: u64) {
        let answer = ask(address, Request::tus("HEAD", &upload.target), None).expect("HEAD is answered");
        match answer.status {
            200 => self.tell(upload, before, offset_of(&answer).unwrap()),
            404 | 410 => self.vanish(upload),
            423 => {}
            other => panic!("HEAD is answered {other}"),
        }
    }

    fn patch(&self, address: SocketAddr, upload: &Upload, number: u64, (from, to): (u64, u64)) {
        let body = bytes(number, from, to);
        // A server that yields closes its connection, and what it has answered may be lost with that.
        let Ok(answer) = ask(address, patch(&upload.target, from), Some(body)) else { return };
        match answer.status {
            204 => {
                assert_eq!(offset_of(&answer), Some(to));
                if to > from {
                    upload.taken.lock().unwrap().push((from, to));
                }
                self.tell(upload, from, to);
            }
            409 => self.tell(upload, from, offset_of(&answer).unwrap()),
            404 | 410 => self.vanish(upload),
            400 | 403 | 423 | 500 | 503 => {}
            other => panic!("PATCH is answered {other}: {answer:?}"),
        }
    }

    fn delete(&self, address: SocketAddr, upload: &Upload) {
        upload.deletable.store(true, Ordering::SeqCst);
        let Ok(answer) = ask(address, Request::tus("DELETE", &upload.target), None) else { return };
        match answer.status {
            204 | 404 | 410 => self.vanish(upload),
            // 400: on a machine that is this busy, its lease ran out, and another writer took it.
            400 | 423 | 500 | 503 => {}
            other => panic!("DELETE is answered {other}"),
        }
    }

    fn tell(&self, upload: &Upload, before: u64, offset: u64) {
        assert!(offset >= before, "{} is at {offset}, and was at {before}", upload.target);
        upload.told.fetch_max(offset, Ordering::SeqCst);
    }

    fn vanish(&self, upload: &Upload) {
        assert!(
            upload.deletable.load(Ordering::SeqCst),
            "{} is gone, and nobody has deleted it",
            upload.target
        );
        upload.gone.store(true, Ordering::SeqCst);
    }

    /// Compares an upload that is complete, or is gone, and begins another in its place.
    fn renew(&self, number: u64, old: &Arc<Upload>) {
        let mut place = self.uploads[number as usize].lock().unwrap();
        if !Arc::ptr_eq(&place, old) {
            return;
        }
        self.check(number, old);
        if let Some(new) = self.create(number) {
            *place = new;
        }
    }

    /// All bytes that were acknowledged are there, and no two requests were told that they had brought the same ones.
    fn check(&self, number: u64, upload: &Upload) {
        let mut taken = upload.taken.lock().unwrap().clone();
        taken.sort_unstable();
        for pair in taken.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{}: two were told 204 for {pair:?}", upload.target);
        }
        let told = upload.told.load(Ordering::SeqCst);
        if told < upload.length || upload.deletable.load(Ordering::SeqCst) {
            return;
        }
        let answer = ask(self.addresses[0], Request::tus("GET", &upload.target), None).unwrap();
        if upload.deletable.load(Ordering::SeqCst) {
            return;
        }
        assert!(answer.status == 503 || answer.status == 200, "GET is answered {}", answer.status);
        assert!(
            answer.status == 503 || answer.body == bytes(number, 0, upload.length),
            "the bytes are others"
        );
    }

    fn run(&self, clients: u64) {
        thread::scope(|scope| {
            for client in 0..clients {
                scope.spawn(move || self.client(client * 7_919 + 1));
            }
        });
    }

    /// Whoever is left is completed, and compared.
    fn finish(&self) {
        for (number, upload) in self.uploads.iter().enumerate() {
            let upload = upload.lock().unwrap().clone();
            for at in 0..60 {
                let address = self.addresses[at % self.addresses.len()];
                let told = upload.told.load(Ordering::SeqCst);
                if told == upload.length || upload.gone.load(Ordering::SeqCst) {
                    break;
                }
                self.head(address, &upload, told);
                let told = upload.told.load(Ordering::SeqCst);
                self.patch(address, &upload, number as u64, (told, upload.length));
            }
            let done = upload.told.load(Ordering::SeqCst) == upload.length;
            assert!(done || upload.gone.load(Ordering::SeqCst), "{} can't be finished", upload.target);
            self.check(number as u64, &upload);
        }
    }
}

/// `RACE_SECONDS=300` for longer.
#[test]
fn clients_race_for_the_same_uploads_over_three_servers() {
    let Some(cluster) = cluster(3, &quiet(), &config()) else { return };
    let race = Race::new(&cluster, 6, Duration::from_secs(setting("RACE_SECONDS", 8)), true);
    race.run(24);
    race.finish();
    cluster.verify();
    let (requests, longest) = (race.requests.into_inner(), race.longest.into_inner());
    eprintln!("{requests} requests, the longest took {longest} ms");
}

/// `FAULT_SECONDS=120` for longer.
#[test]
fn a_store_that_fails_costs_time_and_nothing_else() {
    let Some(cluster) = cluster(2, &quiet(), &config()) else { return };
    let race = Race::new(&cluster, 6, Duration::from_secs(setting("FAULT_SECONDS", 12)), false);
    let serial = AtomicU64::new(1);
    cluster.proxy.decide(move |_| {
        let draw = serial.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        match draw % 30 {
            0 | 1 => Fate::Refuse,
            2 | 3 => Fate::Lose,
            4 => Fate::Delay(Duration::from_secs(2)),
            _ => Fate::Pass,
        }
    });
    race.run(8);
    cluster.proxy.decide(|_| Fate::Pass);
    race.finish();
    cluster.verify();
    let (requests, longest) = (race.requests.into_inner(), race.longest.into_inner());
    eprintln!("{requests} requests, the longest took {longest} ms");
    assert!(longest < 30_000, "a request took {longest} ms");
}

/// Bodies of 64 uploads at once have little memory together: each goes on. `MEMORY_MIB=256 BODY_MIB=24` for more of both.
#[test]
fn many_bodies_share_the_memory_there_is() {
    let (memory, size) = (setting("MEMORY_MIB", 32) as usize * MIB, setting("BODY_MIB", 3) << 20);
    let mut options = quiet();
    options.memory = memory;
    let Some(cluster) = cluster(1, &options, &config()) else { return };
    let (server, store) = &cluster.servers[0];
    let address = server.address();
    let most = Arc::new(AtomicU64::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..64u64)
            .map(|number| {
                scope.spawn(move || {
                    let length = size + number * 1000;
                    let target = create(address, length as usize, &[]);
                    let answer = ask(address, patch(&target, 0), Some(bytes(number, 0, length))).unwrap();
                    assert_eq!((answer.status, offset_of(&answer)), (204, Some(length)), "{answer:?}");
                    let answer = ask(address, Request::tus("GET", &target), None).unwrap();
                    assert!(answer.body == bytes(number, 0, length), "the bytes are others");
                })
            })
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            most.fetch_max(store.memory_used() as u64, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
        }
    });
    let most = most.load(Ordering::SeqCst) as usize;
    eprintln!("at most {} KiB at once", most >> 10);
    assert!(most <= memory, "{most} bytes");
    assert_eq!(store.memory_used(), 0);
}
