//! The servers that are measured: how each is started, in a directory of its own that goes with it.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Trouble, args::How, tus::Target};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// Connections that ours admits: more than any work opens.
const CONNECTIONS: &str = "20000";

/// What a server is to this project, so what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Floor(How),
    Ours { strict: bool },
    Peer,
}

/// A server that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) role: Role,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// This program, or the one of that path, with these arguments before the usual ones.
    Start { program: PathBuf, flags: Vec<String> },
    /// `serve PORT DIR`.
    Peer { serve: PathBuf },
    /// It listens already.
    Found { target: Target, pid: u32 },
    /// It can't be measured.
    Absent { reason: String },
}

/// Where programs are found.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    bench: PathBuf,
    ours: PathBuf,
    peers: PathBuf,
}

impl Places {
    /// What the arguments say, and beside this program where they say nothing.
    ///
    /// # Errors
    /// The system does not tell where this program is.
    pub(crate) fn of(program: Option<&Path>, peers: Option<&Path>) -> Result<Self, Trouble> {
        let bench = env::current_exe()?;
        let beside = bench.parent().unwrap_or(Path::new(".")).to_owned();
        let target = beside.parent().unwrap_or(&beside);
        let ours = program.map_or_else(|| beside.join("tus-mio-server"), Path::to_owned);
        let peers = peers.map_or_else(|| target.join("bench-peers"), Path::to_owned);
        Ok(Self { bench, ours, peers })
    }
}

const OURS: [(&str, bool); 2] = [("ours-strict", true), ("ours-eventual", false)];
/// The tower service in axum, as most would mount it: an example of `tus-tower`'s.
const TOWER: [(&str, bool); 2] = [("tower-strict", true), ("tower-eventual", false)];
const FLOORS: [(&str, &str, How); 5] = [
    ("floor-splice", "splice", How::Splice),
    ("floor-splice-sync", "splice-sync", How::SpliceSync),
    ("floor-copy", "copy", How::Copy),
    ("floor-loop", "loop", How::Loop),
    ("floor-log", "log", How::Log),
];

impl Contender {
    /// The floors, ours, and all peers that were installed or tried.
    pub(crate) fn all(places: &Places) -> Vec<Self> {
        let ours = OURS.iter().chain(&TOWER).map(|ours| ours.0);
        let known = FLOORS.iter().map(|floor| floor.0).chain(ours);
        let mut peers: Vec<String> = fs::read_dir(&places.peers)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        peers.sort();
        known.map(str::to_owned).chain(peers).map(|name| Self::named(&name, places)).collect()
    }

    /// The one that `text` asks for: a name, or `NAME,url=URL,pid=PID`.
    ///
    /// # Errors
    /// The form is another.
    pub(crate) fn parse(text: &str, places: &Places) -> Result<Self, Trouble> {
        let Some((name, rest)) = text.split_once(',') else { return Ok(Self::named(text, places)) };
        let (url, pid) = rest
            .strip_prefix("url=")
            .and_then(|rest| rest.split_once(",pid="))
            .ok_or_else(|| format!("{text} is not of the form NAME,url=URL,pid=PID"))?;
        let way = Way::Found { target: Target::parse(url)?, pid: pid.parse()? };
        Ok(Self { name: name.to_owned(), role: Role::Peer, way })
    }

    fn named(name: &str, places: &Places) -> Self {
        let (role, way) = if let Some((_, flag, how)) = FLOORS.iter().find(|floor| floor.0 == name) {
            let flags = ["floor", "--how", flag].map(str::to_owned).to_vec();
            (Role::Floor(*how), Way::Start { program: places.bench.clone(), flags })
        } else if let Some((_, strict)) = OURS.iter().find(|ours| ours.0 == name) {
            (Role::Ours { strict: *strict }, Self::ours(*strict, places))
        } else if let Some((_, strict)) = TOWER.iter().find(|tower| tower.0 == name) {
            (Role::Ours { strict: *strict }, Self::tower(*strict, places))
        } else {
            (Role::Peer, Self::peer(name, places))
        };
        Self { name: name.to_owned(), role, way }
    }

    fn ours(strict: bool, places: &Places) -> Way {
        if !places.ours.is_file() {
            let reason = format!("there is no {}: build it with --release first", places.ours.display());
            return Way::Absent { reason };
        }
        let durability = if strict { "strict" } else { "eventual" };
        let flags =
            ["--durability", durability, "--max-connections", CONNECTIONS].map(str::to_owned).to_vec();
        Way::Start { program: places.ours.clone(), flags }
    }

    fn tower(strict: bool, places: &Places) -> Way {
        let program = places.bench.with_file_name("examples").join("hyper");
        if !program.is_file() {
            let reason = format!(
                "there is no {}: build it first, with --release -p tus-tower --example axum --features axum,metrics",
                program.display()
            );
            return Way::Absent { reason };
        }
        let durability = if strict { "strict" } else { "eventual" };
        Way::Start { program, flags: ["--durability", durability].map(str::to_owned).to_vec() }
    }

