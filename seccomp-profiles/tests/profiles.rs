//! Every profile compiles for every architecture, and decides what the tables of the README say.

use std::collections::BTreeSet;

use corten_seccomp_profiles::ALL;
use libcontainer::config::Seccomp;
use libcontainer::error::FieldPath;
use libcontainer::seccomp::sim::{SeccompData, run};
use libcontainer::seccomp::{self, Action, Arch, Filter, name_of, number_of};

const README: &str = include_str!("../README.md");

fn parse(text: &str) -> Seccomp {
    serde_json::from_str(text).expect("a profile")
}

fn profile(kind: &str, arch: Arch) -> Seccomp {
    let suffix = if matches!(arch, Arch::S390x | Arch::S390) { "-s390x" } else { "" };
    let name = format!("{kind}{suffix}");
    let (_, text) = ALL.iter().find(|(n, _)| *n == name).expect("a profile of this name");
    parse(text)
}

fn compile(profile: &Seccomp, arch: Arch) -> Filter {
    seccomp::compile(profile, &FieldPath::root(), arch).expect("a good profile")
}

fn natives() -> impl Iterator<Item = Arch> {
    Arch::all().filter(|arch| *arch != Arch::X32)
}

fn decide(filter: &Filter, arch: Arch, name: &str, args: [u64; 6]) -> Action {
    let nr = number_of(arch, name).expect("a system call of this architecture");
    Action::from_ret(run(&filter.program, &SeccompData::new(arch, nr, args)).expect("a good program"))
}

/// The words in `backticks` of the README between two of its lines.
fn listed(from: &str, to: &str) -> BTreeSet<&'static str> {
    let start = README.find(from).expect("a heading") + from.len();
    let end = start + README[start..].find(to).expect("a heading");
    let rows = README[start..end].lines();
    // In a table only the last column lists; the others explain.
    let cells = rows.map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap_or_default());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_profile_compiles_for_every_architecture() {
    for (name, text) in ALL {
        for arch in natives() {
            let filter = compile(&parse(text), arch);
            assert_eq!(filter.warnings, [], "{name} on {arch:?}");
            assert!(filter.program.len() < 700, "{name} on {arch:?}: {}", filter.program.len());
        }
    }
}

#[test]
fn readme_lists_what_is_denied() {
    let denied = listed("## What `default` denies, and why\n", "\nSome calls are allowed");
    let beyond = listed("## What `strict` denies beyond that\n", "\n`personality` is 0 only");
    let partly = BTreeSet::from(["clone", "personality", "socket"]);
    let mut named = BTreeSet::new();
    for arch in natives() {
        let default = compile(&profile("default", arch), arch);
        let strict = compile(&profile("strict", arch), arch);
        // Tables begin at 0, or on MIPS at 4000, 5000 and 6000.
        let numbers = (0..7).flat_map(|table| table * 1000..table * 1000 + 600);
        for name in numbers.filter_map(|nr| name_of(arch, nr)).filter(|name| !partly.contains(name)) {
            // Holes in the tables of MIPS, and a second name for newfstatat.
            if name.starts_with("reserved") || name.starts_with("unused") {
                continue;
            }
            named.insert(name);
            let default = decide(&default, arch, name, [0; 6]).permits();
            assert_eq!(default, !denied.contains(name), "default, {arch:?}: {name}");
            let strict = decide(&strict, arch, name, [0; 6]).permits();
            let killed = denied.contains(name) || ["ptrace"].contains(&name);
            assert_eq!(strict, !killed && !beyond.contains(name), "strict, {arch:?}: {name}");
        }
    }
    let unknown: Vec<_> = denied.union(&beyond).filter(|name| !named.contains(*name)).collect();
    // Private to ARM, beyond the numbers looked at.
    assert_eq!(unknown, [&"breakpoint", &"usr26", &"usr32"]);
}

#[test]
fn arguments_count() {
    for arch in natives() {
        for kind in ["default", "strict"] {
            let filter = compile(&profile(kind, arch), arch);
            let decide = |name, args| decide(&filter, arch, name, args);
            let flags = |flags: u64| {
                if matches!(arch, Arch::S390 | Arch::S390x) {
                    [!0, flags, 0, 0, 0, 0]
                } else {
                    [flags, !0, 0, 0, 0, 0]
                }
            };
            // What pthread_create asks for, and a new user namespace.
            assert_eq!(decide("clone", flags(0x003d_0f00)), Action::Allow, "{arch:?}");
            assert_eq!(decide("clone", flags(0x1000_0011)), Action::Errno(1), "{arch:?}");
            assert_eq!(decide("clone3", [0; 6]), Action::Errno(38), "{arch:?}");
            assert_eq!(decide("personality", [0x4_0000, 0, 0, 0, 0, 0]), Action::Errno(1), "{arch:?}");
            for (family, allowed) in [(1, true), (2, true), (10, true), (16, true), (38, false), (40, false)]
            {
                let expected = if allowed { Action::Allow } else { Action::Errno(1) };
                assert_eq!(decide("socket", [family, 0, 0, 0, 0, 0]), expected, "{arch:?}: family {family}");
            }
        }
    }
}

#[test]
fn strict_kills_attacks() {
    let filter = compile(&profile("strict", Arch::X86_64), Arch::X86_64);
    assert_eq!(decide(&filter, Arch::X86_64, "kexec_load", [0; 6]), Action::KillProcess);
    let i386 = SeccompData::new(Arch::X86, 20, [0; 6]);
    assert_eq!(run(&filter.program, &i386).map(Action::from_ret), Ok(Action::KillThread));
}

#[test]
fn s390x_differs_in_the_order_of_arguments_only() {
    for kind in ["default", "strict"] {
        let common = profile(kind, Arch::X86_64);
        let mut twin = profile(kind, Arch::S390x);
        let clone = twin.syscalls.iter_mut().find(|rule| rule.names == ["clone"]).expect("a rule for clone");
        assert_eq!(clone.args[0].index, 1);
        clone.args[0].index = 0;
        twin.architectures.clone_from(&common.architectures);
        assert_eq!(twin, common, "{kind}");
    }
}

#[test]
fn default_has_every_compatible_architecture() {
    let listed = profile("default", Arch::X86_64).architectures;
    let with_s390: Vec<String> =
        listed.into_iter().chain(profile("default", Arch::S390x).architectures).collect();
    for arch in Arch::all() {
        assert!(with_s390.iter().any(|name| name == arch.name()), "{arch:?}");
    }
}
