//! The times as bars, in SVG: no script, and legible on light and on dark pages.

use super::report::{Entry, Report};
use super::scenario::Unit;
use super::subject::{CORTEN, FLOOR};

const WIDTH: usize = 760;
const LABEL: usize = 110;
const BAR: usize = 15;
const GAP: usize = 4;
const HEADING: usize = 34;
/// Room for the figure at the end of a bar.
const FIGURE: usize = 150;

/// One group of bars for each scenario, each to a scale of its own: a scenario takes 1 ms, another 130.
pub fn draw(report: &Report) -> String {
    let mut y = 22;
    let mut body = text(0, y, "note", "", &report.header());
    let mut scenarios: Vec<&str> = Vec::new();
    for entry in &report.results {
        if scenarios.last() != Some(&entry.scenario.as_str()) {
            scenarios.push(&entry.scenario);
        }
    }
    for scenario in scenarios {
        let entries: Vec<&Entry> = report
            .results
            .iter()
            .filter(|entry| entry.scenario == scenario && entry.figures.is_some())
            .collect();
        if !entries.is_empty() {
            y = group(&mut body, y, scenario, &entries);
        }
    }
    let height = y + GAP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>corten beside other runtimes</title>\n{STYLE}{body}</svg>\n"
    )
}

const STYLE: &str = "<style>
text { fill: #222 } .note { fill: #555; font-size: 10px } .heading { font-weight: bold }
.corten { fill: #b4562a } .floor { fill: #8a8f98 } .peer { fill: #5b7fa6 } .spread { stroke: #222; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .note { fill: #aaa } .corten { fill: #d9783f } .floor { fill: #777c85 } .peer { fill: #6f97c4 }
  .spread { stroke: #ddd }
}
</style>
";

fn group(body: &mut String, top: usize, scenario: &str, entries: &[&Entry]) -> usize {
    let mut y = top + HEADING;
    *body += &text(0, y - GAP - 4, "heading", "", scenario);
    let largest = entries.iter().filter_map(|entry| Some(entry.figures?.p75)).fold(0.0, f64::max);
    let scale = |value: f64| (WIDTH - LABEL - FIGURE) as f64 * value / largest.max(f64::MIN_POSITIVE);
    for entry in entries {
        let Some(figures) = entry.figures else { continue };
        let class = match entry.subject.as_str() {
            CORTEN => "corten",
            FLOOR => "floor",
            _ => "peer",
        };
        let middle = y + BAR / 2;
        let length = scale(figures.median);
        *body += &text(LABEL - 8, y + BAR - 3, "", "end", &entry.subject);
        *body += &format!(
            "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>\n"
        );
        let (from, to) = (LABEL as f64 + scale(figures.p25), LABEL as f64 + scale(figures.p75));
        if entry.unit == Unit::Microseconds {
            *body += &format!(
                "<line class=\"spread\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>\n"
            );
        }
        let end = to.max(LABEL as f64 + length) as usize + 6;
        *body += &text(end, y + BAR - 3, "", "", &entry.unit.text(figures.median));
        y += BAR + GAP;
    }
    y
}

fn text(x: usize, y: usize, class: &str, anchor: &str, words: &str) -> String {
    let escaped = words.replace('&', "&amp;").replace('<', "&lt;");
    let attribute = |name: &str, value: &str| {
        if value.is_empty() { String::new() } else { format!(" {name}=\"{value}\"") }
    };
    let (class, anchor) = (attribute("class", class), attribute("text-anchor", anchor));
    format!("<text x=\"{x}\" y=\"{y}\"{class}{anchor}>{escaped}</text>\n")
}
