//! Rejections that an operator should see in the log. Equal ones are counted and not repeated: the first is logged, the
//! next at the earliest some seconds later, with how many there were between them.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tus_proto::{ErrorCode, Response, UploadId};

use crate::sync::lock;

/// How long a line stands for those that equal it.
const PAUSE: Duration = Duration::from_secs(10);

/// What was told, by code: there are few.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Vec<Notice>>);

#[derive(Debug)]
struct Notice {
    code: ErrorCode,
    told: Instant,
    /// How many came since.
    untold: u64,
}

impl Notices {
    /// Tells of an answer, where it is one of those.
    pub(super) fn answered(&self, response: &Response, upload: Option<&UploadId>) {
        let Some(code) = response.code().filter(|code| matters(*code)) else { return };
        let Some(repeated) = self.count(code, Instant::now()) else { return };
        say(code, response.status(), upload, repeated);
    }

    /// Tells of what was only counted, once its pause is over.
    pub(crate) fn flush(&self, now: Instant) {
        for notice in lock(&self.0).iter_mut() {
            if notice.untold > 0 && now.duration_since(notice.told) >= PAUSE {
                say(notice.code, notice.code.status(), None, std::mem::take(&mut notice.untold));
                notice.told = now;
            }
        }
    }

    /// How many equal ones were not told, where this one is to be; `None` if it is only counted.
    fn count(&self, code: ErrorCode, now: Instant) -> Option<u64> {
        let mut notices = lock(&self.0);
        let Some(notice) = notices.iter_mut().find(|notice| notice.code == code) else {
            notices.push(Notice { code, told: now, untold: 0 });
            return Some(0);
        };
        if now.duration_since(notice.told) < PAUSE {
            notice.untold += 1;
            return None;
        }
        notice.told = now;
        Some(std::mem::take(&mut notice.untold))
    }
}

/// The server's own troubles, and heads that no client of good will sends.
fn matters(code: ErrorCode) -> bool {
    is_error(code)
        || matches!(
            code,
            ErrorCode::InsufficientStorage
                | ErrorCode::HeadTooLarge
                | ErrorCode::UriTooLong
                | ErrorCode::BadRequest
                | ErrorCode::UnknownCoding
                | ErrorCode::HttpVersion
        )
}

fn is_error(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InternalServerError | ErrorCode::StoreUnavailable)
}

fn say(code: ErrorCode, status: u16, upload: Option<&UploadId>, repeated: u64) {
    let (code_name, text, upload) = (code.name(), code.text(), upload.map(UploadId::as_str));
    if is_error(code) {
        tracing::error!(status, code = code_name, upload, repeated, "refused: {text}");
    } else {
        tracing::warn!(status, code = code_name, upload, repeated, "refused: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_are_counted_and_not_repeated() {
        let (notices, begun) = (Notices::default(), Instant::now());
        assert_eq!(notices.count(ErrorCode::InsufficientStorage, begun), Some(0));
        for _ in 0..9 {
            assert_eq!(notices.count(ErrorCode::InsufficientStorage, begun), None);
        }
        assert_eq!(notices.count(ErrorCode::UriTooLong, begun), Some(0));
        assert_eq!(notices.count(ErrorCode::InsufficientStorage, begun + PAUSE), Some(9));
        assert_eq!(notices.count(ErrorCode::InsufficientStorage, begun + PAUSE), None);
        notices.flush(begun + PAUSE * 2);
        assert_eq!(notices.count(ErrorCode::InsufficientStorage, begun + PAUSE * 3), Some(0));
    }

    #[test]
    fn a_client_that_is_wrong_or_gone_is_no_matter_of_the_log() {
        for code in [
            ErrorCode::UploadNotFound,
            ErrorCode::UnexpectedEof,
            ErrorCode::MismatchedOffset,
            ErrorCode::HeadTimeout,
        ] {
            assert!(!matters(code), "{code:?}");
        }
    }
}
