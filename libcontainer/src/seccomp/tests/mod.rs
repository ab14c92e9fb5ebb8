mod analysis;
mod bitmap;
mod exact;
mod init;
mod naive;
mod numbers;
#[cfg(feature = "libseccomp-oracle")]
mod oracle;
mod property;
mod random;
mod refused;
mod supplied;

use super::{Arch, Filter};
use crate::config::Seccomp;
use crate::error::FieldPath;

fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).expect("a profile of the test")
}

fn at() -> FieldPath {
    FieldPath::new("linux.seccomp")
}

fn compile(profile: &Seccomp, native: Arch) -> Filter {
    super::compile(profile, &at(), native).expect("a profile of the test")
}

/// So many cases, unless `PROPTEST_CASES` says otherwise; a case is thousands of decisions.
fn cases(default: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    proptest::test_runner::Config { cases: if asked { config.cases } else { default }, ..config }
}
