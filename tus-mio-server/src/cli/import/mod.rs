//! `import`: takes over the uploads that another server has left.

#[cfg(feature = "object-store")]
mod bucket;
mod report;
mod tusd;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use tus_redb::{Adopted, Adoption, Events, Options, Store};

use self::{
    report::{Fate, Report},
    tusd::{Directory, Rules, Upload},
};
use super::{Failure, bucket::PlaceArgs, config_args::ConfigArgs, value};

/// How many uploads share a transaction.
const GROUP: usize = 64;

const TUSD_HELP: &str = "\
DIRECTORY: end tusd first, and keep its directory until you have seen that all is there: nothing in it is changed or removed. Data files are \
linked where both directories are on one file system, else copied. A second run goes on where the first one ended. Docs: \
docs/from-tusd.md.

s3://BUCKET/PREFIX: what tusd had as -s3-bucket and -s3-object-prefix, with --store in the same bucket. Uploads are adopted where \
they are: no byte moves, and nothing of tusd's is changed or removed, but that an upload with all its bytes is completed; once \
adopted they go when they are deleted. Start the server with --tusd-urls then. Docs: docs/object-store.md.

Exit status 1 if an upload was not imported; the report says which, and why.

With --json: {\"dry_run\", \"uploads\": [{\"id\", \"outcome\", \"kind\", \"offset\", \"length\", \"complete\", \"data\", \"note\"}], \
\"imported\", \"present\", \"refused\"}. outcome is linked, copied, adopted, new (with --dry-run), present (in the store already) or refused; \
kind is plain, partial or final; what is not known of an upload that was refused is null, and so is a note where \
there is nothing to say.";

/// From which server.
#[derive(Subcommand, Debug)]
pub(crate) enum ImportCommand {
    /// Take over a directory or a bucket of tusd's: each upload goes on at its old URL
    #[command(after_help = TUSD_HELP)]
    Tusd(TusdArgs),
}

/// The flags of `import tusd`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TusdArgs {
    /// What tusd had as -upload-dir; or s3://BUCKET/PREFIX
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,

    /// Where else the settings may stand.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Directory of the uploads to be; made if missing. No server may have it open
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    pub(crate) data_dir: PathBuf,

    /// The bucket of the uploads to be, if the source is one.
    #[command(flatten)]
    pub(crate) bucket: PlaceArgs,

    /// Path of the uploads in URLs, for the names of parts that finals tell
    #[arg(long, env = "TUS_BASE_PATH", value_name = "PATH", default_value = "/files")]
    pub(crate) base_path: String,

    /// How long an unfinished upload lives after its last bytes; 0 for ever
    #[arg(long, env = "TUS_UPLOAD_EXPIRY", value_name = "DURATION", default_value = "0")]
    #[arg(value_parser = value::duration)]
    pub(crate) upload_expiry: Duration,

    /// Directory that tusd was started in, for paths in .info files that are relative [default: the current directory, then
    /// the source and those above it]
    #[arg(long, env = "TUS_STARTED_IN", value_name = "DIRECTORY")]
    pub(crate) started_in: Option<PathBuf>,

    /// Keep a completion event for each finished upload, so that the server's hooks are told of it, and it is published
    /// [default: off]
    #[arg(long, env = "TUS_ANNOUNCE", value_parser = value::switch)]
    pub(crate) announce: bool,

    /// Only say what would be done [default: off]
    #[arg(long, env = "TUS_DRY_RUN", value_parser = value::switch)]
    pub(crate) dry_run: bool,

    /// Write one JSON document in place of text [default: off]
    #[arg(long, env = "TUS_JSON", value_parser = value::switch)]
    pub(crate) json: bool,
}

