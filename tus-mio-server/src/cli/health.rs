//! `health`: asks a running server whether it can commit uploads. For a container's health check and for scripts.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use tus_mio_server::{Address, admin};

use super::{Failure, config_args::ConfigArgs, value};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer: a head and a line of text.
const LARGEST: u64 = 16 << 10;

/// Which server.
#[derive(Args, Clone, Debug)]
pub(crate) struct HealthArgs {
    /// Where else the directory may be named.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Directory of the uploads: the server that has it open is asked
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    pub(crate) data_dir: PathBuf,

    /// Ask at this address in place of the directory: where the server listens without TLS, or its --admin-listen
    /// [default: none]
    #[arg(long, env = "TUS_ADDRESS", value_name = "ADDRESS", value_parser = value::address)]
    pub(crate) address: Option<Address>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Succeeds if the server answers that it is healthy.
pub(crate) fn health(args: &HealthArgs) -> Result<(), Failure> {
    let place = match &args.address {
        Some(address) => address.to_string(),
        None => args.data_dir.display().to_string(),
    };
    let failed =
        |error: io::Error| Failure::Environment(format!("the server of {place} does not answer: {error}"));
    let stream = match &args.address {
        Some(address) => connect(address).map_err(failed)?,
        None => {
            let stream = admin::connect(&args.data_dir).map_err(failed)?;
            stream.map(with_deadline).transpose().map_err(failed)?.ok_or_else(|| {
                Failure::Environment(format!(
                    "no server has {place} open: name its directory by --data-dir, or its address by --address"
                ))
            })?
        }
    };
    let (status, text) = ask(stream).map_err(failed)?;
    if status != 200 {
        let text = text.trim();
        return Err(Failure::Environment(format!("the server of {place} is not healthy: {status} {text}")));
    }
    // A closed standard output does not change the exit status, which is the answer.
    let _ = writeln!(io::stdout(), "healthy");
    Ok(())
}

fn with_deadline(stream: UnixStream) -> io::Result<Box<dyn Stream>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Box::new(stream))
}

fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Unix(path) => with_deadline(UnixStream::connect(path)?),
        Address::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        }
    }
}

/// The status of `/healthz`, and the text with it.
fn ask(mut stream: Box<dyn Stream>) -> io::Result<(u16, String)> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status =
        status.ok_or_else(|| io::Error::other("this is not HTTP; with TLS, ask at --admin-listen"))?;
    Ok((status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, text)| text.to_owned())))
}
