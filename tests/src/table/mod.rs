//! The wire contract, section by section. Every row runs over every [`Wire`](crate::Wire).

mod checksum;
mod creation;
mod cut;
mod deletion;
mod head;
mod options;
mod order;
mod patch;
mod requests;
mod writers;

pub mod framing;

use crate::row::Row;

/// A section and its rows.
pub type Section = (&'static str, fn() -> Vec<Row>);

/// All sections.
pub const SECTIONS: [Section; 10] = [
    ("requests", requests::rows),
    ("order", order::rows),
    ("options", options::rows),
    ("creation", creation::rows),
    ("head", head::rows),
    ("patch", patch::rows),
    ("writers", writers::rows),
    ("cut", cut::rows),
    ("deletion", deletion::rows),
    ("checksum", checksum::rows),
];

/// What is no length and no offset.
const NO_NUMBERS: [&str; 8] =
    ["", "-1", "+1", "x", "1.0", "0x1", "9223372036854775808", "99999999999999999999"];
