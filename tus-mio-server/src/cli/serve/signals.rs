//! What signals do to a server: SIGTERM and SIGINT end it, SIGHUP has it read again what can be.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use clap::Parser;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tus_mio_server::Handle;

use super::super::{
    Failure,
    args::{Cli, Command, ServeArgs},
    config,
    log::LogLevel,
    logging, notify, usage,
};

/// The first SIGTERM or SIGINT lets running requests finish, the second ends them. SIGHUP says that what can be read
/// again was changed: the certificate, and the log level in the file of `--config`. It never ends the process, for which
/// it would be lost work.
pub(super) fn heed_signals(handle: Handle, secure: bool) -> Result<(), Failure> {
    let cant = |error: io::Error| Failure::Environment(format!("can't wait for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(cant)?;
    let wait = move || {
        let mut wishes = Wishes::default();
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload(&handle, secure);
                continue;
            }
            if !wishes.is_new(signal, Instant::now()) {
                continue;
            }
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
            tracing::info!("{name}: ending; another signal ends at once");
            notify::stopping();
            handle.shutdown();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(cant)?;
    Ok(())
}

fn reload(handle: &Handle, secure: bool) {
    match handle.reload_tls() {
        Ok(()) if !secure => tracing::info!("SIGHUP: there is no certificate to read again"),
        Ok(()) => tracing::info!("SIGHUP: the certificate was read again"),
        Err(error) => tracing::error!(%error, "SIGHUP: the certificate stays as it was"),
    }
    match reread() {
        Ok(args) => {
            let tell = || tracing::info!(level = ?args.log.log_level, "SIGHUP: the log level is set");
            // While it is a level at which that is logged.
            if args.log.log_level < LogLevel::Info {
                tell();
                return logging::set_level(args.log.log_level);
            }
            logging::set_level(args.log.log_level);
            tell();
        }
        Err(Failure::Usage(error) | Failure::Environment(error)) => {
            tracing::error!(error, "SIGHUP: the settings can't be read again, the log level stays as it was");
        }
        Err(Failure::Told | Failure::PipeClosed) => {}
    }
}

/// The settings as they are now: the command line and the environment of this process, and what the file says today.
fn reread() -> Result<ServeArgs, Failure> {
    let completed = config::complete(std::env::args_os().collect())?;
    let cli = Cli::try_parse_from(&completed.arguments);
    let cli = cli.map_err(|error| Failure::Usage(usage::one_line(&error, &completed)))?;
    match cli.command {
        Some(Command::Serve(args)) => Ok(*args),
        _ => Ok(cli.serve),
    }
}

/// What may be sent twice and meant once: `timeout`, for one, signals the process and then its group as well.
const ECHO: Duration = Duration::from_millis(100);

/// Tells signals that ask anew from echoes of the one before.
#[derive(Default)]
struct Wishes {
    last: Option<(i32, Instant)>,
}

impl Wishes {
    fn is_new(&mut self, signal: i32, now: Instant) -> bool {
        let echo = self.last.is_some_and(|(last, at)| last == signal && now.duration_since(at) < ECHO);
        if !echo {
            self.last = Some((signal, now));
        }
        !echo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_of_a_signal_is_no_second_one() {
        let start = Instant::now();
        let mut wishes = Wishes::default();
        for (signal, millis, new) in [
            (SIGTERM, 0, true),
            (SIGTERM, 99, false),
            (SIGTERM, 100, true),
            (SIGINT, 101, true),
            (SIGTERM, 102, true),
            (SIGTERM, 103, false),
        ] {
            let now = start + Duration::from_millis(millis);
            assert_eq!(wishes.is_new(signal, now), new, "{signal} after {millis} ms");
        }
    }
}
