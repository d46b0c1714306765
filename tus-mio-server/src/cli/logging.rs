//! Where events go: standard error, one line each, as text or as JSON. They are written by a thread of their own:
//! where nobody reads them, they are dropped and counted, and no request waits.

use std::{
    fmt,
    io::{self, Write},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};
use tus_mio_server::admin::Rfc3339;
use tus_proto::WallTime;

use super::{
    log::{LogFormat, LogLevel},
    table::is_unsafe,
};

/// The most lines that wait for being written: what a burst brings, and not much memory.
const WAITING: usize = 1000;

/// How long the end of the program waits for what is still to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Counts what there was no room for.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Changes the level.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// How many lines were dropped because nobody read those before them.
pub(crate) fn dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// The thread that writes. Dropped, it has written what was waiting, or waited long enough.
pub(crate) struct Writing(Option<WorkerGuard>);

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (done, ended) = mpsc::channel();
        // The guard may write to standard output, which may be the same full pipe.
        let finish = move || {
            drop(guard);
            let _ = done.send(());
        };
        if thread::Builder::new().spawn(finish).is_ok() {
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

fn queue(out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).thread_name("log").finish(out)
}

/// Sends this process's events to standard error from now on.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> Writing {
    let (lines, guard) = queue(io::stderr());
    DROPPED.get_or_init(|| lines.error_counter());
    let json = format == LogFormat::Json;
    let (level, handle) = reload::Layer::new(filter(level));
    LEVEL.get_or_init(|| handle);
    // Standard error may be closed or a full disk: the server goes on, and says nothing of it there.
    let layer = tracing_subscriber::fmt::layer()
        .with_timer(Clock)
        .with_writer(move || Lines { out: lines.clone(), json })
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let installed = tracing_subscriber::registry().with(level).with(layer).try_init();
    // Only a second call could fail, and then the first one's choice stands.
    debug_assert!(installed.is_ok());
    Writing(Some(guard))
}

/// Logs from this level on from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // Fails only where there is no subscriber any more.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The time of an event, in RFC 3339.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(out, "{}", Rfc3339(WallTime::default().after(since)))
    }
}

/// Takes one event a write, and makes one line of it in one write: no event can forge another, or steer the
/// terminal it is read on.
struct Lines<W> {
    out: W,
    /// A JSON string has its own way to write a character as a number.
    json: bool,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = String::with_capacity(text.len() + 1);
        for c in text.trim_end_matches('\n').chars() {
            match is_unsafe(c) {
                false => line.push(c),
                true if self.json => escape_json(c, &mut line),
                true => line.extend(c.escape_default()),
            }
        }
        line.push('\n');
        self.out.write_all(line.as_bytes()).map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn escape_json(c: char, line: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string can't fail.
        let _ = fmt::Write::write_fmt(line, format_args!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Sink {
        type Writer = Lines<Self>;

        fn make_writer(&self) -> Lines<Self> {
            Lines { out: self.clone(), json: false }
        }
    }

    /// Takes nothing until the other end says so.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_that_nobody_reads_hold_nobody_up_and_are_counted() {
        let (release, stuck) = mpsc::channel();
        let (lines, guard) = queue(Stuck(stuck));
        let counter = lines.error_counter();
        let writer = move || Lines { out: lines.clone(), json: false };
        let subscriber = tracing_subscriber::fmt().with_timer(Clock).with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5000 {
                tracing::info!(number, "an event");
            }
        });
        // One may be in the writer's hands.
        let dropped = counter.dropped_lines();
        assert!((3999..=4000).contains(&dropped), "{dropped}");
        drop(release);
        drop(guard);
    }

    #[test]
    fn a_json_line_stays_json_whatever_it_says() {
        let sink = Sink::default();
        let mut lines = Lines { out: sink.clone(), json: true };
        lines.write_all("{\"a\":\"x\u{202e}\u{e0001}\"}\n".as_bytes()).unwrap();
        let logged = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(logged.is_ascii(), "{logged:?}");
        let value: serde_json::Value = serde_json::from_str(&logged).unwrap();
        assert_eq!(value["a"], "x\u{202e}\u{e0001}");
    }

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let sink = Sink::default();
        let subscriber =
            tracing_subscriber::fmt().with_timer(Clock).with_writer(sink.clone()).log_internal_errors(false);
        tracing::subscriber::with_default(subscriber.finish(), || {
            let name = "a\nb\u{1b}[2J";
            tracing::info!(%name, "first\nsecond");
        });
        let logged = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(logged.lines().count(), 1, "{logged:?}");
        assert!(!logged.trim_end().contains(char::is_control), "{logged:?}");
        let (time, rest) = logged.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.starts_with("20") && time.len() == 24, "{time:?}");
        assert!(rest.contains("INFO") && rest.contains("first") && rest.contains("second"), "{rest:?}");
    }
}
