//! The wire contract over TLS: what is encrypted says the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{Row, client::Tcp, row, section_tests, server::Running, table, tls::Identity};

fn start(row: Option<&Row>, identity: &Identity) -> Running {
    Running::start(|settings| {
        settings.tls = Some(identity.files());
        if let Some(row) = row {
            settings.protocol = row.protocol();
            if row.stalls {
                settings.http.body_timeout = Duration::from_millis(300);
            }
        }
    })
}

#[track_caller]
fn section(name: &str) {
    let identity = Identity::new();
    let shared = start(None, &identity);
    table::run_section(name, |row| {
        // A server for this row alone, where it needs one.
        let own = (row.config.is_some() || row.stalls).then(|| start(Some(row), &identity));
        let address = own.as_ref().unwrap_or(&shared).address();
        row::attempt(row, || Tcp::secured(address, identity.client()))
    });
}

section_tests!(section);