    /// Ours, with these flags beside the usual ones.
    pub(crate) fn ours_with(places: &Places, more: &[&str]) -> Self {
        let mut way = Self::ours(true, places);
        if let Way::Start { flags, .. } = &mut way {
            flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        }
        Self { name: "ours".into(), role: Role::Ours { strict: true }, way }
    }

    fn peer(name: &str, places: &Places) -> Way {
        let dir = places.peers.join(name);
        let serve = dir.join("serve");
        if serve.is_file() {
            return Way::Peer { serve };
        }
        let reason = fs::read_to_string(dir.join("absent"))
            .map_or_else(|_| format!("not installed in {}", dir.display()), |text| text.trim().to_owned());
        Way::Absent { reason }
    }

    /// Why it can't be measured, if it can't.
    pub(crate) fn absent(&self) -> Option<&str> {
        match &self.way {
            Way::Absent { reason } => Some(reason),
            _ => None,
        }
    }

    /// Starts it with a directory of its own in `data_dir`, unless it listens already.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(&self, data_dir: &Path) -> Result<Running, Trouble> {
        if let Way::Found { target, pid } = &self.way {
            crate::process::forget_peak(*pid);
            return Ok(Running { target: target.clone(), pid: *pid, own: None });
        }
        let dir = TempDir::with_prefix_in("run-", data_dir)?;
        let (store, log) = (dir.path().join("store"), dir.path().join("log"));
        fs::create_dir(&store)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = match &self.way {
            Way::Start { program, flags } => {
                let mut command = Command::new(program);
                command.args(flags).args(["--listen", &address, "--data-dir"]).arg(&store);
                command
            }
            Way::Peer { serve } => {
                let mut command = Command::new(serve);
                command.arg(port.to_string()).arg(&store);
                command
            }
            Way::Found { .. } | Way::Absent { .. } => return Err("it can't be started".into()),
        };
        // The servers read flags from the environment as well.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TUS_")) {
            command.env_remove(name);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .map_err(|error| format!("it does not start: {error}"))?;
        let target = Target { address: address.parse()?, path: "/files".into() };
        let mut running = Running { target, pid: child.id(), own: Some(Own { child, _dir: dir }) };
        running.wait(&log)?;
        Ok(running)
    }
}

/// A server that listens. One that was started here ends with this, and its directory goes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) pid: u32,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    child: Child,
    _dir: TempDir,
}

impl Running {
    /// Whether it goes on after this run, so that what the run made is to be deleted by requests.
    pub(crate) fn stays(&self) -> bool {
        self.own.is_none()
    }

    fn wait(&mut self, log: &Path) -> Result<(), Trouble> {
        let until = Instant::now() + START;
        while std::net::TcpStream::connect(self.target.address).is_err() {
            let Some(own) = &mut self.own else { break };
            if own.child.try_wait()?.is_some() || Instant::now() > until {
                let text = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("it does not listen: {}", text.lines().last().unwrap_or("")).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // It has nothing to save: its directory is deleted next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn places(dir: &Path) -> Places {
        Places { bench: "bench".into(), ours: dir.join("no-server"), peers: dir.join("peers") }
    }

    #[test]
    fn a_server_that_is_not_there_is_absent_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("peers/tried")).unwrap();
        fs::write(dir.path().join("peers/tried/absent"), "no such package\n").unwrap();
        let places = places(dir.path());
        assert_eq!(Contender::parse("tried", &places).unwrap().absent(), Some("no such package"));
        let reason = |name| Contender::parse(name, &places).unwrap().absent().unwrap().to_owned();
        assert!(reason("never").starts_with("not installed in "));
        assert!(reason("ours-strict").starts_with("there is no "));
        assert!(reason("tower-strict").starts_with("there is no "));
        let names: Vec<_> = Contender::all(&places).into_iter().map(|one| one.name).collect();
        assert_eq!(names.last().unwrap(), "tried");
        assert_eq!(names.len(), 10);
    }

    #[test]
    fn one_that_listens_is_named_with_url_and_pid() {
        let places = places(Path::new("/nowhere"));
        let tusd = Contender::parse("tusd,url=http://127.0.0.1:1080/files/,pid=77", &places).unwrap();
        assert_eq!((tusd.name.as_str(), tusd.role, tusd.absent()), ("tusd", Role::Peer, None));
        let running = tusd.start(Path::new("/nowhere")).unwrap();
        assert_eq!((running.pid, running.target.path.as_str(), running.stays()), (77, "/files/", true));
        for bad in ["x,url=http://127.0.0.1:1/", "x,pid=1", "x,url=http://127.0.0.1:1/,pid=a"] {
            assert!(Contender::parse(bad, &places).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_ends_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("peers/shell")).unwrap();
        // It takes the port for a script's name.
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("peers/shell/serve")).unwrap();
        let peer = Contender::parse("shell", &places(dir.path())).unwrap();
        let trouble = peer.start(dir.path()).unwrap_err().to_string();
        assert!(trouble.starts_with("it does not listen: ") && trouble.contains("No such file"), "{trouble}");
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "only the peers are left");
    }
}
