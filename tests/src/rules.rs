//! The rules that hold for every response, whatever it answers.

use crate::message::{Answer, Request};

/// Holds an answer to `request` against them. The error says which it breaks.
pub fn check(request: &Request, answer: &Answer) -> Result<(), String> {
    let exactly = |name: &str, value: &str| match answer.values(name)[..] {
        [told] if told == value => Ok(()),
        ref told => Err(format!("{name} must be {value:?} once, and is {told:?}")),
    };
    if !is_ietf(request, answer) {
        exactly("Tus-Resumable", "1.0.0")?;
    }
    exactly("X-Content-Type-Options", "nosniff")?;
    // What was asked for may be kept by whoever asked; everything else is true only now.
    if !is_download(request, answer) {
        exactly("Cache-Control", "no-store")?;
    }
    date(answer)?;
    let status = answer.status;
    if status >= 400 && status != 409 && !answer.values("Upload-Offset").is_empty() {
        return Err(format!("a {status} must not tell Upload-Offset"));
    }
    if status == 409 {
        let offset = answer.value("Upload-Offset").map(|offset| offset.parse::<u64>());
        if !matches!(offset, Some(Ok(_))) {
            return Err("a 409 must tell the committed Upload-Offset".into());
        }
    }
    if status == 405 && answer.value("Allow").is_none() {
        return Err("a 405 must tell what is allowed".into());
    }
    // An append of some versions of the IETF's protocol is answered 201 as well, and has created nothing.
    let appends = is_ietf(request, answer) && request.method == "PATCH" && request.target != "/files";
    if status == 201 && !appends && answer.value("Location").is_none() {
        return Err("a 201 must tell the Location".into());
    }
    if is_ietf(request, answer) && !is_incomplete_where_it_must(request, answer) {
        return Err("an error that answers content must say that it is not the resource's own".into());
    }
    body(request, answer)
}

/// Whether an error which the IETF's protocol answers to content says that the upload is not complete by it.
fn is_incomplete_where_it_must(request: &Request, answer: &Answer) -> bool {
    let says = |name, value| answer.value(name) == Some(value);
    let brings = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
    let is_error = answer.status >= 400 && answer.status != 405;
    !(brings && is_error) || says("Upload-Complete", "?0") || says("Upload-Incomplete", "?1")
}

/// Whether the answer is one of the IETF's protocol. A request that says nothing of tus may get one: its upload decides.
fn is_ietf(request: &Request, answer: &Answer) -> bool {
    let tus = request.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("Tus-Resumable"));
    let always = request.method == "OPTIONS" || answer.status == 412;
    !tus && !always && answer.value("Tus-Resumable").is_none()
}

/// The code in the body of an error.
pub fn code(answer: &Answer) -> Option<&str> {
    let body = str::from_utf8(&answer.body).ok()?;
    if answer.value("Content-Type") == Some("application/problem+json") {
        return body.split_once("\"code\":\"")?.1.split('"').next();
    }
    body.split_once(": ").map(|(code, _)| code)
}

fn is_download(request: &Request, answer: &Answer) -> bool {
    let reads = ["GET", "HEAD"].contains(&request.effective_method().as_str());
    reads && answer.status < 400 && answer.value("ETag").is_some()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(answer: &Answer) -> Result<(), String> {
    // Letters stand for letters of their case, digits for digits, the rest for itself.
    let pattern = "Sun, 06 Nov 1994 08:49:37 GMT";
    let kind = |c: char| (c.is_ascii_digit(), c.is_ascii_uppercase(), c.is_ascii_lowercase());
    let same = |(c, form): (char, char)| match form.is_ascii_alphanumeric() {
        true => kind(c) == kind(form),
        false => c == form,
    };
    let fits = |text: &str| {
        text.len() == pattern.len() && text.ends_with(" GMT") && text.chars().zip(pattern.chars()).all(same)
    };
    match answer.value("Date") {
        Some(date) if fits(date) => Ok(()),
        other => Err(format!("Date must be an IMF-fixdate, and is {other:?}")),
    }
}

/// An error says `CODE: text` and a line's end; a success and an answer to HEAD have no body.
fn body(request: &Request, answer: &Answer) -> Result<(), String> {
    if is_download(request, answer) && !request.is_head() {
        return Ok(());
    }
    if answer.status < 400 || request.is_head() {
        return if answer.body.is_empty() { Ok(()) } else { Err("there must be no body".into()) };
    }
    // What a hook rejects is told as text in either protocol.
    if is_ietf(request, answer) && answer.value("Content-Type") != Some("text/plain; charset=utf-8") {
        return problem(answer);
    }
    if answer.value("Content-Type") != Some("text/plain; charset=utf-8") {
        return Err("an error must be text/plain; charset=utf-8".into());
    }
    let text = str::from_utf8(&answer.body).map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').ok_or("an error must end its line")?;
    let (code, sentence) = line.split_once(": ").ok_or("an error must be `CODE: text`")?;
    let named = code.starts_with("ERR_") && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if !named || sentence.is_empty() || line.contains('\n') {
        return Err(format!("an error must be `CODE: text`, and is {text:?}"));
    }
    Ok(())
}

/// An error of the IETF's protocol is an object with its status and code (RFC 9457).
fn problem(answer: &Answer) -> Result<(), String> {
    if answer.value("Content-Type") != Some("application/problem+json") {
        return Err("an error must be application/problem+json".into());
    }
    let text = str::from_utf8(&answer.body).map_err(|error| error.to_string())?;
    let object = text.starts_with('{') && text.ends_with("}\n");
    let status = text.contains(&format!("\"status\":{},", answer.status));
    let named = code(answer).is_some_and(|code| code.starts_with("ERR_"));
    if object && status && named {
        Ok(())
    } else {
        Err(format!("an error must be a problem, and is {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Answer {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Answer {
            status: 404,
            fields: vec![
                field("Tus-Resumable", "1.0.0"),
                field("Cache-Control", "no-store"),
                field("X-Content-Type-Options", "nosniff"),
                field("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                field("Content-Type", "text/plain; charset=utf-8"),
            ],
            body: b"ERR_NOT_FOUND: no such thing\n".to_vec(),
        }
    }

    #[test]
    fn a_well_formed_refusal_passes_and_each_fault_is_found() {
        let request = Request::head().with("X-HTTP-Method-Override", "PATCH");
        let request = Request { method: "POST".into(), ..request };
        assert_eq!(check(&request, &refusal()), Ok(()));
        for at in 0..refusal().fields.len() {
            let mut answer = refusal();
            answer.fields.remove(at);
            assert!(check(&request, &answer).is_err(), "field {at} is missing");
            let mut answer = refusal();
            answer.fields.push(answer.fields[at].clone());
            assert!(check(&request, &answer).is_err(), "field {at} is twice there");
        }
        let mut answer = refusal();
        answer.fields.push(("Upload-Offset".into(), "3".into()));
        assert!(check(&request, &answer).is_err());
        for status in [201, 204, 405, 409] {
            assert!(check(&request, &Answer { status, ..refusal() }).is_err(), "{status}");
        }
        for body in ["", "ERR_X: y", "ERR_X: \n", "x: y\n", "ERR_X y\n", "ERR_X: y\nz\n"] {
            assert!(check(&request, &Answer { body: body.into(), ..refusal() }).is_err(), "{body:?}");
        }
        let body = refusal().body;
        assert!(check(&Request::head(), &Answer { body, ..refusal() }).is_err());
        let mut answer = refusal();
        answer.fields[3].1 = "Sunday, 06-Nov-94 08:49:37 GMT".into();
        assert!(check(&request, &answer).is_err());
    }
}
