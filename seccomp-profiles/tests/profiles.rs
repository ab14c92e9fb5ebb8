//! Every profile compiles for every architecture, and decides what the tables of the README say.

use std::collections::BTreeSet;

use corten_seccomp_profiles::{Circumstances, EngineProfile, Kernel, PLAIN, PROFILES, profile as text_of};
use libcontainer::config::Seccomp;
use libcontainer::error::FieldPath;
use libcontainer::seccomp::sim::{SeccompData, run};
use libcontainer::seccomp::{self, Action, Arch, Filter, name_of, names, number_of};

const README: &str = include_str!("../README.md");
const KERNEL: Kernel = Kernel { major: 6, minor: 18 };

/// The profile for a container that asked its engine for nothing.
fn profile(kind: &str, arch: Arch) -> Seccomp {
    resolve(kind, &Circumstances::of_engines(KERNEL, arch))
}

fn resolve(kind: &str, circumstances: &Circumstances) -> Seccomp {
    let text = text_of(kind).expect("a profile of this name");
    let profile = EngineProfile::from_slice(text.as_bytes()).expect("a profile");
    profile.resolve(circumstances).expect("a profile that can be resolved").profile
}

fn with(capability: &str, arch: Arch) -> Circumstances {
    let mut circumstances = Circumstances::of_engines(KERNEL, arch);
    circumstances.capabilities.insert(capability.to_owned());
    circumstances
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
    for (name, _) in PROFILES {
        for arch in natives() {
            let all = Circumstances {
                capabilities: libcontainer::validate::capabilities::NAMES.map(String::from).into(),
                ..Circumstances::of_engines(KERNEL, arch)
            };
            let none = Circumstances { capabilities: BTreeSet::new(), ..all.clone() };
            for circumstances in [all, none, Circumstances::of_engines(Kernel { major: 4, minor: 4 }, arch)] {
                let filter = compile(&resolve(name, &circumstances), arch);
                assert_eq!(filter.warnings, [], "{name} on {arch:?}");
                assert!(filter.program.len() < 700, "{name} on {arch:?}: {}", filter.program.len());
            }
        }
    }
    for (name, text) in PLAIN {
        for arch in natives() {
            let plain: Seccomp = serde_json::from_str(text).expect("a profile");
            assert_eq!(compile(&plain, arch).warnings, [], "{name} on {arch:?}");
        }
    }
}

/// Those who have no tool at hand take the plain files: they have to say the same.
#[test]
fn plain_profiles_are_what_the_others_resolve_to() {
    for (name, text) in PLAIN {
        let plain: Seccomp = serde_json::from_str(text).expect("a profile");
        let engine = EngineProfile::from_slice(text_of(name).unwrap().as_bytes()).unwrap();
        let mut resolved = profile(name, Arch::X86_64);
        let all = engine.arch_map.iter().filter(|entry| entry.architecture != Arch::S390x.name());
        let all = all.flat_map(|entry| std::iter::once(&entry.architecture).chain(&entry.sub_architectures));
        resolved.architectures = all.cloned().collect();
        assert_eq!(plain, resolved, "{name}");
    }
}

#[test]
fn every_architecture_has_its_relatives() {
    let default = EngineProfile::from_slice(text_of("default").unwrap().as_bytes()).unwrap();
    let map = &default.arch_map;
    for arch in Arch::all() {
        let is_here = |name: &String| name == arch.name();
        let entry = map.iter().find(|e| is_here(&e.architecture) || e.sub_architectures.iter().any(is_here));
        assert_eq!(entry.map(|e| e.architecture.as_str()), Some(arch.machine().name()), "{arch:?}");
    }
}

/// What a profile permits for every argument, by name.
fn permitted(filter: &Filter, arch: Arch) -> BTreeSet<&'static str> {
    let analysis = filter.analyse();
    let permits = |name: &&str| {
        let verdict = number_of(arch, name).map(|nr| analysis.verdict(arch, nr));
        verdict.is_some_and(|v| v.cases.is_empty() && v.otherwise.permits())
    };
    names().filter(permits).collect()
}

#[test]
fn readme_lists_what_capabilities_allow() {
    let start = README.find("| capability | ").expect("the table");
    let rows = README[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut listed = BTreeSet::new();
    for row in rows {
        let words: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let (capability, calls) = (words[0], words[1..].iter().copied().collect::<BTreeSet<_>>());
        listed.insert(capability.to_owned());
        let mut expected = BTreeSet::new();
        for arch in natives() {
            let base = Circumstances { capabilities: BTreeSet::new(), ..with(capability, arch) };
            let more = Circumstances { capabilities: [capability.to_owned()].into(), ..base.clone() };
            let [before, after] =
                [base, more].map(|c| permitted(&compile(&resolve("default", &c), arch), arch));
            assert!(before.is_subset(&after), "{capability} takes something away on {arch:?}");
            expected.extend(after.difference(&before).copied());
        }
        assert_eq!(calls, expected, "{capability}");
    }
    let default = EngineProfile::from_slice(text_of("default").unwrap().as_bytes()).unwrap();
    let asked =
        default.syscalls.iter().filter_map(|rule| rule.includes.as_ref()).flat_map(|i| i.caps.clone());
    assert_eq!(asked.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn readme_lists_what_nested_allows() {
    let beyond = listed("## What `nested` allows beyond `default`\n", "\n\nA container runtime");
    let mut found = BTreeSet::new();
    for arch in natives() {
        let [default, nested] =
            ["default", "nested"].map(|kind| permitted(&compile(&profile(kind, arch), arch), arch));
        assert!(default.is_subset(&nested), "{arch:?}");
        found.extend(nested.difference(&default).copied());
    }
    assert_eq!(found, beyond);
}

/// It refuses nothing, and logs exactly what `default` does not let through.
#[test]
fn unconfined_logged_logs_what_default_denies() {
    for arch in natives() {
        for capability in ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_BPF"] {
            let circumstances = with(capability, arch);
            let [default, logged] =
                ["default", "unconfined-logged"].map(|kind| compile(&resolve(kind, &circumstances), arch));
            for (nr, name) in seccomp::calls_of(arch) {
                for args in [[0; 6], [38; 6], [0x1000_0000; 6], [u64::MAX; 6]] {
                    let data = SeccompData::new(arch, nr, args);
                    let of = |filter: &Filter| run(&filter.program, &data).map(Action::from_ret).unwrap();
                    let expected = if of(&default).permits() { Action::Allow } else { Action::Log };
                    assert_eq!(of(&logged), expected, "{name} on {arch:?} with {capability}");
                }
            }
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
            // SuperH does not have it.
            if number_of(arch, "clone3").is_some() {
                assert_eq!(decide("clone3", [0; 6]), Action::Errno(38), "{arch:?}");
            }
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
