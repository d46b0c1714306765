//! The flags for finished uploads as files with names of their own.

use std::path::PathBuf;

use clap::Args;
use tus_mio_server::publish::{NamePattern, NamePatternError, Publish};

use super::{Failure, value};

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct PublishArgs {
    /// Put each finished upload into this existing directory, as a file with a name of its own. It never replaces a
    /// file [default: none]
    #[arg(long, env = "TUS_PUBLISH", value_name = "DIRECTORY", help_heading = "Publishing")]
    pub(crate) publish: Option<PathBuf>,

    /// Names of published files: {filename}, {id}, {date} and {any key of the metadata}, made harmless; equal names
    /// are numbered
    #[arg(long, env = "TUS_PUBLISH_NAME", value_name = "PATTERN", default_value = "{filename}")]
    #[arg(value_parser = pattern, help_heading = "Publishing")]
    pub(crate) publish_name: NamePattern,

    /// Publish by hard links where possible: they take no space, and share mode and content with the store's files
    /// [default: off]
    #[arg(long, env = "TUS_PUBLISH_LINK", value_parser = value::switch, requires = "publish")]
    #[arg(help_heading = "Publishing")]
    pub(crate) publish_link: bool,

    /// Permissions of published files that are not links, in octal
    #[arg(long, env = "TUS_PUBLISH_MODE", value_name = "MODE", default_value = "0644", value_parser = mode)]
    #[arg(help_heading = "Publishing")]
    pub(crate) publish_mode: u32,

    /// Group of published files that are not links, by name or number; the server's user must be a member [default:
    /// the system's rule]
    #[arg(
        long,
        env = "TUS_PUBLISH_GROUP",
        value_name = "GROUP",
        requires = "publish",
        help_heading = "Publishing"
    )]
    pub(crate) publish_group: Option<String>,

    /// Delete an upload after it is published and its hooks have run [default: off]
    #[arg(long, env = "TUS_DELETE_PUBLISHED", value_parser = value::switch, requires = "publish")]
    #[arg(help_heading = "Publishing")]
    pub(crate) delete_published: bool,
}

impl PublishArgs {
    /// What they say, if anything is to be published.
    pub(crate) fn settings(&self) -> Result<Option<Publish>, Failure> {
        let Some(directory) = &self.publish else { return Ok(None) };
        let group = self.publish_group.as_deref().map(Publish::group_number).transpose();
        Ok(Some(Publish {
            directory: directory.clone(),
            name: self.publish_name.clone(),
            link: self.publish_link,
            mode: self.publish_mode,
            group: group.map_err(|error| Failure::Usage(format!("--publish-group: {error}")))?,
            delete: self.delete_published,
        }))
    }
}

fn pattern(text: &str) -> Result<NamePattern, String> {
    text.parse().map_err(|error: NamePatternError| error.to_string())
}

/// Permissions: three or four octal digits.
fn mode(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4).then(|| u32::from_str_radix(text, 8).ok()).flatten();
    digits.filter(|mode| *mode <= 0o777).ok_or_else(|| "write three octal digits, as 0644 or 640".into())
}
