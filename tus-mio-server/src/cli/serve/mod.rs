//! `serve`: the server's life as a process: the lines on standard output, the signals, the end.

mod settings;
mod signals;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use rustix::process::{Resource, getrlimit, setrlimit};
use tus_mio_server::{Address, Inherited, Server};

pub(crate) use self::settings::settings;
use self::signals::heed_signals;
use super::{Failure, args::ServeArgs, bucket, logging, notify, usage};

/// Serves until a signal ends it.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let mut settings = settings(args)?;
    let _writing = logging::start(args.log.log_level, args.log.log_format);
    settings.log_lines_dropped = Some(logging::dropped);
    for name in usage::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(
            "{name} in the environment is not a variable of this program: see --help for their names"
        );
    }
    let inherited = Inherited::from_env().map_err(failed)?;
    if args.listen.is_empty() && !inherited.is_empty() {
        settings.listen.clear();
    }
    let base_path = settings.protocol.base_path().to_owned();
    raise_descriptor_limit();
    let directory = match args.bucket.url() {
        Some(url) => url.to_owned(),
        None => settings.data_dir.display().to_string(),
    };
    let usage = bucket::Use {
        checkpoint_interval: args.storage.checkpoint_interval,
        cleanup_interval: args.uploads.cleanup_interval,
    };
    let builder = match args.bucket.url() {
        None => Server::builder(settings),
        Some(_) => {
            #[cfg_attr(not(feature = "object-store"), allow(clippy::let_unit_value))]
            let locks = bucket::locks(&mut settings);
            args.bucket.open(Server::builder(settings), &usage, locks)?
        }
    };
    let server = builder.inherited(inherited).bind().map_err(failed)?;
    // Whoever reads the lines may signal at once: so signals come first.
    let secure = args.tls_cert.is_some();
    heed_signals(server.handle(), secure)?;
    announce(&mut io::stdout().lock(), &server, secure, &base_path);
    let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    let listening = addresses.join(" ");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listening, directory, "started");
    notify::ready();
    server.run().map_err(failed)
}

/// A connection takes a descriptor and an upload another: as many as the system allows, where the usual limit
/// is lower for the sake of programs that can't count beyond 1024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Environment(error.to_string())
}

/// One line a listener. Where nobody reads them, the server serves all the same.
fn announce(out: &mut impl Write, server: &Server, secure: bool, base_path: &str) {
    let path = if base_path.is_empty() { "/" } else { base_path };
    let scheme = if secure { "https" } else { "http" };
    let line = |address: &Address| match address {
        Address::Tcp(address) => format!("listening on {scheme}://{address}{path}\n"),
        Address::Unix(_) => format!("listening on {address}\n"),
    };
    let mut lines: String = server.addresses().iter().map(line).collect();
    for address in server.admin_addresses() {
        lines.push_str(&match address {
            Address::Tcp(address) => format!("administration at http://{address}/\n"),
            Address::Unix(_) => format!("administration at {address}\n"),
        });
    }
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}
