//! JSON: every round's figures, the medians, and how they stand to the floor and the best peer.

use std::{fs, thread};

use serde_json::{Map, Value, json};

use super::{Row, Sheet};
use crate::{Trouble, args::RunArgs, figures::Figures};

/// All sheets, with the machine they were measured on.
///
/// # Errors
/// None that a figure could cause.
pub(crate) fn json(sheets: &[Sheet], args: &RunArgs) -> Result<String, Trouble> {
    let works: Map<String, Value> = sheets.iter().map(|sheet| (sheet.work.name(), work(sheet))).collect();
    let whole = json!({
        "machine": machine(),
        "rounds": args.rounds,
        "scale": args.scale,
        "seconds": args.seconds,
        "works": works,
    });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

fn work(sheet: &Sheet) -> Value {
    let servers: Map<String, Value> =
        sheet.rows.iter().map(|row| (row.name.clone(), server(sheet, row))).collect();
    json!({ "description": sheet.work.description(), "servers": servers })
}

fn server(sheet: &Sheet, row: &Row) -> Value {
    let (state, reason) = row.state.words();
    json!({
        "state": state,
        "reason": reason,
        "held_against": row.base,
        "rounds": row.runs.iter().map(figures).collect::<Vec<_>>(),
        "median": figures(&row.medians()),
        "to_floor": figures(&sheet.to_base(row)),
        "to_best_peer": figures(&sheet.to_best_peer(row)),
    })
}

fn figures(figures: &Figures) -> Value {
    figures.iter().map(|(measure, value)| (measure.key().to_owned(), json!(value))).collect()
}

fn machine() -> Value {
    let line = |path: &str, field: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(field));
        value.map(|value| value.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    json!({
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": line("/proc/sys/kernel/osrelease", ""),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn nothing_that_was_measured_is_left_out() {
        let Command::Run(args) = Cli::parse_from(["bench", "run", "--scale", "0.5"]).command else {
            panic!()
        };
        let text = json(&[super::super::tests::sheet()], &args).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["scale"], &value["rounds"]), (&json!(0.5), &json!(5)));
        let servers = &value["works"]["bulk"]["servers"];
        assert_eq!(servers["ours-eventual"]["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(servers["ours-eventual"]["median"]["mb_per_s"], json!(2000.0));
        assert_eq!(servers["ours-eventual"]["held_against"], json!("floor-splice"));
        assert_eq!(servers["ours-eventual"]["to_best_peer"]["mb_per_s"], json!(2.0));
        assert_eq!(servers["gone"]["state"], json!("absent"));
        assert_eq!(servers["gone"]["reason"], json!("no such package"));
    }
}
