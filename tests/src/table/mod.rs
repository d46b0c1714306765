//! The wire contract, section by section. Every row runs over every [`Wire`](crate::Wire).

mod checksum;
mod concatenation;
mod cors;
mod creation;
mod cut;
mod deletion;
mod download;
mod elsewhere;
mod expiration;
mod head;
mod options;
mod order;
mod patch;
mod requests;
mod rufh;
mod rufh_mixed;
mod writers;

pub mod framing;

pub use elsewhere::ELSEWHERE;

use crate::row::Row;

/// A section and its rows.
pub type Section = (&'static str, fn() -> Vec<Row>);

/// All sections.
pub const SECTIONS: [Section; 15] = [
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
    ("concatenation", concatenation::rows),
    ("expiration", expiration::rows),
    ("download", download::rows),
    ("cors", cors::rows),
    ("rufh", rufh::rows),
];

/// What is no length and no offset.
const NO_NUMBERS: [&str; 8] =
    ["", "-1", "+1", "x", "1.0", "0x1", "9223372036854775808", "99999999999999999999"];

/// Runs all rows of a section, and tells of each that failed.
#[track_caller]
pub fn run_section(name: &str, run: impl Fn(&Row) -> Result<(), String>) {
    let (_, rows) = SECTIONS.iter().find(|(section, _)| *section == name).unwrap();
    let failed: Vec<_> = rows().iter().filter_map(|row| run(row).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// One test for each section, which `$section` runs by its name, and one that none is left out.
#[macro_export]
macro_rules! section_tests {
    ($section:path) => {
        $crate::section_tests! {
            $section: requests order options creation head patch writers cut deletion checksum
                concatenation expiration download cors rufh
        }
    };
    ($section:path: $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $section(stringify!($name));
            }
        )*

        #[test]
        fn no_section_is_left_out() {
            let sections = $crate::table::SECTIONS.map(|(name, _)| name);
            assert_eq!(sections, [$(stringify!($name)),*]);
        }
    };
}
