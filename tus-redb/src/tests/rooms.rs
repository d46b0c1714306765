//! The rooms of this crate (its directories) are layers: a file imports only from rooms below its own. An import upwards means
//! that something is in the wrong room.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up, as ARCHITECTURE.md lists them.
const ROOMS: [&str; 9] =
    ["disk", "files", "records", "tables", "log", "store", "maintenance", "admin", "port"];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The first names after each `crate::` of a source.
fn imported(text: &str) -> Vec<String> {
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    let name_of = |text: &str| text.chars().take_while(|char| is_name(*char)).collect::<String>();
    let mut names = Vec::new();
    for tree in code.split("crate::").skip(1) {
        let Some(list) = tree.strip_prefix('{') else {
            names.push(name_of(tree));
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for char in list.chars() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => names.push(name_of(std::mem::take(&mut item).trim_start())),
                _ if depth == 0 => item.push(char),
                _ => {}
            }
        }
        names.push(name_of(item.trim_start()));
    }
    names
}

#[test]
fn no_room_imports_from_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut arrows, mut upwards) = (0, Vec::new());
    for (floor, room) in ROOMS.iter().enumerate() {
        let mut files = Vec::new();
        sources(&root.join(room), &mut files);
        for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap();
            for name in imported(shipped) {
                arrows += usize::from(ROOMS.contains(&name.as_str()));
                // A re-export of the crate's root, as `crate::Store`, may come from any room.
                let of_all = name.starts_with(char::is_uppercase);
                if of_all || ROOMS.iter().skip(floor + 1).any(|above| *above == name) {
                    upwards.push(format!("{} imports {name}", file.display()));
                }
            }
        }
    }
    assert!(arrows > 100, "{arrows} imports were found");
    assert!(upwards.is_empty(), "{upwards:#?}");
}
