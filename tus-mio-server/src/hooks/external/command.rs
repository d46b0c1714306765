//! Hooks that are programs in a directory: each is run with the document on its standard input, and answers on its
//! standard output.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{ChildStderr, Command, Stdio},
    thread,
};

use super::{Answer, Call, ExternalError, HookType, Invoke};

/// The largest answer that is read.
const LARGEST_ANSWER: u64 = 1 << 20;

/// The longest line of standard error that is logged in one piece.
const LONGEST_LINE: u64 = 4 << 10;

/// The programs of a directory.
#[derive(Debug)]
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    pub(super) fn new(directory: &Path) -> Result<Self, ExternalError> {
        let wrong = |error: std::io::Error| {
            let directory = directory.display();
            ExternalError(format!("the directory of hooks {directory} can't be used: {error}"))
        };
        // Programs run in it: a relative path would be looked for from there.
        let path = directory.canonicalize().map_err(wrong)?;
        path.read_dir().map_err(wrong)?;
        Ok(Self { directory: path })
    }
}

impl Invoke for Programs {
    fn invoke(&self, call: &Call<'_>) -> Result<Answer, String> {
        let program = self.directory.join(call.kind.name());
        let document = call.document;
        let mut command = Command::new(&program);
        command
            .current_dir(&self.directory)
            .env("TUS_ID", &document.id)
            .env("TUS_SIZE", document.size.to_string())
            .env("TUS_OFFSET", document.offset.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match &call.event_id {
            Some(id) => command.env("TUS_EVENT_ID", id),
            None => command.env_remove("TUS_EVENT_ID"),
        };
        let mut child = match command.spawn() {
            Ok(child) => child,
            // No such program: nobody wants to know.
            Err(error) if error.kind() == ErrorKind::NotFound && !program.exists() => {
                return Ok(Answer::default());
            }
            Err(error) => return Err(format!("{} can't be run: {error}", program.display())),
        };
        if let Some(stderr) = child.stderr.take() {
            log_lines(call.kind, stderr);
        }
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let text = document.json.to_string();
        let mut output = Vec::new();
        // It may answer before it has read all, and read while it answers.
        let read = thread::scope(|scope| {
            scope.spawn(|| {
                // One that does not read its input does not want it.
                stdin.map(|mut stdin| stdin.write_all(text.as_bytes()))
            });
            stdout.map_or(Ok(0), |stdout| stdout.take(LARGEST_ANSWER).read_to_end(&mut output))
        });
        let status = child.wait().map_err(|error| format!("it can't be waited for: {error}"))?;
        read.map_err(|error| format!("its answer can't be read: {error}"))?;
        if !status.success() {
            let output = String::from_utf8_lossy(&output);
            return Err(format!("{} ended with {status}, and said {output:?}", program.display()));
        }
        Answer::parse(&output)
    }
}

/// Logs what a program says on its standard error, for as long as something holds it open.
fn log_lines(kind: HookType, stderr: ChildStderr) {
    let log = move || {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(1..) => {
                    let text = String::from_utf8_lossy(&line);
                    tracing::info!(hook = kind.name(), "{}", text.trim_end());
                }
                Ok(0) | Err(_) => return,
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("hook-stderr".into()).spawn(log) {
        tracing::warn!(%error, "what a hook says on standard error is lost");
    }
}
