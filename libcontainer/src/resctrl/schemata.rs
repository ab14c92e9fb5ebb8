//! Lines of a `schemata` file: `L3:0=ffff;1=ffff`.

use crate::config::IntelRdt;

/// The lines that a configuration asks for, in the order in which they are to be written (config-linux.md#intel-rdt).
pub(super) fn lines(config: &IntelRdt) -> Vec<&str> {
    let own = [config.l3_cache_schema.as_deref(), config.mem_bw_schema.as_deref()].into_iter().flatten();
    own.chain(config.schemata.iter().map(String::as_str)).filter(|l| !l.is_empty()).collect()
}

/// The line of the same resource as `line`.
pub(super) fn same_resource<'a>(text: &'a str, line: &str) -> Option<&'a str> {
    let resource = resource(line);
    text.lines().map(str::trim).find(|l| self::resource(l) == resource)
}

fn resource(line: &str) -> &str {
    line.split(':').next().unwrap_or(line).trim()
}

/// Whether everything that `wanted` says is what `found` says; domains that it does not mention may have any value.
pub(super) fn agrees(wanted: &str, found: &str) -> bool {
    let base = if resource(wanted) == "MB" { 10 } else { 16 };
    let value = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), base).ok();
    let domains = |line: &str| -> Vec<(String, String)> {
        let list = line.split_once(':').map_or("", |(_, list)| list);
        let pairs = list.split(';').filter_map(|d| d.split_once('='));
        pairs.map(|(id, v)| (id.trim().to_owned(), v.trim().to_owned())).collect()
    };
    let found = domains(found);
    domains(wanted).iter().all(|(id, want)| {
        let same = |have: &str| have == want || (value(have).is_some() && value(have) == value(want));
        found.iter().any(|(other, have)| other == id && same(have))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers() {
        let table = [
            ("L3:0=f", "L3:0=0000f;1=fffff", true),
            ("L3:0=f;1=F0", "    L3:0=0000f;1=000f0", true),
            ("L3:1=f", "L3:0=f", false),
            ("L3:0=f", "L3:0=ff", false),
            ("L3:0=0xf", "L3:0=00f", true),
            ("MB:0=20", "MB:0= 20;1=100", true),
            ("MB:0=10", "MB:0=16", false),
            ("L3:0=oops", "L3:0=f", false),
        ];
        for (wanted, found, expected) in table {
            assert_eq!(agrees(wanted, found), expected, "{wanted} in {found}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_specification() {
        let config: IntelRdt = serde_json::from_str(
            r#"{"schemata":["L2:0=3","MB:1=70"],"memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f"}"#,
        )
        .unwrap();
        assert_eq!(lines(&config), ["L3:0=f", "MB:0=20", "L2:0=3", "MB:1=70"]);
        assert_eq!(same_resource("    MB:0=100\n    L3:0=ff\n", "L3:0=f"), Some("L3:0=ff"));
        assert_eq!(same_resource("    MB:0=100\n", "L3:0=f"), None);
    }
}
