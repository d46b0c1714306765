//! Measures what a slow handler of hooks costs those who have nothing to do with it: uploads a second of some clients, without
//! others and while others wait for a handler that takes 5 s for each of their calls, before and after the fact. Rounds
//! alternate; the ratio is of the medians. Arguments: rounds, and milliseconds of each.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::{
    Request, Wire,
    client::Tcp,
    handler::{Handler, Reply},
    server::Running,
};
use tus_mio_server::hooks::{External, ExternalSettings, HookType, HttpSettings, Target};

const SLOW: Duration = Duration::from_secs(5);
/// Clients whose hooks are slow, and those that are measured.
const WAITING: usize = 32;
const MEASURED: usize = 4;

/// One upload of 5 bytes, whose file has this name in Base64.
fn upload(wire: &mut Tcp, name: &str) -> u16 {
    let create = Request::post().upload_type().with("Upload-Length", 5).sized("hello");
    wire.send(&create.with("Upload-Metadata", format!("filename {name}"))).status
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (rounds, millis) = (arguments.next().unwrap_or(5), arguments.next().unwrap_or(3_000));
    let handler = Handler::start(|call| {
        if call.upload()["MetaData"]["filename"] == "slow" {
            thread::sleep(SLOW);
        }
        Reply::json(&serde_json::Value::Null)
    });
    let mut settings = ExternalSettings::new(Target::Http(HttpSettings::new(handler.url())));
    settings.enabled = vec![HookType::PreCreate, HookType::PostCreate, HookType::PostFinish];
    let hooks = Arc::new(External::new(settings).unwrap());
    let server = Running::start(|settings| settings.hook_runner = Some(hooks));
    let address = server.address();
    let waits = Arc::new(AtomicBool::new(false));
    for _ in 0..WAITING {
        let waits = waits.clone();
        thread::spawn(move || {
            let mut wire = Tcp::new(address);
            loop {
                match waits.load(Ordering::Acquire) {
                    // slow
                    true => assert_eq!(upload(&mut wire, "c2xvdw=="), 201),
                    false => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
    }
    let (made, measures) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    for _ in 0..MEASURED {
        let (made, measures) = (made.clone(), measures.clone());
        thread::spawn(move || {
            let mut wire = Tcp::new(address);
            while measures.load(Ordering::Acquire) {
                // fast
                assert_eq!(upload(&mut wire, "ZmFzdA=="), 201);
                made.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for slow in [round % 2 == 0, round % 2 == 1] {
            waits.store(slow, Ordering::Release);
            // Those that wait have begun, or those that waited are done.
            thread::sleep(if slow { Duration::from_millis(500) } else { SLOW + SLOW / 5 });
            let (begin, before) = (Instant::now(), made.load(Ordering::Acquire));
            thread::sleep(Duration::from_millis(millis));
            let rate = (made.load(Ordering::Acquire) - before) as f64 / begin.elapsed().as_secs_f64();
            println!("{} {rate:.0} uploads/s", if slow { "slow handler " } else { "alone        " });
            rates[usize::from(slow)].push(rate);
        }
    }
    measures.store(false, Ordering::Release);
    let [alone, slow] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("median: {alone:.0} alone, {slow:.0} with a slow handler; ratio {:.2}", slow / alone);
    std::process::exit(0);
}