/// Takes over what it can, and reports each that it can't.
pub(crate) fn import(command: &ImportCommand) -> Result<(), Failure> {
    let ImportCommand::Tusd(args) = command;
    let rules = Rules {
        base_path: args.base_path.trim_end_matches('/').to_owned(),
        expiry: (!args.upload_expiry.is_zero()).then_some(args.upload_expiry),
        started_in: args.started_in.clone(),
    };
    let source = args.source.to_str().filter(|source| source.contains("://"));
    match (source, args.bucket.url()) {
        (Some(source), Some(_)) => return import_bucket(args, source, &rules),
        (Some(source), None) => {
            return Err(Failure::Usage(format!(
                "{source} is a bucket: name with --store where in the same bucket uploads are to be, as s3://BUCKET/uploads"
            )));
        }
        (None, Some(store)) => {
            return Err(Failure::Usage(format!(
                "a directory can't be imported into {store}: leave --store out and name a --data-dir, or import tusd's bucket"
            )));
        }
        (None, None) => {}
    }
    let directory = Directory::open(&args.source, &args.data_dir)?;
    let store = open_store(args)?;
    let mut report =
        Report::begin(super::store::output(), args.json, args.dry_run).map_err(super::store::unwritten)?;
    for ids in directory.ids.chunks(GROUP) {
        let (mut group, mut fates) = (Vec::new(), Vec::new());
        for id in ids {
            match directory.read(id, &rules) {
                Ok(upload) => group.push(upload),
                Err(why) => fates.push((id.as_str(), Fate::Rejected(why), None)),
            }
        }
        let adopted = adopt(args, store.as_ref(), &group)?;
        let taken = group.iter().zip(adopted);
        fates.extend(taken.map(|(upload, fate)| (upload.record.id.as_str(), fate, Some(upload))));
        for (id, fate, upload) in fates {
            report.upload(id, &fate, upload).map_err(super::store::unwritten)?;
        }
    }
    drop(store);
    let refused = report.end().map_err(super::store::unwritten)?;
    if refused == 0 { Ok(()) } else { Err(Failure::Told) }
}

#[cfg(feature = "object-store")]
fn import_bucket(args: &TusdArgs, source: &str, rules: &Rules) -> Result<(), Failure> {
    bucket::import(args, source, rules)
}

#[cfg(not(feature = "object-store"))]
fn import_bucket(args: &TusdArgs, _: &str, _: &Rules) -> Result<(), Failure> {
    args.bucket.check()
}

/// The store to import into; `None` where nothing is to be made, and there is none.
fn open_store(args: &TusdArgs) -> Result<Option<Store>, Failure> {
    let events = Events { completed: args.announce, ..Events::default() };
    let options = Options { events, ..Options::default() };
    let opened = match args.dry_run {
        false => Store::open(&args.data_dir, &options),
        true => match Store::open_existing(&args.data_dir, &options) {
            Err(tus_redb::OpenError::Missing { .. }) => return Ok(None),
            other => other,
        },
    };
    opened.map(Some).map_err(|error| Failure::Environment(error.to_string()))
}

/// What becomes of each upload of a group.
fn adopt(args: &TusdArgs, store: Option<&Store>, group: &[Upload]) -> Result<Vec<Fate>, Failure> {
    let Some(store) = store else { return Ok(group.iter().map(|_| Fate::New).collect()) };
    let failed = |failure| {
        let details = store.trouble().unwrap_or_else(|| tus_redb::StoreError(failure).to_string());
        Failure::Environment(format!(
            "the store in {} failed: {details}: mend that, and import again",
            args.data_dir.display()
        ))
    };
    let mut fates = Vec::new();
    let mut present = Vec::new();
    for upload in group {
        present.push(store.load(&upload.record.id).map_err(failed)?);
    }
    let adopted = match args.dry_run {
        true => Vec::new(),
        false => {
            let adoptions: Vec<_> = group.iter().map(Upload::adoption).collect::<Vec<Adoption>>();
            store.adopt(&adoptions).map_err(failed)?
        }
    };
    let mut adopted = adopted.into_iter();
    for (upload, present) in group.iter().zip(present) {
        let adopted = adopted.next();
        fates.push(match (present, adopted) {
            (Some(record), _) => Fate::present(&record, upload),
            (None, None) => Fate::New,
            (None, Some(adopted)) => Fate::from(adopted),
        });
    }
    // What was brought in for nothing.
    while !args.dry_run && store.reclaim(GROUP).map_err(failed)? > 0 {}
    Ok(fates)
}

impl From<Adopted> for Fate {
    fn from(adopted: Adopted) -> Self {
        match adopted {
            Adopted::Linked => Self::Linked,
            Adopted::Copied => Self::Copied,
            Adopted::Exists => Self::Rejected("an upload with this id expired here lately".into()),
            Adopted::Differs { len } => Self::Rejected(format!(
                "its data file changed meanwhile, and has {len} bytes now: end tusd, and import again"
            )),
            Adopted::Failed(error) => Self::Rejected(format!("its data file can't be brought in: {error}")),
            _ => Self::Rejected("it could not be taken over".into()),
        }
    }
}
