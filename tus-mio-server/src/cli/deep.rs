//! `verify --deep`: reads each complete upload that has a stored digest, and compares. It asks for uploads as any operator
//! does, so it works the same on a store alone and on that of a running server, which does no hashing for it.

use std::io::Read;

use tus_mio_server::admin::{AdminError, FindingDocument, UploadDetails, UploadQuery};
use tus_proto::{Algorithm, Hasher};

use super::{Failure, access::Access, progress::Progress};

/// How many bytes are hashed at once.
const PIECE: usize = 256 << 10;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deep {
    /// How many complete uploads were compared with their digests.
    pub(crate) compared: u64,
    /// How many bytes they have.
    pub(crate) bytes: u64,
    /// How many complete uploads have no digest.
    pub(crate) without: u64,
}

/// Compares all complete uploads with their digests. Returns what was read, and what is wrong.
pub(crate) fn compare(
    store: &Access<'_>,
    progress: &mut Progress,
) -> Result<(Deep, Vec<FindingDocument>), Failure> {
    let (mut deep, mut findings) = (Deep::default(), Vec::new());
    store.each_page(UploadQuery::default(), usize::MAX, |page| {
        for upload in page.uploads.iter().filter(|upload| upload.complete) {
            let details = match store.ask().upload(&upload.id) {
                // It went meanwhile.
                Err(AdminError::Unknown(_)) => continue,
                details => details.map_err(|error| store.failed(error, &upload.id))?,
            };
            match compare_one(store, &details, &mut deep, progress)? {
                Some(finding) => findings.push(finding),
                None => progress.show_bytes(deep.compared, deep.bytes),
            }
        }
        Ok(())
    })?;
    Ok((deep, findings))
}

/// What is wrong with one upload.
fn compare_one(
    store: &Access<'_>,
    details: &UploadDetails,
    deep: &mut Deep,
    progress: &mut Progress,
) -> Result<Option<FindingDocument>, Failure> {
    let id = &details.upload.id;
    let Some(wanted) = &details.sha256 else {
        deep.without += 1;
        return Ok(None);
    };
    let unread = |text: String| Some(FindingDocument::of_upload("unreadable", id, text));
    let mut content = match store.ask().content(id) {
        Err(AdminError::Unknown(_)) => return Ok(None),
        Err(AdminError::Failed(text)) => return Ok(unread(format!("upload {id} can't be read: {text}"))),
        content => content.map_err(|error| store.failed(error, id))?,
    };
    deep.compared += 1;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let (mut buffer, mut left) = (vec![0; PIECE], content.length);
    while left > 0 {
        let count = match content.bytes.read(&mut buffer) {
            Ok(0) => return Ok(unread(format!("the last {left} bytes of upload {id} can't be read"))),
            Ok(count) => count,
            Err(error) => return Ok(unread(format!("upload {id} can't be read: {error}"))),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        left = left.saturating_sub(count as u64);
        deep.bytes += count as u64;
        progress.show_bytes(deep.compared, deep.bytes);
    }
    let digest = hasher.finish();
    let found: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((found != *wanted).then(|| {
        let text = format!("upload {id} has the SHA-256 {found}, and had {wanted} when it was complete");
        FindingDocument::of_upload("wrong-digest", id, text)
    }))
}
