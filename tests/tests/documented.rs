//! `docs/wire.md` and the tests say the same: a case without a test fails, and so does a test of no case.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, path::Path};

use tests::table::{self, ELSEWHERE};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the cases: what stands first in the tables' lines, letters and a number.
fn documented() -> Vec<String> {
    let page = read("../docs/wire.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let is_case = |name: &str| {
        let digits = name.trim_start_matches(|c: char| c.is_ascii_uppercase());
        digits.len() + 1 == name.len() && digits.parse::<u32>().is_ok()
    };
    cells.map(|(name, _)| name.to_owned()).filter(|name| is_case(name)).collect()
}

fn tested() -> BTreeSet<String> {
    let rows = table::SECTIONS.iter().flat_map(|(_, rows)| rows()).map(|row| row.case);
    let framing = table::framing::cases().into_iter().map(|case| case.case);
    let elsewhere = ELSEWHERE.iter().map(|(case, ..)| *case);
    rows.chain(framing).chain(elsewhere).map(str::to_owned).collect()
}

#[test]
fn every_case_has_a_test_and_every_test_a_case() {
    let documented = documented();
    let cases: BTreeSet<_> = documented.iter().cloned().collect();
    assert_eq!(cases.len(), documented.len(), "a case is there twice");
    let tested = tested();
    let (untested, undocumented): (Vec<_>, Vec<_>) =
        (cases.difference(&tested).collect(), tested.difference(&cases).collect());
    assert!(untested.is_empty() && undocumented.is_empty(), "untested {untested:?}, unsaid {undocumented:?}");
}

#[test]
fn the_tests_that_cases_name_are_there() {
    for (case, file, test) in ELSEWHERE {
        let source = read(&format!("../{file}"));
        let marked = format!("#[test]\nfn {test}() {{");
        assert!(source.contains(&marked), "{case} names {test}, which is not in {file}");
    }
}

/// Each line of the list: a rule of the specification, its level, and the cases that show it, or why there is
/// none.
#[test]
fn every_rule_of_the_specification_has_its_test_or_a_reason() {
    let rules = rules_of("../docs/conformance.md");
    assert!(rules > 90, "{rules} rules");
}

#[test]
fn every_rule_of_the_ietfs_protocol_has_its_test_or_a_reason() {
    let rules = rules_of("../docs/rufh.md");
    assert!(rules > 40, "{rules} rules");
}

/// How many rules a page lists, each with its cases.
fn rules_of(page: &str) -> usize {
    let page = read(page);
    let cases: BTreeSet<_> = documented().into_iter().collect();
    let mut rules = 0;
    let mut listed = false;
    for line in page.lines() {
        // A page may have other tables beside those of rules.
        listed = line.starts_with("| rule |") || (listed && line.starts_with('|'));
        if !listed || line.starts_with("| rule |") || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, level, shown] = cells[..] else { panic!("not three cells: {line}") };
        assert!(["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"].contains(&level), "{line}");
        let excused = shown.starts_with("not ours: ") || shown.starts_with("every answer");
        let names = || shown.split(", ");
        assert!(excused || names().all(|name| cases.contains(name)), "{line}");
        rules += 1;
    }
    rules
}

/// The example for axum in the README and in docs/embedding.md is the one in `tus-tower`'s README, which is compiled there.
#[test]
fn the_example_for_axum_is_the_one_that_is_compiled() {
    let code = |page: &str, fence: &str| {
        let (_, rest) = page.split_once(fence)?;
        Some(rest.split_once("\n```")?.0.to_owned())
    };
    let compiled = code(&read("../tus-tower/README.md"), "```rust,no_run\n").unwrap();
    for page in ["../README.md", "../docs/embedding.md"] {
        assert_eq!(code(&read(page), "```rust,ignore\n").unwrap(), compiled, "{page}");
    }
}

/// The README is to be read in one go; what needs more words has a page in docs/.
#[test]
fn the_readme_is_short() {
    let words = read("../README.md").split_whitespace().count();
    assert!(words <= 1500, "{words} words");
}
