//! What a client is sent of an upload, against what that is.

use tus_proto::UploadId;

use super::Oracle;
use crate::{message::Answer, sim::content::stretch};

/// What of an upload a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Wanted {
    Whole,
    /// From this byte to that one, both included.
    Part(u64, u64),
    From(u64),
    Last(u64),
    /// Nothing, if it still is what the client knows.
    News,
    /// All, unless it still is what the client knows: then from this byte on. The client knows something else.
    OtherFrom(u64),
}

impl Wanted {
    /// What of an upload of this length is to come; `None` if there is no such byte.
    fn within(self, length: u64) -> Option<(u64, u64)> {
        match self {
            Self::Whole | Self::News | Self::OtherFrom(_) => Some((0, length)),
            Self::Part(from, last) if from < length => Some((from, length.min(last + 1))),
            Self::From(from) if from < length => Some((from, length)),
            // The last bytes of nothing are all of it.
            Self::Last(bytes) if bytes > 0 => Some((length - bytes.min(length), length)),
            Self::Part(..) | Self::From(_) | Self::Last(_) => None,
        }
    }
}

impl Oracle {
    /// An answer to a GET has come, or what there is of it.
    pub(in crate::sim) fn check_download(&self, id: &UploadId, wanted: Wanted, answer: &Answer, whole: bool) {
        let (status, length) = (answer.status, self.length(id));
        let (from, to) = match (status, wanted.within(length)) {
            (200, Some((0, to))) if to == length => (0, length),
            (206, Some(part)) if matches!(wanted, Wanted::Part(..) | Wanted::From(_) | Wanted::Last(_)) => {
                part
            }
            (304, _) if wanted == Wanted::News => return,
            (416, None) => return,
            (200 | 206 | 304 | 416, _) => {
                panic!("{status} to a GET of {wanted:?} of {id}, which has {length} bytes")
            }
            _ => return,
        };
        assert!(status == 206 || wanted != Wanted::News, "{id} is what it was, and was sent again");
        let ranged = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
        let told = answer.value("Content-Range");
        assert_eq!(told, (status == 206).then_some(ranged.as_str()), "the range of {id}");
        assert_eq!(
            answer.value("Content-Length"),
            Some((to - from).to_string().as_str()),
            "the length of {id}"
        );
        let truth = &self.bytes(id)[from as usize..to as usize];
        let right = if whole { answer.body == truth } else { truth.starts_with(&answer.body) };
        // What a failing sync has lost may be read until a flush takes it back.
        let lost = self.shaken || self.faults_at_flush > 0;
        assert!(right || lost, "of {id} bytes were sent that are not the client's");
    }

    /// Whether an upload may be sent: it is complete, for all we know.
    pub(in crate::sim) fn may_be_complete(&self, id: &UploadId) -> bool {
        let whole = Some(self.length(id));
        self.uploads.get(id).is_some_and(|upload| upload.now.contains(&whole))
    }

    /// Whether it is complete, as everybody knows.
    pub(in crate::sim) fn is_complete(&self, id: &UploadId) -> bool {
        let whole = self.length(id);
        let all = |upload: &super::Upload| upload.completed || (!upload.parts.is_empty() && whole > 0);
        self.uploads.get(id).is_some_and(|upload| all(upload) && upload.now == [Some(whole)].into())
    }

    fn bytes(&self, id: &UploadId) -> Vec<u8> {
        let files = self.uploads.get(id).map(|upload| upload.files.as_slice()).unwrap_or_default();
        files.iter().flat_map(|file| stretch(*file, 0, self.files[*file])).collect()
    }
}
