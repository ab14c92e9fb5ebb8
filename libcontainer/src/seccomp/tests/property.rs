//! Compiled programs against the plain meaning of their profiles.

use proptest::prelude::*;
use proptest::sample::select;

use super::random::{probes, profile};
use super::{cases, compile, naive};
use crate::seccomp::sim::{outcomes, run};
use crate::seccomp::{Action, Arch};

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn programs_do_what_profiles_say(
        profile in profile(),
        native in select(Arch::all().filter(|arch| *arch != Arch::X32).collect::<Vec<_>>()),
    ) {
        let filter = compile(&profile, native);
        for data in probes(&profile, native) {
            let expected = naive::decide(&profile, native, &data);
            let decided = run(&filter.program, &data).map(Action::from_ret);
            prop_assert_eq!(decided, Ok(expected), "{:x?}\n{}", data, filter);
        }
    }

    #[test]
    fn unknown_arguments_can_only_add_outcomes(profile in profile()) {
        let filter = compile(&profile, Arch::X86_64);
        for data in probes(&profile, Arch::X86_64).into_iter().filter(|data| data.arch == Arch::X86_64.token()).step_by(7) {
            let decided = run(&filter.program, &data).expect("a program");
            let known = outcomes(&filter.program, Arch::X86_64, data.nr, &data.args.map(Some)).expect("a program");
            prop_assert_eq!(known.into_iter().collect::<Vec<_>>(), vec![decided]);
            let unknown = outcomes(&filter.program, Arch::X86_64, data.nr, &[None; 6]).expect("a program");
            prop_assert!(unknown.contains(&decided));
        }
    }
}
