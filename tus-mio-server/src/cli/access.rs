//! The way to a store: through the server that has it open, or, where none has, by opening it. A bucket is asked itself.

use std::{path::Path, thread, time::Duration};

use tus_mio_server::admin::{AdminError, Administration, Client, MOST, Offline, UploadPage, UploadQuery};
use tus_redb::{OpenError, Options, Store};

use super::{
    Failure,
    bucket::{Opened, PlaceArgs},
    table::shown,
};

/// How often it is tried while a process has the store open and does not answer: a server that starts, or ends.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A store, and the path its user knows it by.
pub(crate) struct Access<'a> {
    way: Way,
    dir: &'a Path,
}

enum Way {
    Own(Box<Offline>),
    Beside(Client),
    Bucket(Opened),
}

impl<'a> Access<'a> {
    /// Opens the bucket, if one is named; else finds the server of this directory, or opens that.
    pub(crate) fn to(dir: &'a Path, place: &'a PlaceArgs, options: &Options) -> Result<Self, Failure> {
        if let Some(opened) = place.administration()? {
            return Ok(Self { way: Way::Bucket(opened), dir: Path::new(place.url().unwrap_or_default()) });
        }
        let mut tries = 0;
        loop {
            if let Some(client) = server_of(dir)? {
                return Ok(Self { way: Way::Beside(client), dir });
            }
            match Store::open_existing(dir, options) {
                Ok(store) => return Ok(Self { way: Way::Own(Box::new(Offline::new(store))), dir }),
                Err(OpenError::InUse { .. }) if tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(Failure::Environment(error.to_string())),
            }
        }
    }

    /// A store that is open already.
    pub(crate) fn of(store: Store, dir: &'a Path) -> Self {
        Self { way: Way::Own(Box::new(Offline::new(store))), dir }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir
    }

    /// What is asked.
    pub(crate) fn ask(&self) -> &dyn Administration {
        match &self.way {
            Way::Own(offline) => &**offline,
            Way::Beside(client) => client,
            Way::Bucket(opened) => &*opened.administration,
        }
    }

    /// The store, if this process has it open.
    pub(crate) fn own(&self) -> Option<&Store> {
        match &self.way {
            Way::Own(offline) => Some(offline.store()),
            Way::Beside(_) | Way::Bucket(_) => None,
        }
    }

    /// The bucket, if it is one.
    pub(crate) fn bucket(&self) -> Option<&Opened> {
        match &self.way {
            Way::Bucket(opened) => Some(opened),
            Way::Own(_) | Way::Beside(_) => None,
        }
    }

    /// What an error comes to; `id` is the upload that was asked about.
    pub(crate) fn failed(&self, error: AdminError, id: &str) -> Failure {
        let dir = self.dir.display();
        match error {
            AdminError::Unknown(_) => Failure::Environment(format!(
                "there is no upload {} in {dir}: the list command names those there are",
                shown(id.as_bytes())
            )),
            AdminError::Malformed(text) => Failure::Usage(text),
            other => Failure::Environment(format!("{dir}: {other}")),
        }
    }

    /// Passes on at most so many uploads, page by page, and returns where the next ones begin. The first page is always passed on.
    pub(crate) fn each_page(
        &self,
        mut query: UploadQuery,
        limit: usize,
        mut take: impl FnMut(&UploadPage) -> Result<(), Failure>,
    ) -> Result<Option<String>, Failure> {
        let mut left = limit;
        loop {
            query.limit = Some(left.clamp(1, MOST));
            let page = self.ask().uploads(&query).map_err(|error| self.failed(error, ""))?;
            take(&page)?;
            left = left.saturating_sub(page.uploads.len());
            if page.next.is_none() || left == 0 {
                return Ok(page.next);
            }
            query.after = page.next;
        }
    }
}

/// The server that has the directory open.
pub(crate) fn server_of(dir: &Path) -> Result<Option<Client>, Failure> {
    Client::find(dir).map_err(|error| {
        Failure::Environment(format!(
            "the server that has {} open can't be asked ({error}): run this as its user, or as root",
            dir.display()
        ))
    })
}
