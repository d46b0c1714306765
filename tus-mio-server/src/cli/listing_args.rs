//! The flags of the commands that list and export: which uploads, in which order.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use tus_mio_server::admin::UploadQuery;
use tus_redb::{Sort, UploadState};

use super::{store_args::StoreArgs, value};

/// Where a list is in another order than that of ids, so many are shown if nothing else is asked for.
const SORTED: usize = 1_000;

/// The flags of `list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Those in this state alone [default: in any]
    #[arg(long, env = "TUS_STATE", value_name = "STATE")]
    pub(crate) state: Option<State>,

    /// Which else.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// The order; within it that of the ids, which is the order of creation where the server chose them. Any other than id
    /// costs a look at every record for each 1000 that are shown
    #[arg(long, env = "TUS_SORT", value_name = "BY", default_value = "id")]
    pub(crate) sort: By,

    /// The other way round [default: off]
    #[arg(long, env = "TUS_DESCENDING", value_parser = value::switch)]
    pub(crate) descending: bool,

    /// Show so many at the most [default: all by id, else 1000]
    #[arg(long, env = "TUS_LIMIT", value_name = "NUMBER", value_parser = value::count(usize::MAX))]
    pub(crate) limit: Option<usize>,

    /// Go on after the place that a limited list has ended at, which it says [default: none, begin with the first]
    #[arg(long, env = "TUS_AFTER", value_name = "PLACE")]
    pub(crate) after: Option<String>,
}

impl ListArgs {
    /// What is asked, and how many are wanted at the most.
    pub(crate) fn query(&self) -> (UploadQuery, usize) {
        let mut query = UploadQuery::default();
        query.state = self.state.map(Into::into);
        query.older_than = self.filter.older_than;
        query.larger_than = self.filter.larger_than;
        query.sort = self.sort.into();
        query.descending = self.descending;
        query.after = self.after.clone();
        let all = if self.sort == By::Id { usize::MAX } else { SORTED };
        (query, self.limit.unwrap_or(all))
    }
}

/// Which uploads.
#[derive(Args, Clone, Debug)]
pub(crate) struct FilterArgs {
    /// Those created so long ago, or earlier [default: of any age]
    #[arg(long, env = "TUS_OLDER_THAN", value_name = "DURATION", value_parser = value::duration)]
    pub(crate) older_than: Option<Duration>,

    /// Those of which more than so many bytes are there [default: of any size]
    #[arg(long, env = "TUS_LARGER_THAN", value_name = "SIZE", value_parser = value::size)]
    pub(crate) larger_than: Option<u64>,
}

/// The flags of `export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// A directory, made if missing, or - for a tar archive on standard output
    #[arg(value_name = "DIR|-")]
    pub(crate) to: PathBuf,

    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Those in this state; of an unfinished upload, the bytes that are there
    #[arg(long, env = "TUS_STATE", value_name = "STATE", default_value = "finished")]
    pub(crate) state: State,

    /// Which else.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

impl ExportArgs {
    /// What is asked.
    pub(crate) fn query(&self) -> UploadQuery {
        let mut query = UploadQuery::default();
        query.state = Some(self.state.into());
        query.older_than = self.filter.older_than;
        query.larger_than = self.filter.larger_than;
        query
    }
}

/// What has become of an upload.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Bytes are missing.
    Unfinished,
    /// All bytes are there.
    Finished,
    /// Its time is over, and it was not removed yet.
    Expired,
}

impl From<State> for UploadState {
    fn from(state: State) -> Self {
        match state {
            State::Unfinished => Self::Unfinished,
            State::Finished => Self::Finished,
            State::Expired => Self::Expired,
        }
    }
}

/// By what a list is ordered.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The id.
    Id,
    /// The time of creation.
    Created,
    /// How many bytes are there.
    Size,
    /// When it expires; those that don't come last.
    Expires,
}

impl From<By> for Sort {
    fn from(by: By) -> Self {
        match by {
            By::Id => Self::Id,
            By::Created => Self::Created,
            By::Size => Self::Size,
            By::Expires => Self::Expires,
        }
    }
}
