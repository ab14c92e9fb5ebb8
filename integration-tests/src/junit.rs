//! The outcome of a run as JUnit XML, which continuous integration reads.

use crate::driver::{Outcome, Report};
use crate::registry::Case;
use crate::runtime::Settings;
use std::fmt::Write;

/// The whole document. A known deviation is no failure: it is shown as skipped, with its reason.
pub fn document(settings: &Settings, cases: &[Case], reports: &[Report]) -> String {
    let failed = reports.iter().filter(|r| matches!(r.outcome, Outcome::Fail(_))).count();
    let skipped =
        reports.iter().filter(|r| matches!(r.outcome, Outcome::Skip(_) | Outcome::Deviates(_))).count();
    let seconds: f64 = reports.iter().map(|r| r.elapsed.as_secs_f64()).sum();
    let name = escaped(&format!("{} {}", settings.name, settings.version));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml += &format!(
        "<testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n",
        reports.len()
    );
    for report in reports {
        let clauses = cases.iter().find(|c| c.name == report.name).map_or(&[][..], |c| c.clauses);
        push_case(&mut xml, report, clauses);
    }
    xml + "</testsuite>\n"
}

fn push_case(xml: &mut String, report: &Report, clauses: &[&str]) {
    let (area, what) = report.name.split_once('/').unwrap_or(("", &report.name));
    let seconds = report.elapsed.as_secs_f64();
    let inner = match &report.outcome {
        Outcome::Pass => String::new(),
        Outcome::Fail(why) => format!("<failure message=\"{}\"/>", escaped(why)),
        Outcome::Skip(why) => format!("<skipped message=\"{}\"/>", escaped(why)),
        Outcome::Deviates(why) => format!("<skipped message=\"known: {}\"/>", escaped(why)),
    };
    let clauses = format!(
        "<properties><property name=\"clauses\" value=\"{}\"/></properties>",
        escaped(&clauses.join(" "))
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "  <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">{clauses}{inner}</testcase>",
        escaped(area),
        escaped(what)
    );
}

/// XML 1.0 has no way to write most control characters, not even escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn outcomes_in_xml() {
        let report =
            |name: &str, outcome| Report { name: name.into(), outcome, elapsed: Duration::from_millis(1500) };
        let mut xml = String::new();
        push_case(&mut xml, &report("area/what", Outcome::Pass), &["LNX-01", "LNX-02"]);
        push_case(&mut xml, &report("area/bad", Outcome::Fail("a < \"b\" & \u{1b}[31m\n".into())), &[]);
        assert_eq!(
            xml,
            "  <testcase classname=\"area\" name=\"what\" time=\"1.500\"><properties>\
             <property name=\"clauses\" value=\"LNX-01 LNX-02\"/></properties></testcase>\n  \
             <testcase classname=\"area\" name=\"bad\" time=\"1.500\"><properties>\
             <property name=\"clauses\" value=\"\"/></properties>\
             <failure message=\"a &lt; &quot;b&quot; &amp; \u{fffd}[31m&#10;\"/></testcase>\n"
        );
    }
}
