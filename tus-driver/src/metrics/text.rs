//! The two forms of a scrape: OpenMetrics for clients that ask for it, else the older text, which everything reads.

use tus_proto::Head;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type that goes with this request, and the text in its form.
pub fn negotiated(head: &Head<'_>, openmetrics: String) -> (&'static str, String) {
    let asks = head.values("Accept").any(|value| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        value.split(',').any(|range| range.trim_start().starts_with("application/openmetrics-text"))
    });
    if asks { (OPENMETRICS, openmetrics) } else { (CLASSIC, classic(&openmetrics)) }
}

/// What OpenMetrics says, in the text that was there before it: a counter's comments carry its sample's name, there are
/// no units and no end.
pub fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                // Those with tusd's names.
                "unknown" => ("", "counter"),
                other => ("", other),
            };
            let help = help.take().map_or("", |(_, help)| help);
            text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_names_counters_as_their_samples() {
        let openmetrics = "# HELP a Help.\n# TYPE a counter\na_total 1\n# HELP b_seconds B.\n# TYPE b_seconds gauge\n\
            # UNIT b_seconds seconds\nb_seconds 2.0\n# HELP c C.\n# TYPE c unknown\nc 3\n# HELP d D.\n\
            # TYPE d info\nd_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n# HELP b_seconds B.\n\
            # TYPE b_seconds gauge\nb_seconds 2.0\n# HELP c C.\n# TYPE c counter\nc 3\n# HELP d_info D.\n\
            # TYPE d_info gauge\nd_info{v=\"1\"} 1\n";
        assert_eq!(classic(openmetrics), expected);
    }
}
