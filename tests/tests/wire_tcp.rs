//! The wire contract over TCP: every row against a running server, and what only bytes on a connection can say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{
    Request, Row,
    client::{Client, Tcp},
    row, rules, section_tests,
    server::Running,
    table::{self, framing::Raw},
};

/// A server for this row alone, where it needs one.
fn own_server(row: &Row) -> Option<Running> {
    if row.config.is_none() && !row.stalls {
        return None;
    }
    Some(Running::start(|settings| {
        settings.protocol = row.protocol();
        if row.stalls {
            settings.http.body_timeout = Duration::from_millis(300);
        }
    }))
}

fn run(row: &Row, shared: &Running) -> Result<(), String> {
    let own = own_server(row);
    let address = own.as_ref().unwrap_or(shared).address();
    row::attempt(row, || Tcp::new(address))
}

#[track_caller]
fn section(name: &str) {
    let shared = Running::start(|_| {});
    table::run_section(name, |row| run(row, &shared));
}

section_tests!(section);

fn case(raw: &Raw, server: &Running) -> Result<(), String> {
    let mut client = Client::connect(server.address());
    client.write(raw.sent.as_bytes());
    for (at, status) in raw.statuses.iter().enumerate() {
        let answer = client.answer(false)?;
        if answer.status != *status {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("answer {} must be {status}, and is {} {body}", at + 1, answer.status));
        }
        // Answers to what can't be understood are errors like all others.
        rules::check(&Request::bare("OPTIONS", "*"), &answer)?;
        let code = str::from_utf8(&answer.body).unwrap().split_once(": ").map(|(code, _)| code);
        if at + 1 == raw.statuses.len() && code != raw.code {
            return Err(format!("the code must be {:?}, and is {code:?}", raw.code));
        }
        let closes = raw.closes && at + 1 == raw.statuses.len();
        let says = answer.value("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes != says {
            return Err(format!("Connection is {:?}", answer.value("Connection")));
        }
    }
    if raw.closes {
        client.expect_close()
    } else if client.is_kept() {
        Ok(())
    } else {
        Err("the connection must be kept".into())
    }
}

#[test]
fn framing() {
    let server = Running::start(|_| {});
    let cases = table::framing::cases();
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|raw| case(raw, &server).err().map(|error| format!("{}: {error}", raw.name)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
