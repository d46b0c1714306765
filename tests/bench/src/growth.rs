//! Growth: what the same work costs with more and more uploads in the store. One server for each size, all of them
//! up at once, so that the rounds can go from one to the next; each is compared with the smallest.

use std::{path::Path, time::Duration};

use crate::{
    Trouble,
    contender::{Contender, Running},
    drive::drive,
    figures::Done,
    report::{self, Row, State},
    work::{Fill, Scale, Small, metered},
};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const CONNECTIONS: usize = 8;

/// How many small uploads a round makes. They are deleted after it: else the smallest store would not stay small.
const UNITS: u64 = 4_000;

/// A round takes no longer, whatever it made by then.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures one server at all sizes.
pub(crate) fn measure(contender: &Contender, data_dir: &Path, rounds: u32, scale: Scale) -> Vec<Row> {
    let name = |size: u64| format!("{} at {size}", contender.name);
    let sizes = SIZES.map(|size| scale.count(size));
    let mut rows: Vec<Row> = sizes
        .iter()
        .map(|size| Row { base: Some(name(sizes[0])), ..Row::new(&name(*size), contender.role) })
        .collect();
    let filled = sizes.map(|size| {
        report::say(&format!("  growth: filling {} with {size}", contender.name));
        Store::fill(contender, data_dir, size)
    });
    let mut stores: Vec<_> = filled.into_iter().collect();
    for round in 0..rounds {
        for (row, store) in rows.iter_mut().zip(&mut stores) {
            let figures = match store {
                Ok(store) => store.round(scale),
                Err(trouble) => Err(trouble.to_string().into()),
            };
            match figures {
                Ok(figures) => row.runs.push(figures),
                Err(trouble) => row.state = State::Failed(trouble.to_string()),
            }
        }
        report::say(&format!("  growth: {} round {} of {rounds}", contender.name, round + 1));
    }
    rows
}

/// A server with its uploads.
struct Store {
    server: Running,
    paths: Vec<String>,
}

impl Store {
    fn fill(contender: &Contender, data_dir: &Path, size: u64) -> Result<Self, Trouble> {
        let server = contender.start(data_dir)?;
        let paths = Fill::new(&server.target.path, size).run(&server)?;
        Ok(Self { server, paths })
    }

    fn round(&mut self, scale: Scale) -> Result<crate::figures::Figures, Trouble> {
        let target = &self.server.target;
        let mut script = Small::new(&target.path, CONNECTIONS, scale.count(UNITS), self.paths.clone());
        let ((latencies, wall), _, cpu) =
            metered(&self.server, || drive(target, CONNECTIONS, LIMIT, &mut script))?;
        let mut client = crate::client::Client::connect(target)?;
        script.made.iter().for_each(|path| client.delete(path));
        Ok(Done { wall, cpu, bytes: 0, latencies }.of_units())
    }
}
