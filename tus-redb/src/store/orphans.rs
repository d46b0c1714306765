//! Data files whose rows went with the power. Only eventual durability has such: a file may be on the disk
//! when its row, committed since the last flush, is not. They can only be among the newest files, so only
//! the newest directories are looked through.

use redb::{Database, ReadableDatabase};

use crate::{
    disk::{DATA, Disk},
    error::Error,
    files::{directory::Files, file_id::FileId},
    records::database::{self, FILES, PENDING_UNLINK},
};

/// Removes the files that the last opening made after its last flush, and whose rows are not there.
pub(crate) fn remove(disk: &dyn Disk, files: &Files, database: &Database) -> Result<(), Error> {
    let txn = database.begin_read()?;
    let first = database::first_unflushed(&txn)?;
    let rows = txn.open_table(FILES)?;
    let pending_unlink = txn.open_table(PENDING_UNLINK)?;
    // An opening that was cut short may have removed files whose names can still come back.
    files.renew_dir(DATA.to_owned());
    for dir in disk.list(DATA)? {
        // Directories sort by the order of their files.
        let dir = format!("{DATA}/{dir}");
        if dir < first.dir() {
            continue;
        }
        files.renew_dir(dir.clone());
        for name in disk.list(&dir)? {
            let Some(file) = FileId::from_path(&format!("{dir}/{name}")) else { continue };
            // One from before the flush had its row then: whoever took that away wants the file kept.
            if file < first {
                continue;
            }
            if rows.get(file.0)?.is_none() && pending_unlink.get(file.0)?.is_none() {
                files.remove(file)?;
            }
        }
    }
    Ok(files.sync_names()?)
}
