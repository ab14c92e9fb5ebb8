//! Two observations, leaf by leaf.

use super::rules::Rule;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One leaf where the two runtimes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: the members' names, with `/` between.
    pub path: String,
    /// What the runtime under test shows.
    pub ours: String,
    /// What the other one shows.
    pub theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n      ours:   {}\n      theirs: {}", self.path, self.ours, self.theirs)
    }
}

impl Difference {
    /// The path without numbers and what depends on the configuration, to find the same difference again.
    pub fn kind(&self) -> String {
        let words = self.path.split('/').map(|w| if w.parse::<u32>().is_ok() { "*" } else { w });
        let path = words.collect::<Vec<_>>().join("/");
        if self.ours.starts_with("failed:") || self.theirs.starts_with("failed:") {
            return format!("{path}: {} / {}", end(&self.ours), end(&self.theirs));
        }
        path
    }

    /// The rule that explains it.
    pub fn explained<'r>(&self, rules: &'r [Rule], peer: &str) -> Option<&'r Rule> {
        rules.iter().find(|r| {
            (r.peer == "*" || r.peer == peer)
                && matches(r.path, &self.path)
                && matches(r.ours, &self.ours)
                && matches(r.theirs, &self.theirs)
        })
    }
}

/// Every leaf that differs. Where only one of the two created or started the container, nothing else is
/// compared, except what they left behind.
pub fn differences(ours: &Value, theirs: &Value) -> Vec<Difference> {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    flatten("", ours, &mut a);
    flatten("", theirs, &mut b);
    let only_one = |step: &str| (ours[step] == "ok") != (theirs[step] == "ok");
    let decisive = ["create", "start"].into_iter().find(|step| only_one(step));
    let lines = |v: &Value| v["inside"].as_array().map_or(0, Vec::len);
    if lines(ours) != lines(theirs) {
        for (map, count) in [(&mut a, lines(ours)), (&mut b, lines(theirs))] {
            map.retain(|path, _| !path.starts_with("inside/"));
            map.insert("inside".to_owned(), format!("{count} answers"));
        }
    }
    if tags(ours) != tags(theirs) {
        for (map, tags) in [(&mut a, tags(ours)), (&mut b, tags(theirs))] {
            map.retain(|path, _| !path.starts_with("hooks/"));
            map.insert("hooks".to_owned(), tags);
        }
    }
    let absent = "(nothing)".to_owned();
    let paths: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    paths
        .into_iter()
        .filter(|path| decisive.is_none_or(|step| *path == step || path.starts_with("left")))
        .filter_map(|path| {
            let (ours, theirs) = (a.get(path).unwrap_or(&absent), b.get(path).unwrap_or(&absent));
            let both_failed = ours.starts_with("failed:") && theirs.starts_with("failed:");
            let same = ours == theirs || both_failed;
            (!same).then(|| Difference { path: path.clone(), ours: ours.clone(), theirs: theirs.clone() })
        })
        .collect()
}

/// The end of a message, where its cause is.
fn end(text: &str) -> String {
    text.chars().rev().take(30).filter(|c| !c.is_ascii_digit()).collect()
}

/// The hooks that ran, in their order.
fn tags(observation: &Value) -> String {
    let hooks = observation["hooks"].as_array().into_iter().flatten();
    hooks.filter_map(|h| h["tag"].as_str()).collect::<Vec<_>>().join(" ")
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| flatten(&below(k), v, into)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| flatten(&below(&i.to_string()), v, into))
        }
        Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        other => drop(into.insert(path.to_owned(), other.to_string())),
    }
}

/// A pattern in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(after) = text.strip_prefix(head) else { return false };
            let ends = after.char_indices().map(|(i, _)| i).chain([after.len()]);
            ends.into_iter().any(|i| matches(rest, &after[i..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("a/*/c", "a/b/x/c") && matches("*", "") && matches("a*", "a"));
        assert!(!matches("a/*/c", "a/c") && !matches("a", "ab"));
    }

    #[test]
    fn two_refusals_are_equal_and_one_hides_the_rest() {
        let refusal = |text: &str| json!({"create": format!("failed: {text}"), "left": []});
        let ok = json!({"create": "ok", "exit": "code 0", "left": []});
        assert_eq!(differences(&refusal("x"), &refusal("y")), []);
        let found = differences(&ok, &refusal("x"));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].ours.as_str()), ("create", "ok"));
    }
}
