//! What differs between the drafts that clients are known to speak: one row a version. Code asks a row, and never
//! compares numbers.

/// What one interop version (`Upload-PendingCreate-Interop-Version`) says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Its number.
    pub number: u8,
    /// The field that tells whether the upload is complete, and whether its value says the opposite.
    pub completion: Completion,
    /// Whether an append is `application/partial-upload`; any content type otherwise.
    pub typed_append: bool,
    /// The status of an append that does not complete the upload.
    pub append_status: u16,
    /// Whether HEAD and DELETE with an upload field in it are rejected.
    pub bare_requests: bool,
    /// What `Upload-Limit` calls the seconds that an upload still lives. `None` if there is no such field.
    pub lifetime: Option<&'static str>,
    /// Whether an upload is invalid for good once a request went past its length.
    pub invalid_past_length: bool,
    /// Whether there is a problem type for appends to complete uploads.
    pub completed_type: bool,
    /// Whether interim answers tell how much of a body is stored.
    pub progress: bool,
}

/// How a version tells that an upload is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// `Upload-Complete: ?1`.
    Complete,
    /// `Upload-Incomplete: ?0`.
    Incomplete,
}

impl Completion {
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Complete => "Upload-Complete",
            Self::Incomplete => "Upload-Incomplete",
        }
    }

    /// What a value of the field means, or says.
    pub(super) const fn translate(self, value: bool) -> bool {
        match self {
            Self::Complete => value,
            Self::Incomplete => !value,
        }
    }
}

/// All versions, by their numbers. The last row is also that of requests which name none.
static VERSIONS: [Version; 7] = [
    Version { number: 3, completion: Completion::Incomplete, ..FOURTH },
    FOURTH,
    Version { number: 5, ..FOURTH },
    Version { number: 6, typed_append: true, lifetime: Some("expires"), completed_type: true, ..FOURTH },
    SEVENTH,
    EIGHTH,
    Version { number: 9, completed_type: false, ..EIGHTH },
];

const FOURTH: Version = Version {
    number: 4,
    completion: Completion::Complete,
    typed_append: false,
    append_status: 201,
    bare_requests: true,
    lifetime: None,
    invalid_past_length: false,
    completed_type: false,
    progress: false,
};

const SEVENTH: Version = Version {
    number: 7,
    completion: Completion::Complete,
    typed_append: true,
    append_status: 204,
    bare_requests: false,
    lifetime: Some("max-age"),
    invalid_past_length: false,
    completed_type: true,
    progress: false,
};

const EIGHTH: Version = Version { number: 8, invalid_past_length: true, progress: true, ..SEVENTH };

impl Version {
    /// The version of this number.
    pub(super) fn numbered(number: u64) -> Option<&'static Self> {
        VERSIONS.iter().find(|version| u64::from(version.number) == number)
    }

    /// The version for requests that name none that is known here.
    pub(super) fn newest() -> &'static Self {
        let [.., newest] = &VERSIONS;
        newest
    }

    /// The version in which the field was `Upload-Incomplete`.
    pub(super) fn oldest() -> &'static Self {
        let [oldest, ..] = &VERSIONS;
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_from_3_to_9_has_its_row() {
        for number in 3..=9 {
            assert!(Version::numbered(number).is_some_and(|version| u64::from(version.number) == number));
        }
        assert_eq!((Version::numbered(2), Version::numbered(10)), (None, None));
        assert_eq!((Version::oldest().number, Version::newest().number), (3, 9));
        assert!(Completion::Incomplete.translate(false) && Completion::Complete.translate(true));
    }
}
