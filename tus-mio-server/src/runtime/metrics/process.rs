//! What the system says of this process, under the names that Prometheus's own clients use. Only Linux tells.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return Ok(()) };
        // The program's name is in parentheses and may have blanks; the third field is the first behind it.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        let ticks = clock_ticks_per_second().max(1) as f64;
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            let seconds = ConstCounter::new((user + system) as f64 / ticks);
            let help = "Processor time spent";
            let metric =
                encoder.encode_descriptor("process_cpu_seconds", help, None, seconds.metric_type())?;
            seconds.encode(metric)?;
        }
        let resident = field(24).map(|pages| (pages * page_size() as u64) as f64);
        let start = field(22).zip(booted()).map(|(since, boot)| boot + since as f64 / ticks);
        let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
        let most = getrlimit(Resource::Nofile).current.map(|most| most as f64);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory in use", resident),
            ("process_virtual_memory_bytes", "Address space in use", field(23).map(|bytes| bytes as f64)),
            ("process_start_time_seconds", "When the process began, in seconds since 1970", start),
            ("process_open_fds", "Descriptors open", open),
            ("process_max_fds", "The most descriptors that may be open", most),
            ("process_threads", "Threads", field(20).map(|count| count as f64)),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// When the system was started, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}
