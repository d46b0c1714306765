//! Hooks out of the process: an HTTP service that is sent each event, or a directory of programs, one for each kind of
//! event. Documents, answers, retries and limits are tusd's, so that a handler written for it works as it is.
//!
//! Events after the fact come from the outbox: at least once, in order for an upload, each with a name that stays
//! the same when it is delivered again.

mod answer;
mod command;
mod document;
#[cfg(feature = "hooks-http")]
mod http;
mod kind;
mod permissions;
mod progress;

use std::{fmt, path::PathBuf, sync::OnceLock, time::Duration};

use tus_driver::{
    EventKind, EventKinds, Ticket,
    hooks::{FindFiles, HookEvent, HookRunner},
};
use tus_proto::{HookCall, HookReply, RequestInfo, Subscriptions};

use self::{
    answer::Answer,
    command::Programs,
    document::Document,
    permissions::{Key, Permissions},
    progress::Progress,
};
pub use kind::HookType;

/// Which hooks are called, and where they are.
#[derive(Clone, Debug)]
pub struct ExternalSettings {
    /// Where they are.
    pub target: Target,
    /// Which are called. Default: [`HookType::DEFAULT`].
    pub enabled: Vec<HookType>,
    /// How often `post-receive` is called for an upload at the most. Default 1 s.
    pub progress_interval: Duration,
}

impl ExternalSettings {
    /// Hooks at this target, by tusd's defaults.
    pub fn new(target: Target) -> Self {
        Self { target, enabled: HookType::DEFAULT.into(), progress_interval: Duration::from_secs(1) }
    }
}

/// Where hooks are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An HTTP service.
    Http(HttpSettings),
    /// A directory of programs, each with the name of what it is called for.
    Directory(PathBuf),
}

/// An HTTP service for hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Its URL, `http:` or `https:`.
    pub url: String,
    /// Headers of the client's request that are sent on.
    pub forward_headers: Vec<String>,
    /// The time for all tries together. Default 15 s.
    pub timeout: Duration,
    /// How many tries there are, at least one. Another follows a failure of the network and a 5xx. Default 3.
    pub tries: u32,
    /// The pause between two tries. Default 1 s.
    pub backoff: Duration,
    /// The largest answer, in bytes. Default 5 KiB.
    pub size_limit: u64,
    /// A file of certificates in PEM form that its certificate must be signed by one of; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// How many idle connections are kept. Default 64.
    pub connections: usize,
}

impl HttpSettings {
    /// The service at this URL, by tusd's defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            forward_headers: Vec::new(),
            timeout: Duration::from_secs(15),
            tries: 3,
            backoff: Duration::from_secs(1),
            size_limit: 5 << 10,
            ca: None,
            connections: 64,
        }
    }
}

/// Why external hooks can't be set up. Says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalError(String);

impl fmt::Display for ExternalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExternalError {}

/// Hooks that are programs or an HTTP service, as a [`HookRunner`].
pub struct External {
    target: Box<dyn Invoke>,
    enabled: Vec<HookType>,
    interval: Duration,
    progress: Progress,
    permissions: Permissions,
    files: OnceLock<Box<FindFiles>>,
}

/// A way to call a hook.
trait Invoke: fmt::Debug + Send + Sync {
    /// Calls it and waits for its answer.
    ///
    /// # Errors
    /// What is wrong with the hook, for the log.
    fn invoke(&self, call: &Call<'_>) -> Result<Answer, String>;
}

/// One call of a hook.
struct Call<'a> {
    kind: HookType,
    document: &'a Document,
    #[cfg_attr(not(feature = "hooks-http"), expect(dead_code, reason = "programs get no header fields"))]
    request: Option<&'a RequestInfo>,
    /// The event's name, the same whenever it is delivered. Calls that a request waits for have none.
    event_id: Option<String>,
}

