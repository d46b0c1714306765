//! The text of a scrape: names, labels, values.

use std::time::Duration;

use tus_driver::metrics::{METHODS, REASONS};
use tus_proto::{ErrorCode, Event, Failure};

use super::*;

/// The lines that are neither comments nor 0.
fn counted(metrics: &Metrics) -> Vec<String> {
    let text = metrics.text(0, 0);
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let samples = samples.filter(|line| !line.starts_with("process_") && !line.starts_with("tus_build_info"));
    samples.filter(|line| !line.ends_with(" 0.0")).map(str::to_owned).collect()
}

#[test]
fn nothing_is_counted_at_first_and_every_name_is_there() {
    let metrics = Metrics::new();
    assert_eq!(counted(&metrics), [""; 0]);
    let text = metrics.text(0, 0);
    for method in METHODS {
        assert!(text.contains(&format!("\ntusd_requests_total{{method=\"{method}\"}} 0\n")), "{text}");
    }
    for reason in REASONS {
        assert!(text.contains(&format!("\ntus_deadlines_total{{reason=\"{reason}\"}} 0\n")), "{text}");
    }
    for name in [
        "tusd_uploads_created",
        "tusd_uploads_finished",
        "tusd_uploads_terminated",
        "tusd_bytes_received",
        "tus_uploads_expired_total",
        "tus_connections_accepted_total",
        "tus_connections{state=\"busy\"}",
        "tus_commit_duration_seconds_count",
        "tus_commit_group_size_count",
        "tus_lock_waits_total",
        "tus_lock_timeouts_total",
        "tus_lock_yields_total",
        "tus_store_errors_total{cause=\"io\"}",
        "tus_stale_inputs_total",
        "tus_hook_calls_total{hook=\"on_incoming_request\"}",
        "tus_hook_failures_total{hook=\"on_upload_complete\"}",
        "tus_hook_timeouts_total{hook=\"on_upload_create\"}",
        "tus_outbox_entries",
        "tus_log_lines_dropped_total",
        "tus_uploads_refused_total{limit=\"metadata\"}",
        "tus_finished_uploads_expired_total",
        "tus_uploads_published_total",
        "tus_publish_failures_total",
        "tus_publications_outstanding",
    ] {
        assert!(text.contains(&format!("\n{name} 0\n")), "{name}: {text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

#[test]
fn a_request_counts_by_a_method_of_the_list_and_an_error_by_its_status() {
    let metrics = Metrics::new();
    for method in [Some("PATCH"), Some("PATCH"), Some("patch"), Some("BREW\"} 9"), None] {
        metrics.request(method);
    }
    for status in [100, 204, 399, 599, 600, u16::MAX] {
        metrics.answered(status, None);
    }
    metrics.answered(400, Some(ErrorCode::UnexpectedEof));
    metrics.answered(403, Some(ErrorCode::UploadRejected));
    metrics.answered(460, Some(ErrorCode::ChecksumMismatch));
    metrics.answered(460, Some(ErrorCode::ChecksumMismatch));
    let mut counted = counted(&metrics);
    counted.sort();
    let expected = [
        "tusd_errors_total{code=\"\",status=\"599\"} 1",
        "tusd_errors_total{code=\"ERR_CHECKSUM_MISMATCH\",status=\"460\"} 2",
        "tusd_errors_total{code=\"ERR_UNEXPECTED_EOF\",status=\"400\"} 1",
        "tusd_errors_total{code=\"ERR_UPLOAD_REJECTED\",status=\"403\"} 1",
        "tusd_requests_total{method=\"PATCH\"} 2",
        "tusd_requests_total{method=\"other\"} 3",
    ];
    assert_eq!(counted, expected);
}

#[test]
fn each_event_has_its_counter() {
    for (event, expected) in [
        (Event::Created, "tusd_uploads_created 1"),
        (Event::Finished, "tusd_uploads_finished 1"),
        (Event::Terminated, "tusd_uploads_terminated 1"),
        (Event::Received(1 << 40), "tusd_bytes_received 1099511627776"),
        (Event::Yielded, "tus_lock_yields_total 1"),
        (Event::Stale, "tus_stale_inputs_total 1"),
    ] {
        let metrics = Metrics::new();
        metrics.event(event);
        assert_eq!(counted(&metrics), [expected]);
    }
}

#[test]
fn a_deadline_counts_by_its_reason_and_a_failure_by_its_cause() {
    let metrics = Metrics::new();
    metrics.expired(Expired::Http(http1::Reason::Linger));
    metrics.expired(Expired::Exchange(tus_proto::Reason::CheckpointWait));
    metrics.store_failed(Failure::Io);
    let mut counted = counted(&metrics);
    counted.sort();
    let expected = [
        "tus_deadlines_total{reason=\"checkpoint_wait\"} 1",
        "tus_deadlines_total{reason=\"linger\"} 1",
        "tus_store_errors_total{cause=\"io\"} 1",
    ];
    assert_eq!(counted, expected);
}

#[test]
fn connections_that_are_not_busy_are_idle() {
    let metrics = Metrics::new();
    metrics.busy.inc_by(2);
    let text = metrics.text(5, 3);
    assert!(text.contains("tus_connections{state=\"busy\"} 2\n"), "{text}");
    assert!(text.contains("tus_connections{state=\"idle\"} 3\n"), "{text}");
    assert!(text.contains("tus_outbox_entries 3\n"), "{text}");
    // One may end between the two looks.
    assert!(metrics.text(1, 0).contains("tus_connections{state=\"idle\"} 0\n"));
}

#[test]
fn lines_of_the_log_that_were_dropped_show() {
    let metrics = Metrics::new().counting_log_drops(Some(|| 7));
    for _ in 0..2 {
        assert!(metrics.text(0, 0).contains("tus_log_lines_dropped_total 7\n"));
    }
}

#[test]
fn a_group_is_one_observation_of_its_time_and_its_size() {
    let metrics = Metrics::new();
    metrics.committed(3, Duration::from_millis(3));
    let text = metrics.text(0, 0);
    for line in [
        "tus_commit_duration_seconds_sum 0.003",
        "tus_commit_duration_seconds_bucket{le=\"0.002\"} 0",
        "tus_commit_duration_seconds_bucket{le=\"0.004\"} 1",
        "tus_commit_group_size_sum 3.0",
        "tus_commit_group_size_bucket{le=\"2.0\"} 0",
        "tus_commit_group_size_bucket{le=\"4.0\"} 1",
        "tus_commit_group_size_count 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
}

#[test]
fn requests_durations_are_a_histogram_beside_what_the_process_is() {
    let metrics = Metrics::new();
    metrics.answered_in(Protocol::Tus);
    metrics.took(Duration::from_millis(3));
    metrics.answered_in(Protocol::Ietf);
    metrics.took(Duration::from_secs(7200));
    let text = metrics.text(0, 0);
    for line in [
        "tus_request_duration_seconds_count 2",
        "tus_requests_answered_total{protocol=\"tus\"} 1",
        "tus_requests_answered_total{protocol=\"ietf\"} 1",
        "tus_request_duration_seconds_bucket{le=\"0.0025\"} 0",
        "tus_request_duration_seconds_bucket{le=\"0.005\"} 1",
        "tus_request_duration_seconds_bucket{le=\"+Inf\"} 2",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    assert!(
        text.contains("tus_build_info{version=\"") && text.contains("# TYPE tusd_bytes_received unknown\n")
    );
    #[cfg(target_os = "linux")]
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(text.contains(&format!("\n{name} ")), "{name}: {text}");
    }
}
