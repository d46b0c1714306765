//! A whole run: each work, round after round, and in each round every server in turn. What a server is next to
//! changes from round to round, and what slows the machine for a while slows all of them.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;

use crate::{
    Trouble,
    args::RunArgs,
    contender::{Contender, Places, Role},
    growth,
    report::{self, Row, Sheet, State},
    work::{Outcome, Scale, Work},
};

/// What is written and deleted before the first round, so that the memory of the page cache has been touched. More
/// than any work writes: the first touch of a guest's memory can cost ten times the work that is measured.
const WARM_UP: u64 = 3 << 30;

/// Measures what was asked for, and reports it.
///
/// # Errors
/// The arguments make no sense, or there is no room to work in. A server that fails is part of the report.
pub(crate) fn run(args: &RunArgs) -> Result<(), Trouble> {
    let places = Places::of(args.program.as_deref(), args.peers.as_deref())?;
    let contenders = if args.servers.is_empty() {
        Contender::all(&places)
    } else {
        args.servers.iter().map(|text| Contender::parse(text, &places)).collect::<Result<_, _>>()?
    };
    let works = if args.works.is_empty() { Work::value_variants() } else { &args.works[..] };
    let scale = Scale { factor: args.scale, time: Duration::from_secs_f64(args.seconds).mul_f64(args.scale) };
    let data_dir = data_dir(args.data_dir.as_deref())?;
    allow_many_files();
    warm_up(&data_dir, scale.count(WARM_UP))?;
    let mut sheets = Vec::new();
    for work in works {
        let sheet = measure(*work, &contenders, &data_dir, args.rounds, scale);
        report::print(&report::table(&sheet))?;
        sheets.push(sheet);
        // After each work: a run that is ended early has told what it knew.
        if let Some(path) = &args.json {
            fs::write(path, report::json(&sheets, args)?)?;
        }
    }
    Ok(())
}

/// The directory that was asked for, or one beside this program; made where it is not there.
///
/// # Errors
/// The system's.
pub(crate) fn data_dir(wanted: Option<&Path>) -> Result<PathBuf, Trouble> {
    let beside = env::current_exe()?.with_file_name("bench-data");
    let dir = wanted.map_or(beside, Path::to_owned);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// For thousands of connections; where the system allows no more, their work fails and says so.
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn warm_up(data_dir: &Path, bytes: u64) -> Result<(), Trouble> {
    report::say(&format!("warming up: {} MiB are written and deleted", bytes >> 20));
    let mut file = tempfile::tempfile_in(data_dir)?;
    let piece = crate::client::noise();
    for _ in 0..bytes.div_ceil(piece.len() as u64) {
        file.write_all(&piece)?;
    }
    Ok(())
}

fn measure(work: Work, contenders: &[Contender], data_dir: &Path, rounds: u32, scale: Scale) -> Sheet {
    let mine: Vec<&Contender> = contenders.iter().filter(|one| work.suits(one.role)).collect();
    report::say(&format!("{}: {}", work.name(), work.description()));
    if work == Work::Growth {
        let rows = mine.iter().filter(|one| matches!(one.role, Role::Ours { .. }));
        let rows = rows.flat_map(|one| match one.absent() {
            Some(reason) => vec![Row::absent(&one.name, one.role, reason)],
            None => growth::measure(one, data_dir, rounds, scale),
        });
        return Sheet { work, rows: rows.collect() };
    }
    let mut rows: Vec<Row> = mine
        .iter()
        .map(|one| match one.absent() {
            Some(reason) => Row::absent(&one.name, one.role, reason),
            None => Row { base: work.floor_of(one, contenders), ..Row::new(&one.name, one.role) },
        })
        .collect();
    for round in 0..rounds as usize {
        for turn in 0..mine.len() {
            let turn = (turn + round) % mine.len();
            let (row, contender) = (&mut rows[turn], mine[turn]);
            if !matches!(row.state, State::Measured) {
                continue;
            }
            report::say(&format!("  {} round {} of {rounds}: {}", work.name(), round + 1, row.name));
            match once(work, contender, data_dir, scale) {
                Ok(Outcome::Measured(figures)) => row.runs.push(figures),
                Ok(Outcome::Unsupported(reason)) => row.state = State::Unsupported(reason.to_owned()),
                Err(trouble) => row.state = State::Failed(trouble.to_string()),
            }
        }
    }
    Sheet { work, rows }
}

fn once(work: Work, contender: &Contender, data_dir: &Path, scale: Scale) -> Result<Outcome, Trouble> {
    settle(data_dir)?;
    let server = contender.start(data_dir)?;
    work.run(&server, scale)
}

/// Lets the disk finish what earlier runs left to it.
///
/// # Errors
/// The system's.
pub(crate) fn settle(data_dir: &Path) -> Result<(), Trouble> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(fs::File::open(data_dir)?)?;
    #[cfg(not(target_os = "linux"))]
    fs::File::open(data_dir)?.sync_all()?;
    Ok(())
}
