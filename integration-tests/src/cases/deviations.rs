//! Peers that are known to fail a case. A row is written only after the failure has been looked at, and it
//! says why; the report shows it instead of a failure.

use crate::registry::{Case, Deviation};

/// Case, runtime, prefix of its version, reason.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    ("delete/unreadable-state", "runc", "1.1", "refuses to delete a state that it cannot parse"),
    ("input/duplicate-member", "runc", "1.1", "Go's JSON decoder lets the last member win"),
    ("input/invalid-utf8", "runc", "1.1", "Go's JSON decoder replaces invalid UTF-8"),
    ("input/wrong-hook-timeout-zero", "runc", "1.1", "takes 0 for `no timeout`"),
    ("input/wrong-mount-without-destination", "runc", "1.1", "warns about a relative path, then mounts on /"),
    ("input/wrong-oci-version-garbage", "runc", "1.1", "does not look at ociVersion"),
    ("input/wrong-mapping-without-user-namespace", "runc", "1.1", "ignores the mappings"),
    ("input/wrong-masked-path-relative", "runc", "1.1", "does not check that the path is absolute"),
    ("input/wrong-readonly-path-relative", "runc", "1.1", "does not check that the path is absolute"),
    ("input/wrong-oom-score-out-of-range", "runc", "1.1", "its C stage adds a line of its own"),
    ("input/id-too-long", "runc", "1.1", "leaves the length to mkdir, whose error does not say `id`"),
    (
        "lifecycle/config-edit-has-no-effect-on-exec",
        "runc",
        "1.1",
        "exec reads the bundle's config.json again for its defaults",
    ),
];

/// Attaches the rows to their cases.
pub fn attach(cases: &mut [Case]) {
    for (name, runtime, version, reason) in KNOWN {
        if let Some(case) = cases.iter_mut().find(|c| c.name == *name) {
            case.deviations.push(Deviation { runtime, version, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_names_a_case() {
        let names: Vec<String> = super::super::all().into_iter().map(|c| c.name).collect();
        for (name, ..) in super::KNOWN {
            assert!(names.iter().any(|n| n == name), "no case {name}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = super::super::all().into_iter().map(|c| c.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
