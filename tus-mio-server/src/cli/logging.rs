//! Where events go: standard error, one line each, as text or as JSON.

use std::{
    fmt,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};
use tus_proto::WallTime;

use super::{
    args::{LogFormat, LogLevel},
    table::{Rfc3339, is_unsafe},
};

/// Sends this process's events to standard error from now on.
pub(crate) fn start(level: LogLevel, format: LogFormat) {
    // Standard error may be closed or a full disk: the server goes on, and says nothing of it there.
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(level))
        .with_timer(Clock)
        .with_writer(|| Lines(io::stderr()))
        .log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a second call could fail, and then the first one's choice stands.
    debug_assert!(installed.is_ok());
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
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = String::with_capacity(text.len() + 1);
        for c in text.trim_end_matches('\n').chars() {
            if is_unsafe(c) { line.extend(c.escape_default()) } else { line.push(c) }
        }
        line.push('\n');
        self.0.write_all(line.as_bytes()).map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
            Lines(self.clone())
        }
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
