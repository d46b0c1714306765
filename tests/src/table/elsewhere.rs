//! Cases of `docs/wire.md` that no row can bring about, because they need a clock, a failing disk, a lock that
//! is lost, a trailer or a hook: each with the file and the test that shows it.

/// Case, file from the root of the repository, test.
pub const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("F10", "tests/tests/connections.rs", "a_head_that_does_not_end_is_answered_in_time"),
    ("F11", "tests/tests/connections.rs", "an_idle_connection_is_closed_without_a_word"),
    (
        "H4",
        "tests/tests/contention.rs",
        "a_head_waits_a_second_for_a_stuck_writer_and_tells_what_is_committed",
    ),
    ("H5", "tests/tests/trouble.rs", "a_head_is_never_answered_5xx"),
    ("P15", "tests/tests/contention.rs", "a_body_is_committed_when_its_time_has_come"),
    ("P16", "tests/tests/contention.rs", "a_shutdown_commits_what_arrived_and_says_so"),
    ("P17", "tests/tests/trouble.rs", "a_full_disk_keeps_what_fitted_and_everything_else_goes_on"),
    ("W5", "tests/tests/contention.rs", "a_newcomer_does_not_wait_for_ever"),
    (
        "W6",
        "tests/tests/contention.rs",
        "a_writer_that_hangs_longer_than_its_lock_lives_loses_it_and_spoils_nothing",
    ),
    ("S6", "tests/tests/trailers.rs", "the_right_one_is_as_good_as_in_the_header"),
    ("S6", "tests/tests/trailers.rs", "the_wrong_one_leaves_no_trace"),
    ("S6", "tests/tests/trailers.rs", "one_that_was_announced_must_come"),
    ("S7", "tests/tests/trailers.rs", "one_that_was_not_announced_is_verified_all_the_same"),
    ("S8", "tests/tests/trailers.rs", "header_and_trailer_must_agree"),
    ("E2", "tests/tests/expiry.rs", "it_is_410_at_its_time_and_swept_soon_after"),
    ("E5", "tus-redb/src/tests/concat.rs", "a_pending_final_lives_on_with_its_parts_and_they_with_it"),
    ("E6", "tus-proto/tests/exchange/expiry.rs", "while_somebody_writes_to_it_it_is_not_over"),
    ("E7", "tus-mio-server/tests/process/calendar.rs", "no_jump_of_the_calendar_ends_an_unfinished_upload"),
    ("J1", "tests/tests/hooks.rs", "nobody_but_its_owner_gets_at_an_upload"),
    ("J2", "tests/tests/hooks.rs", "a_creation_is_changed_or_refused"),
    ("J3", "tests/tests/hooks.rs", "a_creation_is_changed_or_refused"),
    ("J4", "tests/tests/hooks.rs", "a_deletion_may_be_vetoed_and_an_upload_stopped"),
    ("J5", "tests/tests/hooks.rs", "a_deletion_may_be_vetoed_and_an_upload_stopped"),
    ("J6", "tests/tests/hooks.rs", "a_hook_that_fails_or_panics_is_an_internal_error_and_nothing_is_made"),
    ("J6", "tests/tests/hooks.rs", "a_hook_that_hangs_costs_its_deadline_and_nobody_waits_longer"),
    ("J7", "tests/tests/hooks.rs", "what_became_of_an_upload_is_told_once_and_in_order"),
    ("J7", "tests/tests/hooks.rs", "a_completion_is_told_though_the_server_was_killed"),
    ("J8", "tests/tests/hooks.rs", "nobody_gets_at_an_upload_by_a_final_of_it"),
    ("J9", "tests/tests/external_hooks.rs", "the_last_answer_is_the_hooks_and_its_event_waits_for_it"),
    ("J10", "tests/tests/external_hooks.rs", "progress_is_told_while_bytes_come_and_may_stop_the_upload"),
    (
        "J11",
        "tests/tests/external_hooks.rs",
        "requests_are_authorised_and_permissions_used_again_as_the_handler_says",
    ),
];
