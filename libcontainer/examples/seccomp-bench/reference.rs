//! libseccomp, used as runc uses it.

use std::io::{Read, Seek};
use std::str::FromStr;

use libcontainer::config::{Seccomp, SyscallArg};
use libcontainer::seccomp::SockFilter;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion,
};

pub fn version() -> String {
    ScmpVersion::current().map_or_else(|_| "?".into(), |v| format!("{}.{}.{}", v.major, v.minor, v.micro))
}

/// A profile compiled, and the program exported: what has to be done before it can be loaded.
pub fn compile(profile: &Seccomp, tree: bool) -> Vec<SockFilter> {
    let default = action(&profile.default_action, profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default).expect("a context");
    if tree {
        filter.set_ctl_optimize(2).expect("libseccomp 2.5 has the tree");
    }
    for name in &profile.architectures {
        filter.add_arch(ScmpArch::from_str(name).expect("an architecture")).expect("can be added");
    }
    for rule in &profile.syscalls {
        let action = action(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(comparison).collect();
        for call in rule.names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
            filter.add_rule_conditional(action, call, &conditions).expect("a rule");
        }
    }
    let fd = rustix::fs::memfd_create("bpf", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd_create");
    let mut file = std::fs::File::from(fd);
    filter.export_bpf(&file).expect("export");
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read a memfd");
    let instruction = |b: &[u8]| SockFilter {
        code: u16::from_ne_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    bytes.chunks_exact(8).map(instruction).collect()
}

fn action(name: &str, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(1).cast_signed();
    ScmpAction::from_str(name, Some(errno)).expect("an action")
}

fn comparison(arg: &SyscallArg) -> ScmpArgCompare {
    match arg.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => {
            ScmpArgCompare::new(arg.index, ScmpCompareOp::MaskedEqual(arg.value), arg.value_two)
        }
        op => ScmpArgCompare::new(arg.index, ScmpCompareOp::from_str(op).expect("an operator"), arg.value),
    }
}
