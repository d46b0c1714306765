//! The program as a process of its own: in a directory of its own, without this process's environment, and never
//! for longer than a limit.

use std::{
    io::{BufRead, BufReader, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::{
        PoisonError, RwLock,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

/// Far beyond what any of these runs takes: who reaches it hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tus-mio-server");

/// Held for reading while a test has a store open itself, for writing while it starts the program: what is
/// started has all open files of this process for a moment, and with them the lock of a store.
pub(crate) static STARTING: RwLock<()> = RwLock::new(());

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit status; `None` if it was killed.
    pub(crate) status: Option<i32>,
    /// All of standard output.
    pub(crate) stdout: String,
    /// All of standard error.
    pub(crate) stderr: String,
}

/// A directory to run in.
pub(crate) struct Place(TempDir);

impl Place {
    /// A new, empty directory.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        self.start(arguments, environment, Stdio::piped()).finish()
    }

    /// Runs the program to its end, with nobody to read its standard output.
    pub(crate) fn run_unread(&self, arguments: &[&str]) -> Run {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.start(arguments, &[], writer.into()).finish()
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)], stdout: Stdio) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).stdout(stdout);
        self.spawn(command)
    }

    /// Starts the program as systemd would for two sockets that listen. A command can pass no descriptor but the
    /// usual three: so the shell puts two of those where they belong.
    pub(crate) fn activate(&self, sockets: [OwnedFd; 2], arguments: &[&str], notify: &Path) -> Running {
        let [first, second] = sockets;
        let mut command = Command::new("/bin/sh");
        let script =
            "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\"";
        command.args(["-c", script, PROGRAM]).args(arguments).env("NOTIFY_SOCKET", notify);
        command.stdin(first).stdout(second);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Running {
        let kept: Vec<_> =
            command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        command.env_clear().envs(kept).current_dir(self.0.path()).stderr(Stdio::piped());
        let starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn().unwrap();
        drop(starting);
        let pid = Pid::from_child(&child);
        let (alive, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            // The child is reaped only after `alive` is dropped, so the id is still its own.
            if ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(BufReader::new);
        Running { child, pid, stdout, stderr, alive: Some(alive) }
    }
}

/// The program while it runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    pid: Pid,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
    alive: Option<Sender<()>>,
}

impl Running {
    /// The next line of standard output, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Reads standard error up to a line that has `text` in it, and gives that.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let mut lines = self.stderr.as_mut().unwrap().lines().map(Result::unwrap);
        lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line with {text:?}"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Lets it write no file beyond this size.
    pub(crate) fn limit_files(&self, bytes: u64) {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Some(self.pid), Resource::Fsize, limit).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Run {
        let mut stderr_pipe = self.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr_pipe.read_to_string(&mut text).unwrap();
            text
        });
        let mut stdout = String::new();
        if let Some(mut pipe) = self.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        let stderr = stderr.join().unwrap();
        // Both pipes are at their end: the process is ending, or it was killed.
        drop(self.alive.take());
        Run { status: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// Asserts a failure of this status, told in one line on standard error that has all of `hints` in it.
    #[track_caller]
    pub(crate) fn assert_fails(&self, status: i32, hints: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let one_line = self.stderr.starts_with("error: ") && self.stderr.lines().count() == 1;
        assert!(one_line && hints.iter().all(|hint| self.stderr.contains(hint)), "{hints:?}: {self:?}");
    }

    /// Asserts success without a word on standard error; gives standard output.
    #[track_caller]
    pub(crate) fn assert_quiet_success(&self) -> &str {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }
}

/// `path` as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
