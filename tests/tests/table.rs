//! The table itself: every row has a name of its own and says something.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use tests::{Step, table};

#[test]
fn every_row_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for (_, rows) in table::SECTIONS {
        for row in rows() {
            assert!(!row.name.is_empty());
            assert!(names.insert(row.name.clone()), "{:?} is there twice", row.name);
        }
    }
    for case in table::framing::cases() {
        assert!(names.insert(case.name.to_owned()), "{:?} is there twice", case.name);
    }
    assert!(names.len() > 330, "{} rows", names.len());
}

#[test]
fn every_row_asserts_something_at_its_end() {
    for (_, rows) in table::SECTIONS {
        for row in rows() {
            let asserts = |step: &Step| matches!(step, Step::Send(..) | Step::Answered(..) | Step::Tells(_));
            assert!(row.steps.last().is_some_and(asserts), "{:?}", row.name);
        }
    }
    for case in table::framing::cases() {
        assert!(!case.statuses.is_empty() && !case.sent.is_empty(), "{:?}", case.name);
    }
}

#[test]
fn every_begun_request_is_answered_or_its_client_goes() {
    for (_, rows) in table::SECTIONS {
        for row in rows() {
            let mut open = BTreeSet::new();
            for step in &row.steps {
                match step {
                    Step::Begin(name, _) | Step::Break(name, _) => {
                        assert!(open.insert(*name), "{:?}", row.name)
                    }
                    Step::Answered(name, _) => assert!(open.remove(name), "{:?}", row.name),
                    Step::End(name, tests::row::End::Close | tests::row::End::Reset) => {
                        assert!(open.remove(name), "{:?}", row.name);
                    }
                    Step::More(name, _) | Step::End(name, _) => {
                        assert!(open.contains(name), "{:?}", row.name)
                    }
                    Step::Send(..) | Step::Tells(_) => {}
                }
            }
            assert!(open.is_empty(), "{:?} leaves {open:?} open", row.name);
        }
    }
}

#[test]
fn every_code_of_the_protocol_in_use_is_in_a_row() {
    let mut told = BTreeSet::new();
    for (_, rows) in table::SECTIONS {
        for row in rows() {
            told.extend(row.steps.iter().filter_map(|step| match step {
                Step::Send(_, expect) | Step::Answered(_, expect) => expect.code,
                _ => None,
            }));
        }
    }
    told.extend(table::framing::cases().iter().filter_map(|case| case.code));
    // Those that a row can't bring about: a lock that nobody yields, a shutdown, a full or broken disk, a head
    // that never ends, a time that is over, a data file that is gone.
    let elsewhere = [
        "ERR_UPLOAD_LOCKED",
        "ERR_SERVER_SHUTDOWN",
        "ERR_INSUFFICIENT_STORAGE",
        "ERR_STORE_UNAVAILABLE",
        "ERR_INTERNAL_SERVER_ERROR",
        "ERR_HEAD_TIMEOUT",
        "ERR_UPLOAD_EXPIRED",
        "ERR_UPLOAD_GONE",
    ];
    told.extend(elsewhere);
    for code in [
        "ERR_UNSUPPORTED_VERSION",
        "ERR_MAX_SIZE_EXCEEDED",
        "ERR_INVALID_CONTENT_TYPE",
        "ERR_INVALID_UPLOAD_LENGTH",
        "ERR_INVALID_OFFSET",
        "ERR_UPLOAD_NOT_FOUND",
        "ERR_MISMATCHED_OFFSET",
        "ERR_UPLOAD_SIZE_EXCEEDED",
        "ERR_CHUNK_SIZE_EXCEEDED",
        "ERR_UPLOAD_COMPLETED",
        "ERR_CONCATENATION_UNSUPPORTED",
        "ERR_INVALID_CONCAT",
        "ERR_MODIFY_FINAL",
        "ERR_UPLOAD_NOT_FINISHED",
        "ERR_RANGE_NOT_SATISFIABLE",
        "ERR_PRECONDITION_FAILED",
        "ERR_UNSUPPORTED_CHECKSUM",
        "ERR_INVALID_CHECKSUM",
        "ERR_CHECKSUM_MISMATCH",
        "ERR_AMBIGUOUS_UPLOAD_LENGTH",
        "ERR_INVALID_UPLOAD_LENGTH_DEFER",
        "ERR_INVALID_METADATA",
        "ERR_METADATA_TOO_LARGE",
        "ERR_UPLOAD_INTERRUPTED",
        "ERR_UNEXPECTED_EOF",
        "ERR_READ_TIMEOUT",
        "ERR_METHOD_NOT_ALLOWED",
        "ERR_NOT_FOUND",
        "ERR_INVALID_METHOD_OVERRIDE",
        "ERR_BAD_REQUEST",
        "ERR_URI_TOO_LONG",
        "ERR_HEAD_TOO_LARGE",
        "ERR_EXPECTATION_FAILED",
        "ERR_UNKNOWN_CODING",
        "ERR_HTTP_VERSION",
        "ERR_INCONSISTENT_UPLOAD_LENGTH",
        "ERR_INVALID_UPLOAD_COMPLETE",
    ] {
        assert!(told.remove(code), "no row tells {code}");
    }
    assert!(
        told.iter().all(|code| elsewhere.contains(code)),
        "rows tell codes that are not listed: {told:?}"
    );
}
