//! Which uploads a list is to have, as the query of a URL: `state=finished&larger-than=1000&sort=size`.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use tus_proto::{Now, WallTime};
use tus_redb::{ListQuery, Sort, UploadState};

use super::AdminError;

/// The most uploads of one page, and as many as it has where nothing else is asked for.
pub const MOST: usize = 1_000;

const STATES: [(&str, UploadState); 3] = [
    ("unfinished", UploadState::Unfinished),
    ("finished", UploadState::Finished),
    ("expired", UploadState::Expired),
];

const SORTS: [(&str, Sort); 4] =
    [("id", Sort::Id), ("created", Sort::Created), ("size", Sort::Size), ("expires", Sort::Expires)];

/// Which uploads are wanted, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadQuery {
    /// In this state alone.
    pub state: Option<UploadState>,
    /// Created so long ago, or earlier.
    pub older_than: Option<Duration>,
    /// With more bytes than this.
    pub larger_than: Option<u64>,
    /// The order.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// The place at which the page before has ended.
    pub after: Option<String>,
    /// How many at the most; `None` for [`MOST`], which is also the most there are in one page.
    pub limit: Option<usize>,
}

impl UploadQuery {
    /// Reads the query of a URL.
    pub(super) fn parse(text: &str) -> Result<Self, AdminError> {
        let mut query = Self::default();
        for (name, value) in pairs(text) {
            let bad = |hint: &str| AdminError::Malformed(format!("{name}={value}: {hint}"));
            match &*name {
                "state" => query.state = Some(word(&value, &STATES).map_err(|hint| bad(&hint))?),
                "older-than" => {
                    let seconds = value.parse().map_err(|_| bad("write a number of seconds"))?;
                    query.older_than = Some(Duration::from_secs(seconds));
                }
                "larger-than" => {
                    query.larger_than = Some(value.parse().map_err(|_| bad("write a number of bytes"))?);
                }
                "sort" => query.sort = word(&value, &SORTS).map_err(|hint| bad(&hint))?,
                "order" => {
                    query.descending = word(&value, &[("ascending", false), ("descending", true)])
                        .map_err(|hint| bad(&hint))?;
                }
                "after" => query.after = Some(value.into_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    query.limit = Some(limit.ok_or_else(|| bad("write a number from 1 to 1000"))?);
                }
                _ => {
                    return Err(AdminError::Malformed(format!(
                        "{name} is unknown: there are state, older-than, larger-than, sort, order, after and limit"
                    )));
                }
            }
        }
        Ok(query)
    }

    /// The same as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string can't fail. No value has a letter that would have to be escaped.
            let _ = write!(text, "{}{name}={value}", if text.is_empty() { "?" } else { "&" });
        };
        if let Some((name, _)) = STATES.iter().find(|(_, state)| Some(*state) == self.state) {
            add("state", name);
        }
        if let Some(age) = self.older_than {
            add("older-than", &age.as_secs());
        }
        if let Some(bytes) = self.larger_than {
            add("larger-than", &bytes);
        }
        if let Some((name, _)) = SORTS.iter().find(|(_, sort)| *sort == self.sort && *sort != Sort::Id) {
            add("sort", name);
        }
        if self.descending {
            add("order", &"descending");
        }
        if let Some(after) = &self.after {
            add("after", after);
        }
        if let Some(limit) = self.limit {
            add("limit", &limit);
        }
        text
    }

    /// What the store is asked.
    pub(super) fn for_store(&self, now: Now) -> Result<ListQuery, AdminError> {
        let after = self.after.as_deref().map(str::parse).transpose();
        let after = after.map_err(|error| AdminError::Malformed(format!("after: {error}")))?;
        let before = |age: Duration| {
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            WallTime::from_micros(now.date.as_micros().saturating_sub(age).saturating_add(1))
        };
        let limit = self.limit.unwrap_or(MOST).clamp(1, MOST);
        let mut query = ListQuery::new(now.wall, limit);
        query.state = self.state;
        query.created_before = self.older_than.map(before);
        query.larger_than = self.larger_than;
        query.sort = self.sort;
        query.descending = self.descending;
        query.after = after;
        Ok(query)
    }
}

fn word<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        format!("write one of {}", known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
    })
}

/// Names and values, percent-decoded.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        let escaped =
            (*byte == b'%').then(|| more.get(..2)).flatten().and_then(|digits| str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = more.get(2..).unwrap_or_default();
            }
            None => bytes.push(if *byte == b'+' { b' ' } else { *byte }),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_query_is_read_as_it_is_written() {
        let all = UploadQuery {
            state: Some(UploadState::Expired),
            older_than: Some(Duration::from_secs(3_600)),
            larger_than: Some(7),
            sort: Sort::Size,
            descending: true,
            after: Some("12.abc".into()),
            limit: Some(9),
        };
        for query in [UploadQuery::default(), all] {
            let text = query.text();
            assert_eq!(UploadQuery::parse(text.trim_start_matches('?')).unwrap(), query, "{text}");
        }
        assert_eq!(UploadQuery::parse("st%61te=finish%65d&").unwrap().state, Some(UploadState::Finished));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, hint) in [
            ("state=done", "unfinished, finished, expired"),
            ("older-than=24h", "seconds"),
            ("larger-than=-1", "bytes"),
            ("sort=name", "id, created, size, expires"),
            ("order=up", "ascending"),
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("page=2", "page is unknown"),
            ("%zz", "unknown"),
        ] {
            let error = UploadQuery::parse(text).unwrap_err();
            assert!(error.to_string().contains(hint) && error.status() == 400, "{text}: {error}");
        }
        let query = UploadQuery { after: Some("x".into()), ..UploadQuery::default() };
        assert_eq!(query.for_store(Now::default()).unwrap_err().status(), 400);
    }
}