impl External {
    /// Sets them up. Nothing is called yet.
    ///
    /// # Errors
    /// The caller's: a URL that is none, a directory or a file that can't be read.
    pub fn new(settings: ExternalSettings) -> Result<Self, ExternalError> {
        let target: Box<dyn Invoke> = match settings.target {
            Target::Directory(directory) => Box::new(Programs::new(&directory)?),
            #[cfg(feature = "hooks-http")]
            Target::Http(settings) => Box::new(http::Service::new(settings)?),
            #[cfg(not(feature = "hooks-http"))]
            Target::Http(_) => {
                let text =
                    "this server was built without hooks by HTTP: build it with the feature hooks-http";
                return Err(ExternalError(text.into()));
            }
        };
        let interval = settings.progress_interval;
        let (enabled, progress) = (settings.enabled, Progress::new(interval));
        let (permissions, files) = (Permissions::default(), OnceLock::new());
        Ok(Self { target, enabled, interval, progress, permissions, files })
    }

    fn calls(&self, kind: HookType) -> bool {
        self.enabled.contains(&kind)
    }

    fn ask(&self, call: &HookCall) -> Result<HookReply, String> {
        let Some(kind) = HookType::of_call(call) else { return Ok(HookReply::Proceed) };
        let _running = match call {
            HookCall::Progress { upload, .. } => match self.progress.begin(&upload.id) {
                Some(running) => Some(running),
                None => return Ok(HookReply::Proceed),
            },
            _ => None,
        };
        let files = match (call, self.files.get()) {
            (HookCall::Finish { upload, .. }, Some(find)) => find(&upload.id),
            _ => Vec::new(),
        };
        let document = Document::of_call(kind, call, &files);
        let request = Some(&**call.request());
        let answer = self.target.invoke(&Call { kind, document: &document, request, event_id: None })?;
        let max_age = answer.max_age();
        let reply = answer.reply(kind)?;
        if reply == HookReply::Proceed
            && let (Some(max_age), Some(key)) = (max_age, Key::of(call))
        {
            self.permissions.keep(key, max_age);
        }
        Ok(reply)
    }

    fn send(&self, event: &HookEvent) -> Result<(), String> {
        let kind = HookType::of_event(event.kind);
        if !self.calls(kind) {
            // It was kept for hooks of an earlier run.
            return Ok(());
        }
        if event.kind != EventKind::Created {
            self.progress.end(&event.record.id);
        }
        let document = Document::of_event(kind, event);
        let event_id = Some(format!("{}-{}", event.record.id, event.number));
        let request = event.request.as_deref();
        self.target.invoke(&Call { kind, document: &document, request, event_id }).map(|_| ())
    }
}

impl HookRunner for External {
    fn subscriptions(&self) -> Subscriptions {
        Subscriptions {
            incoming: self.calls(HookType::PreRequest),
            create: self.calls(HookType::PreCreate),
            terminate: self.calls(HookType::PreTerminate),
            finish: self.calls(HookType::PreFinish),
            progress: self.calls(HookType::PostReceive).then_some(self.interval),
            requests: true,
            ..Subscriptions::NONE
        }
    }

    fn events(&self) -> EventKinds {
        EventKinds {
            created: self.calls(HookType::PostCreate),
            completed: self.calls(HookType::PostFinish),
            terminated: self.calls(HookType::PostTerminate),
        }
    }

    fn set_files(&self, files: Box<FindFiles>) {
        // Called once; a second way leads to the same files.
        let _ = self.files.set(files);
    }

    fn recall(&self, call: &HookCall) -> Option<HookReply> {
        if let HookCall::Progress { upload, .. } = call {
            return (!self.progress.is_due(&upload.id)).then_some(HookReply::Proceed);
        }
        let key = Key::of(call)?;
        self.permissions.holds(key).then_some(HookReply::Proceed)
    }

    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        let reply = self.ask(&call).unwrap_or_else(|error| {
            let kind = HookType::of_call(&call).map(HookType::name);
            tracing::error!(hook = kind, %error, "a hook failed");
            HookReply::Failed
        });
        ticket.answer(reply);
    }

    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>) {
        let sent = self.send(&event);
        if let Err(error) = &sent {
            let (hook, id) = (HookType::of_event(event.kind).name(), &event.record.id);
            tracing::error!(hook, %id, %error, "a hook failed; it is called again later");
        }
        ticket.answer(sent.is_ok());
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External")
            .field("target", &self.target)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
