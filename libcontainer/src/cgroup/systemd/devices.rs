//! Device rules as `DevicePolicy` and `DeviceAllow`.
//!
//! systemd only knows lists of what is allowed. Besides its program there is ours, which has the last word: an access
//! needs the consent of both. So rules that such a list cannot express become «everything» here, never less: when
//! systemd loads its program anew (`daemon-reload`), nothing that the container may use is lost (runc has lists of
//! nothing there, and its containers lose their devices).

use super::Property;
use super::dbus::Value;
use crate::cgroup::devices::{ALL, DevicePolicy, MKNOD, READ, Rule, Type, WRITE};

/// Before, a wildcard had to be the name of a driver.
const MAJOR_BY_NUMBER: u32 = 240;

/// The properties for `policy`.
pub fn properties(policy: &DevicePolicy, version: u32) -> Vec<Property> {
    let entries = if version < MAJOR_BY_NUMBER { None } else { allowed(policy.rules()).and_then(entries) };
    let (name, entries) = match entries {
        Some(entries) => ("strict", entries),
        None => ("auto", Vec::new()),
    };
    let list = |entries| Value::Array("(ss)".to_owned(), entries);
    let mut properties = vec![
        // The list of a unit that exists would only become longer.
        Property { name: "DeviceAllow".to_owned(), value: list(Vec::new()) },
        Property { name: "DevicePolicy".to_owned(), value: Value::string(name) },
    ];
    if !entries.is_empty() {
        properties.push(Property { name: "DeviceAllow".to_owned(), value: list(entries) });
    }
    properties
}

/// The rules as a list of what is allowed; none if that takes more than such a list, or if nothing is denied.
fn allowed(rules: &[Rule]) -> Option<Vec<Rule>> {
    let mut list: Vec<Rule> = Vec::new();
    for rule in rules {
        if rule.allow {
            list.push(*rule);
            continue;
        }
        for earlier in &mut list {
            if !overlaps(rule, earlier) {
                continue;
            }
            let mut denied = *earlier;
            denied.access &= rule.access;
            if !rule.covers(&denied) {
                return None;
            }
            earlier.access &= !rule.access;
        }
        list.retain(|earlier| earlier.access != 0);
    }
    let everything =
        list.iter().any(|r| r.kind.is_none() && r.major.is_none() && r.minor.is_none() && r.access == ALL);
    (!everything).then_some(list)
}

fn overlaps(a: &Rule, b: &Rule) -> bool {
    fn meet<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    meet(a.kind, b.kind) && meet(a.major, b.major) && meet(a.minor, b.minor) && a.access & b.access != 0
}

/// None if a rule is for one minor number of all drivers, for which there is no word.
fn entries(rules: Vec<Rule>) -> Option<Vec<Value>> {
    let mut entries = Vec::new();
    for rule in rules {
        let kinds = match rule.kind {
            Some(kind) => vec![kind],
            None => vec![Type::Block, Type::Char],
        };
        for kind in kinds {
            let class = if kind == Type::Block { "block" } else { "char" };
            let device = match (rule.major, rule.minor) {
                (None, None) => format!("{class}-*"),
                (Some(major), None) => format!("{class}-{major}"),
                (Some(major), Some(minor)) => format!("/dev/{class}/{major}:{minor}"),
                (None, Some(_)) => return None,
            };
            let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
            let access = letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| *letter);
            entries.push(Value::Struct(vec![Value::String(device), Value::String(access.collect())]));
        }
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::FieldPath;

    fn shown(rules: serde_json::Value, version: u32) -> Vec<String> {
        let rules: Vec<crate::config::DeviceRule> = serde_json::from_value(rules).unwrap();
        let policy = DevicePolicy::new(&rules, &FieldPath::new("d")).unwrap();
        let properties = properties(&policy, version);
        assert_eq!(properties[0].name, "DeviceAllow");
        properties[1..].iter().map(|p| format!("{:?}", p.value)).collect()
    }

    const DEFAULTS: &str = r#"("char-*", "m"), ("block-*", "m"), ("/dev/char/1:3", "rwm"), ("/dev/char/1:5", "rwm"), ("/dev/char/1:7", "rwm"), ("/dev/char/1:8", "rwm"), ("/dev/char/1:9", "rwm"), ("/dev/char/5:0", "rwm"), ("/dev/char/5:2", "rwm"), ("char-136", "rwm"), ("/dev/char/10:200", "rwm")]"#;

    #[test]
    fn lists() {
        let strict = |list: &str| vec!["\"strict\"".to_owned(), format!("[{list}{DEFAULTS}")];
        let deny = json!({"allow": false, "access": "rwm"});
        assert_eq!(shown(json!([deny]), 257), strict(""));
        let rules = json!([deny, {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rw"},
            {"allow": true, "type": "c", "major": 10, "access": "r"}, {"allow": true, "major": 7, "minor": 1, "access": "w"}]);
        let list = r#"("/dev/block/8:0", "rw"), ("char-10", "r"), ("/dev/block/7:1", "w"), ("/dev/char/7:1", "w"), "#;
        assert_eq!(shown(rules, 257), strict(list));
        // Taken back again, in whole and in part.
        let rules = json!([{"allow": true, "type": "b", "major": 8, "minor": 0}, {"allow": true, "type": "b", "major": 9, "minor": 0},
            {"allow": false, "type": "b", "major": 8}, {"allow": false, "type": "b", "access": "w"}]);
        assert_eq!(shown(rules, 257), strict(r#"("/dev/block/9:0", "rm"), "#));
    }

    #[test]
    fn what_no_list_expresses_is_left_to_our_program() {
        let auto = ["\"auto\""];
        let all = json!({"allow": true, "access": "rwm"});
        assert_eq!(shown(json!([all]), 257), auto);
        assert_eq!(shown(json!([all, {"allow": false, "type": "b", "major": 8, "minor": 0}]), 257), auto);
        assert_eq!(shown(json!([{"allow": true, "type": "c", "minor": 3, "access": "r"}]), 257), auto);
        assert_eq!(shown(json!([{"allow": false}]), 239), auto);
    }
}
