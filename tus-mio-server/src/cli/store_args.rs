//! The flags of the commands that look into a store.

use std::path::PathBuf;

use clap::Args;
use tus_redb::Options;

use super::{Failure, access::Access, bucket::PlaceArgs, config_args::ConfigArgs, value};

/// Which store.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhichArgs {
    /// Where else the directory may stand.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Directory of the uploads; a server that runs there is asked
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    pub(crate) data_dir: PathBuf,

    /// The bucket, if uploads are in one.
    #[command(flatten)]
    pub(crate) bucket: PlaceArgs,
}

impl WhichArgs {
    /// The way to it, as it is opened by default.
    pub(crate) fn access(&self) -> Result<Access<'_>, Failure> {
        Access::to(&self.data_dir, &self.bucket, &Options::default())
    }
}

/// Which store, and how to write what is in it.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// The store.
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    /// Write one JSON document in place of text [default: off]
    #[arg(long, env = "TUS_JSON", value_parser = value::switch)]
    pub(crate) json: bool,
}

/// Which store, and what to do about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Mend what is wrong, as far as that has one right answer; no byte is destroyed [default: off]
    #[arg(long, env = "TUS_REPAIR", value_parser = value::switch)]
    pub(crate) repair: bool,

    /// Read every byte of the uploads that have a digest, and compare: see --store-digest of serve [default: off]
    #[arg(long, env = "TUS_DEEP", value_parser = value::switch, conflicts_with = "repair")]
    pub(crate) deep: bool,
}

/// Which upload of which store.
#[derive(Args, Clone, Debug)]
pub(crate) struct OneUploadArgs {
    /// The upload: the last part of its URL
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Which store, and how to write.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Which upload of which store.
#[derive(Args, Clone, Debug)]
pub(crate) struct CatArgs {
    /// The upload: the last part of its URL
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// The store.
    #[command(flatten)]
    pub(crate) which: WhichArgs,
}
