//! The kinds of events that external hooks are called for, under tusd's names.

use std::{fmt, str::FromStr};

use tus_driver::EventKind;
use tus_proto::HookCall;

/// What an external hook is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HookType {
    /// Before a request is looked at, any but OPTIONS. Not one of tusd's.
    PreRequest,
    /// Before an upload is created.
    PreCreate,
    /// An upload was created.
    PostCreate,
    /// Bytes of an upload have come.
    PostReceive,
    /// Before the request is answered that has made an upload complete.
    PreFinish,
    /// An upload is complete.
    PostFinish,
    /// Before an upload is deleted for its client.
    PreTerminate,
    /// An upload was deleted.
    PostTerminate,
}

impl HookType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PreRequest,
        Self::PreCreate,
        Self::PostCreate,
        Self::PostReceive,
        Self::PreFinish,
        Self::PostFinish,
        Self::PreTerminate,
        Self::PostTerminate,
    ];

    /// Those that are called by default, as tusd calls them.
    pub const DEFAULT: [Self; 5] =
        [Self::PreCreate, Self::PostCreate, Self::PostReceive, Self::PostTerminate, Self::PostFinish];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreRequest => "pre-request",
            Self::PreCreate => "pre-create",
            Self::PostCreate => "post-create",
            Self::PostReceive => "post-receive",
            Self::PreFinish => "pre-finish",
            Self::PostFinish => "post-finish",
            Self::PreTerminate => "pre-terminate",
            Self::PostTerminate => "post-terminate",
        }
    }

    /// For which one an exchange's call is. `None` if there is none.
    pub(super) fn of_call(call: &HookCall) -> Option<Self> {
        match call {
            HookCall::Incoming { .. } => Some(Self::PreRequest),
            HookCall::Create { .. } => Some(Self::PreCreate),
            HookCall::Chunk { .. } => None,
            HookCall::Terminate { .. } => Some(Self::PreTerminate),
            HookCall::Finish { .. } => Some(Self::PreFinish),
            HookCall::Progress { .. } => Some(Self::PostReceive),
        }
    }

    /// For which one an event is.
    pub(super) fn of_event(kind: EventKind) -> Self {
        match kind {
            EventKind::Created => Self::PostCreate,
            EventKind::Completed => Self::PostFinish,
            EventKind::Terminated => Self::PostTerminate,
        }
    }
}

impl fmt::Display for HookType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HookType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no hook {text:?}: give one of {names}")
        })
    }
}
