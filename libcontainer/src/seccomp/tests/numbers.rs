//! Numbers of architectures whose tables are our own.

use super::{compile, profile};
use crate::seccomp::sim::{SeccompData, run};
use crate::seccomp::{Action, Arch, calls_of, number_of};

const LISTED: [Arch; 5] = [Arch::Parisc, Arch::Parisc64, Arch::M68k, Arch::Sh, Arch::Sheb];

/// At both ends of every list, beside its gaps, and where the architectures differ.
#[test]
fn listed_numbers() {
    let known: [(&str, [Option<u32>; 5]); 16] = [
        ("restart_syscall", [Some(0); 5]),
        ("read", [Some(3); 5]),
        ("socketcall", [None, None, Some(102), Some(102), Some(102)]),
        ("ipc", [None, None, Some(117), Some(117), Some(117)]),
        ("socket", [Some(17), Some(17), Some(356), Some(340), Some(340)]),
        ("_llseek", [Some(140); 5]),
        ("cacheflush", [Some(356), Some(356), Some(123), Some(123), Some(123)]),
        ("openat", [Some(275), Some(275), Some(288), Some(295), Some(295)]),
        ("seccomp", [Some(338), Some(338), Some(380), Some(372), Some(372)]),
        ("sync_file_range2", [None, None, None, Some(388), Some(388)]),
        ("clock_gettime64", [Some(403), None, Some(403), Some(403), Some(403)]),
        ("io_uring_setup", [Some(425); 5]),
        ("clone3", [Some(435), Some(435), Some(435), None, None]),
        ("memfd_secret", [None; 5]),
        ("mseal", [Some(462); 5]),
        ("setxattrat", [Some(463); 5]),
    ];
    for (name, numbers) in known {
        assert_eq!(LISTED.map(|arch| number_of(arch, name)), numbers, "{name}");
    }
}

/// As many as the headers of Linux 6.12 have, with the `_llseek` that 64-bit parisc had in
/// older ones, and those from 463 on that x86_64 has.
#[test]
fn lists_are_complete() {
    let counts = [398, 378, 434, 427, 427];
    assert_eq!(LISTED.map(|arch| calls_of(arch).iter().filter(|(nr, _)| *nr <= 462).count()), counts);
    let newer = |arch| calls_of(arch).into_iter().filter(|(nr, _)| *nr > 462).collect::<Vec<_>>();
    for arch in LISTED {
        assert_eq!(newer(arch), newer(Arch::X86_64), "{arch:?}");
    }
}

/// `AUDIT_ARCH_…` of `<linux/audit.h>`: the machine of `<elf.h>` with a bit for the width and one for the byte order.
#[test]
fn tokens() {
    let tokens = LISTED.map(Arch::token);
    assert_eq!(tokens, [0x0000_000f, 0x8000_000f, 0x0000_0004, 0x4000_002a, 0x0000_002a]);
    assert_eq!(LISTED.map(Arch::is_little_endian), [false, false, false, true, false]);
}

/// The argument is looked for in the right half, and 64-bit parisc alone has two halves.
#[test]
fn filters_of_listed_architectures() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_PARISC"], "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 5}]},
        {"names": ["connect", "mount"], "action": "SCMP_ACT_ALLOW"}]}"#;
    for arch in LISTED {
        let filter = compile(&profile(json), arch);
        let number = |name| number_of(arch, name).expect("a number");
        let decide = |nr, first| {
            let data = SeccompData::new(arch, nr, [first, 0, 0, 0, 0, 0]);
            run(&filter.program, &data).map(Action::from_ret)
        };
        assert_eq!(decide(number("read"), 5), Ok(Action::Allow), "{arch:?}\n{filter}");
        assert_eq!(decide(number("read"), 5 << 32), Ok(Action::Errno(1)), "{arch:?}\n{filter}");
        let high = if arch == Arch::Parisc64 { Action::Errno(1) } else { Action::Allow };
        assert_eq!(decide(number("read"), 7 << 32 | 5), Ok(high), "{arch:?}\n{filter}");
        assert_eq!(decide(number("connect"), 0), Ok(Action::Allow), "{arch:?}\n{filter}");
        assert_eq!(decide(number("write"), 5), Ok(Action::Errno(1)), "{arch:?}\n{filter}");
        let enosys = if arch.machine() == Arch::Parisc64 { 251 } else { 38 };
        assert_eq!(decide(460, 0), Ok(Action::Errno(enosys)), "{arch:?}\n{filter}");
        if let Some(socketcall) = number_of(arch, "socketcall") {
            assert_eq!(decide(socketcall, 3), Ok(Action::Allow), "{arch:?}\n{filter}");
            assert_eq!(decide(socketcall, 2), Ok(Action::Errno(1)), "{arch:?}\n{filter}");
        }
    }
}
