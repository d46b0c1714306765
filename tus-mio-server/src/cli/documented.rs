//! The documents and the flags agree. The tables of docs/configuration.md are made here, from what clap knows of the flags,
//! so that a flag is described in one place; and no document names a flag that is not there.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory};

use super::{args::Cli, config};

const BEGIN: &str = "<!-- all flags: written by the test `documented`, not by hand -->\n";
const END: &str = "<!-- end of all flags -->\n";
const ADVICE: &str =
    "write the tables by: UPDATE_DOCS=1 cargo test -p tus-mio-server --bin tus-mio-server documented";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A page of docs/; `None` in a package of this crate alone, which has no pages.
pub(crate) fn document(name: &str) -> Option<String> {
    let docs = root().join("docs");
    docs.is_dir().then(|| fs::read_to_string(docs.join(name)).unwrap())
}

fn built() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

/// The tables: one for each heading of `--help`, in its order.
fn tables(program: &Command) -> String {
    let mut headings: Vec<&str> = Vec::new();
    let flags: Vec<_> = config::flags(program).collect();
    for (_, flag) in &flags {
        let heading = flag.get_help_heading().unwrap_or("Options");
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut text = String::new();
    for heading in headings {
        let _ = write!(text, "\n### {heading}\n\n| flag | sets | default |\n|---|---|---|\n");
        for (name, flag) in &flags {
            if flag.get_help_heading().unwrap_or("Options") == heading {
                text.push_str(&row(name, flag));
            }
        }
    }
    text.push('\n');
    text
}

fn row(name: &str, flag: &Arg) -> String {
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    // A default that no value expresses is written into the text, by the same form that clap uses.
    let (sets, by_hand) = match help.split_once(" [default: ") {
        Some((sets, default)) => (sets.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let values: Vec<_> =
        flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = by_hand.unwrap_or_else(|| format!("`{}`", values.join(",")));
    let takes = flag.get_action().takes_values();
    let value = flag.get_value_names().filter(|_| takes).unwrap_or_default();
    let value: String = value.iter().map(|name| format!(" {name}")).collect();
    let choices: Vec<_> = flag
        .get_possible_values()
        .iter()
        .filter(|_| takes)
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    let choices = if choices.is_empty() { String::new() } else { format!(". One of {}", choices.join(", ")) };
    format!("| `--{name}{value}` | {}{choices} | {} |\n", cell(&sets), cell(&default))
}

/// Text as it may stand in a cell: clap's texts are no Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*").replace('\n', " ")
}

#[test]
fn the_tables_of_all_flags_are_those_of_the_program() {
    let path = root().join("docs/configuration.md");
    let Some(page) = document("configuration.md") else { return };
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let tables = tables(&built());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
        return;
    }
    let known: BTreeSet<_> = written.lines().collect();
    let missing: Vec<_> = tables.lines().filter(|line| !known.contains(line)).collect();
    assert!(
        written == tables,
        "docs/configuration.md differs from the flags; missing: {missing:#?}; {ADVICE}"
    );
}

/// The documents for users: all of docs/, and those of the root without the history.
fn documents() -> Vec<PathBuf> {
    if document("README.md").is_none() {
        return Vec::new();
    }
    let in_dir = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let pages = in_dir(root()).chain(in_dir(root().join("docs")));
    pages
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .collect()
}

/// The flags of ours that a document names: in code within its prose, and on command lines of ours.
fn named(page: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    let mut in_block = false;
    let mut ours = false;
    for line in page.lines() {
        if line.starts_with("```") {
            (in_block, ours) = (!in_block, false);
            continue;
        }
        let spans: Vec<&str> = if in_block {
            let goes_on = ours;
            ours = (goes_on || line.starts_with("tus-mio-server")) && line.trim_end().ends_with('\\');
            let command = line.split(['#', '|']).next().unwrap_or_default();
            if goes_on || line.starts_with("tus-mio-server") { vec![command] } else { Vec::new() }
        } else {
            // The code in a line of prose that begins with a flag, or with the program.
            let code = line.split('`').skip(1).step_by(2);
            code.filter(|code| code.starts_with("--") || code.starts_with("tus-mio-server")).collect()
        };
        for word in spans.iter().flat_map(|span| span.split_whitespace()) {
            let flag = word.strip_prefix("--").unwrap_or_default();
            let flag: String = flag
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
                .collect();
            if !flag.is_empty() {
                flags.insert(flag);
            }
        }
    }
    flags
}

/// Flags of other programs that documents write as ours are written.
const OTHERS: [&str; 9] =
    ["features", "no-default-features", "server", "scale", "rounds", "json", "apply", "release", "test"];

#[test]
fn documents_name_flags_that_are_there() {
    let program = built();
    fn collect(command: &Command, flags: &mut BTreeSet<String>) {
        for flag in command.get_arguments() {
            flags.extend(flag.get_long().map(str::to_owned));
            flags.extend(flag.get_all_aliases().unwrap_or_default().iter().map(|&alias| alias.to_owned()));
        }
        command.get_subcommands().for_each(|command| collect(command, flags));
    }
    let mut flags: BTreeSet<_> = OTHERS.map(str::to_owned).into();
    collect(&program, &mut flags);
    for path in documents() {
        let page = fs::read_to_string(&path).unwrap();
        let unknown: Vec<_> = named(&page).into_iter().filter(|flag| !flags.contains(flag)).collect();
        assert!(unknown.is_empty(), "{} names flags that are not there: {unknown:?}", path.display());
    }
}

#[test]
fn flags_are_found_in_prose_and_on_command_lines() {
    let page = "`--a-b 1` and `cargo --c`\n```sh\ntus-mio-server --d=1 \\\n  --e2 # --no\ncurl --f\n```\n`tus-mio-server x --g`";
    assert_eq!(named(page).into_iter().collect::<Vec<_>>(), ["a-b", "d", "e2", "g"]);
}

/// The links of a document to files of the tree, with the page's heading that they name.
fn links(page: &str) -> Vec<(String, Option<String>)> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let inner = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    inner
        .map(|target| match target.split_once('#') {
            Some((file, heading)) => (file.to_owned(), Some(heading.to_owned())),
            None => (target.to_owned(), None),
        })
        .collect()
}

/// The anchors that a page's headings have.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()));
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in documents() {
        let page = fs::read_to_string(&path).unwrap();
        for (file, heading) in links(&page) {
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(&file) };
            assert!(target.exists(), "{} links to {file}, which is not there", path.display());
            let Some(heading) = heading else { continue };
            let anchors = anchors(&fs::read_to_string(&target).unwrap());
            assert!(anchors.contains(&heading), "{} links to {file}#{heading}: {anchors:?}", path.display());
        }
    }
}
