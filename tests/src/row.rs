//! A row of the wire contract: steps, each a request or a part of one, and what must be answered. [`run`]
//! runs a row over any [`Wire`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use tus_proto::{Config, ConfigBuilder};

use crate::{
    message::{Answer, Request},
    rules,
};

/// One case of the contract.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case of `docs/wire.md` that it shows.
    pub case: &'static str,
    /// What it says, uniquely.
    pub name: String,
    /// How the protocol's configuration differs from the default; `None` if it does not.
    pub config: Option<fn(ConfigBuilder) -> ConfigBuilder>,
    /// Whether a body must stall here: the server's patience with it is short then.
    pub stalls: bool,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A whole request, and its answer.
    Send(Request, Expect),
    /// A request of this name begins: its head and the body so far are sent, the rest is to come.
    Begin(&'static str, Request),
    /// The same, but that its peer closes its side there, before the server reads the head: the body stays incomplete.
    Break(&'static str, Request),
    /// More of its body.
    More(&'static str, &'static str),
    /// Its body ends.
    End(&'static str, End),
    /// It is answered.
    Answered(&'static str, Expect),
    /// HEAD tells this offset: at once where time is virtual; over a network, as soon as what was sent before
    /// has arrived.
    Tells(u64),
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Complete,
    /// The client closes the connection; the answer is of no interest.
    Close,
    /// The client closes its side and reads on.
    HalfClose,
    /// The connection is reset.
    Reset,
    /// A chunk that is none.
    BadFraming,
    /// Nothing comes any more.
    Stall,
}

/// What an answer must be, beside what every answer must be.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The status.
    pub status: u16,
    /// The code in the body, where there must be one.
    pub code: Option<&'static str>,
    /// Fields that must be there once, with this value; `{upload}` stands for where the row's last upload is.
    pub fields: Vec<(&'static str, String)>,
    /// Fields that must be there once, with whatever value.
    pub present: Vec<&'static str>,
    /// Fields that must not be there.
    pub absent: Vec<&'static str>,
    /// Whether the `Location` must be that of a new upload, which the row's `{upload}` is from now on, and
    /// what precedes the id in it: `{scheme}` stands for the wire's, `{origin}` for what it shows the request to be
    /// sent to.
    pub creates: Option<&'static str>,
    /// What that upload is called in the steps that follow, beside `{upload}`.
    pub named: Option<&'static str>,
    /// The body of a success; without one there must be none.
    pub body: Option<&'static str>,
}

/// Carries requests to a server and answers back. All methods panic where the server breaks HTTP itself.
pub trait Wire {
    /// Sends a whole request.
    fn send(&mut self, request: &Request) -> Answer;
    /// Sends what there is of a request.
    fn begin(&mut self, name: &'static str, request: &Request);
    /// The same, and closes the client's side with it: the server finds all of that at once.
    fn break_off(&mut self, name: &'static str, request: &Request);
    /// Sends more of its body.
    fn more(&mut self, name: &'static str, bytes: &[u8]);
    /// Ends its body.
    fn end(&mut self, name: &'static str, end: End);
    /// Its answer.
    fn answer(&mut self, name: &'static str) -> Answer;
    /// Whether what was sent may still be on its way.
    fn may_lag(&self) -> bool;
    /// The scheme of the server's URLs.
    fn scheme(&self) -> &'static str {
        "http"
    }
    /// Scheme and host that a request shows it is sent to, as URLs begin; empty where it does not.
    fn origin(&self, request: &Request) -> String {
        request.host().map_or(String::new(), |host| format!("{}://{host}", self.scheme()))
    }
}

/// A row without steps, which shows this case of `docs/wire.md`.
pub fn row(case: &'static str, name: impl Into<String>) -> Row {
    Row { case, name: name.into(), config: None, stalls: false, steps: Vec::new() }
}

impl Row {
    /// With a configuration of its own.
    pub fn config(mut self, config: fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        self.config = Some(config);
        self
    }

    /// The configuration it wants.
    pub fn protocol(&self) -> Config {
        let change = self.config.unwrap_or(|config| config);
        change(Config::builder()).build().unwrap()
    }

    /// With little patience for a body.
    pub fn stalls(mut self) -> Self {
        self.stalls = true;
        self
    }

    /// Then a whole request.
    pub fn send(mut self, request: Request, expect: Expect) -> Self {
        self.steps.push(Step::Send(request, expect));
        self
    }

    /// Then an upload of `length` bytes is created.
    pub fn upload(self, length: u64) -> Self {
        self.send(Request::post().with("Upload-Length", length), created().offset(0))
    }

    /// Then an upload whose length is deferred is created.
    pub fn deferred_upload(self) -> Self {
        self.send(Request::post().with("Upload-Defer-Length", 1), created().offset(0))
    }

    /// Then a request begins.
    pub fn begin(mut self, name: &'static str, request: Request) -> Self {
        self.steps.push(Step::Begin(name, request));
        self
    }

    /// Then a request comes whose peer has closed its side before the body was complete.
    pub fn break_off(mut self, name: &'static str, request: Request) -> Self {
        self.steps.push(Step::Break(name, request));
        self
    }

    /// Then more of its body comes.
    pub fn more(mut self, name: &'static str, bytes: &'static str) -> Self {
        self.steps.push(Step::More(name, bytes));
        self
    }

    /// Then its body ends.
    pub fn end(mut self, name: &'static str, end: End) -> Self {
        self.steps.push(Step::End(name, end));
        self
    }

    /// Then it is answered.
    pub fn answered(mut self, name: &'static str, expect: Expect) -> Self {
        self.steps.push(Step::Answered(name, expect));
        self
    }

    /// Then HEAD tells this offset.
    pub fn tells(mut self, offset: u64) -> Self {
        self.steps.push(Step::Tells(offset));
        self
    }
}

/// A success or a bodiless rejection of this status.
pub fn status(status: u16) -> Expect {
    Expect {
        status,
        code: None,
        fields: Vec::new(),
        present: Vec::new(),
        absent: Vec::new(),
        creates: None,
        named: None,
        body: None,
    }
}

/// An error of this status and code.
pub fn refused(status: u16, code: &'static str) -> Expect {
    Expect { code: Some(code), ..self::status(status) }
}

/// An error of this status and code, as the IETF's protocol has it.
pub fn problem(status: u16, code: &'static str) -> Expect {
    Expect { code: Some(code), ..self::status(status) }.without("Tus-Resumable")
}

/// A 201 whose `Location` is absolute, where the request shows of what.
pub fn created() -> Expect {
    status(201).creates("{origin}/files/")
}

/// A 201 whose `Location` is a path.
pub fn created_below() -> Expect {
    status(201).creates("/files/")
}

impl Expect {
    /// With a field of this value.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    /// The new upload is called this from now on: `{name}`.
    pub fn named(mut self, name: &'static str) -> Self {
        self.named = Some(name);
        self
    }

    /// With this body.
    pub fn body(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }

    /// With a field of whatever value.
    pub fn having(mut self, name: &'static str) -> Self {
        self.present.push(name);
        self
    }

    /// Without this field.
    pub fn without(mut self, name: &'static str) -> Self {
        self.absent.push(name);
        self
    }

    /// With this `Upload-Offset`.
    pub fn offset(self, offset: u64) -> Self {
        self.with("Upload-Offset", offset)
    }

    /// With the `Location` of a new upload: this, and an id.
    pub fn creates(mut self, prefix: &'static str) -> Self {
        self.creates = Some(prefix);
        self
    }
}

/// Runs a row over a wire that is made for it; a panic on the way is its failure.
pub fn attempt<W: Wire>(row: &Row, wire: impl FnOnce() -> W) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(row, &mut wire())));
    outcome.unwrap_or_else(|_| Err(format!("{} {}: it panicked", row.case, row.name)))
}

/// How often an offset is asked for that is still on its way. Each question takes the time of a round trip
/// at least, so this is a bound and not a measure.
const QUESTIONS: u32 = 100_000;

/// Runs a row. The error says what was not as it must be.
pub fn run(row: &Row, wire: &mut dyn Wire) -> Result<(), String> {
    let mut place = Place::default();
    let mut begun: Vec<(&str, Request)> = Vec::new();
    for (at, step) in row.steps.iter().enumerate() {
        let outcome = match step {
            Step::Send(request, expect) => {
                let request = place.fill(request);
                let answer = wire.send(&request);
                check(&request, expect, &answer, &mut place, wire)
            }
            Step::Begin(name, request) => {
                let request = place.fill(request);
                wire.begin(name, &request);
                begun.push((name, request));
                Ok(())
            }
            Step::Break(name, request) => {
                let request = place.fill(request);
                wire.break_off(name, &request);
                begun.push((name, request));
                Ok(())
            }
            Step::More(name, bytes) => {
                wire.more(name, bytes.as_bytes());
                Ok(())
            }
            Step::End(name, end) => {
                wire.end(name, *end);
                Ok(())
            }
            Step::Answered(name, expect) => {
                let answer = wire.answer(name);
                match begun.iter().find(|(begun, _)| begun == name) {
                    Some((_, request)) => check(request, expect, &answer, &mut place, wire),
                    None => Err(format!("{name} was never begun")),
                }
            }
            Step::Tells(offset) => tells(*offset, wire, &place),
        };
        outcome.map_err(|error| format!("{} {}: step {}: {error}", row.case, row.name, at + 1))?;
    }
    Ok(())
}

fn tells(offset: u64, wire: &mut dyn Wire, place: &Place) -> Result<(), String> {
    let request = place.fill(&Request::head());
    let mut told = None;
    for _ in 0..if wire.may_lag() { QUESTIONS } else { 1 } {
        let answer = wire.send(&request);
        rules::check(&request, &answer)?;
        told = answer.value("Upload-Offset").and_then(|offset| offset.parse().ok());
        if told.is_none() || told >= Some(offset) {
            break;
        }
        // Where no network is between, whoever is asked about may need the processor.
        std::thread::yield_now();
    }
    if told == Some(offset) { Ok(()) } else { Err(format!("HEAD tells {told:?}, not {offset}")) }
}

/// Where the row's uploads are.
#[derive(Default)]
struct Place {
    /// The last one.
    location: String,
    /// Those that have names.
    named: Vec<(&'static str, String)>,
}

impl Place {
    fn fill_text(&self, text: &str) -> String {
        let text = text.replace("{upload}", &self.location);
        self.named.iter().fold(text, |text, (name, location)| text.replace(&format!("{{{name}}}"), location))
    }

    fn fill(&self, request: &Request) -> Request {
        let mut request = request.clone();
        request.target = self.fill_text(&request.target);
        for (_, value) in &mut request.fields {
            *value = self.fill_text(value);
        }
        request
    }

    fn created(&mut self, prefix: &str, answer: &Answer) -> Result<(), String> {
        let location = answer.value("Location").ok_or("there must be one Location")?;
        let id =
            location.strip_prefix(prefix).ok_or(format!("Location must begin with {prefix}: {location}"))?;
        if id.len() != 26 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b)) {
            return Err(format!("Location must end with an id: {location}"));
        }
        self.location = format!("/files/{id}");
        Ok(())
    }
}

fn check(
    request: &Request,
    expect: &Expect,
    answer: &Answer,
    place: &mut Place,
    wire: &dyn Wire,
) -> Result<(), String> {
    if answer.status != expect.status {
        let body = String::from_utf8_lossy(&answer.body);
        return Err(format!("the status must be {}, and is {} {body}", expect.status, answer.status));
    }
    rules::check(request, answer)?;
    let code = rules::code(answer);
    if code != expect.code {
        return Err(format!("the code must be {:?}, and is {code:?}", expect.code));
    }
    if let Some(prefix) = expect.creates {
        let prefix = prefix.replace("{scheme}", wire.scheme()).replace("{origin}", &wire.origin(request));
        place.created(&prefix, answer)?;
        place.named.extend(expect.named.map(|name| (name, place.location.clone())));
    }
    for (name, value) in &expect.fields {
        let value = place.fill_text(value);
        if answer.values(name) != [&*value] {
            return Err(format!("{name} must be {value:?} once, and is {:?}", answer.values(name)));
        }
    }
    if let Some(name) = expect.present.iter().find(|name| answer.values(name).len() != 1) {
        return Err(format!("{name} must be there once"));
    }
    if answer.status < 400 && answer.body != expect.body.unwrap_or_default().as_bytes() {
        return Err(format!("the body must be {:?}, and is {:?}", expect.body, answer.body));
    }
    match expect.absent.iter().find(|name| !answer.values(name).is_empty()) {
        Some(name) => Err(format!("there must be no {name}")),
        None => Ok(()),
    }
}
