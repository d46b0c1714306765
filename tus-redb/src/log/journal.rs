//! The journal, which held groups up to format 4, with eventual durability alone. An opening still reads it.
//!
//! A header names the boot, frames follow: length, checksum, group. It was written and never synced, so it is believed only
//! while the machine has not restarted.

use std::io;

use crate::{
    codec::{Decoder, Encoder},
    disk::{Disk, Mode, read_exact},
    log::{
        checksum,
        group::{Group, decode},
    },
};

pub(crate) const JOURNAL: &str = "journal";

/// Of format 4.
const MAGIC: &str = "tus-redb journal 3";
/// Of format 3: its groups have no time, and acknowledge events by number only.
const MAGIC_2: &str = "tus-redb journal 2";
/// Length and checksum of a frame.
const FRAME_HEAD: u64 = 16;

/// The groups in a store's journal, which may be replayed. `None` if the machine was restarted since it was begun: then
/// what it held is lost.
pub(super) fn read_journal(disk: &dyn Disk) -> io::Result<Option<Vec<Group>>> {
    let file = match disk.open(JOURNAL, Mode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
        other => other?,
    };
    // Without its name there is no telling whether this is the same boot: then it is not.
    let Ok(boot) = disk.boot_id() else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    read_exact(&*file, &mut bytes, 0)?;
    let of =
        |magic, timed| bytes.strip_prefix(header(magic, &boot).as_slice()).map(|rest| groups(rest, timed));
    Ok(of(MAGIC, true).or_else(|| of(MAGIC_2, false)))
}

fn header(magic: &str, boot: &str) -> Vec<u8> {
    let mut bytes = Encoder::default();
    bytes.text(magic).text(boot);
    bytes.0
}

/// The whole frames at the beginning of `bytes`; what follows them was torn when the process died.
fn groups(mut bytes: &[u8], timed: bool) -> Vec<Group> {
    let mut groups = Vec::new();
    loop {
        let mut head = Decoder(bytes);
        let (Some(len), Some(sum)) = (head.number(), head.number()) else { return groups };
        let payload = usize::try_from(len).ok().and_then(|len| head.0.get(..len));
        let Some(payload) = payload.filter(|payload| checksum(0, payload) == sum) else { return groups };
        let Some(group) = decode(payload, timed) else { return groups };
        groups.push(group);
        bytes = bytes.get(FRAME_HEAD as usize + payload.len()..).unwrap_or_default();
    }
}
