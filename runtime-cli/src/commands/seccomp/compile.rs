//! `corten seccomp compile`

use std::fmt::Write;

use libcontainer::seccomp::{Arch, Filter};

use super::deliver;
use super::profile::{self, ARCH, CAP_ADD, CAP_DROP, KERNEL, Source};
use crate::Failure;
use crate::args::{Command, Flag, Invocation, UsageError};

pub const COMMAND: Command = Command {
    name: "seccomp compile",
    summary: "print the program that a profile is compiled to",
    arguments: "<profile>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag { help: "architecture of the machine, such as x86_64 or arm64; may be repeated", ..ARCH },
        Flag::value(
            "format",
            "format",
            "disasm: text with comments; raw: struct sock_filter; c: an array for a C program",
        )
        .short(b'f')
        .default("disasm")
        .one_of(&["disasm", "raw", "c"]),
        Flag::value("output", "file", "write there").short(b'o').default("standard output"),
        CAP_ADD,
        CAP_DROP,
        KERNEL,
    ],
    details: "Compiles a profile to the BPF program that a container would get, for the kernel of one architecture and \
              all programs that the profile lists for it. The comments of the disassembly say which system calls come \
              by an instruction, and behind `ret` and the first load of an argument, which rules made that so.",
    examples: &[
        "corten seccomp compile config.json",
        "corten seccomp compile @default --arch arm64 --format c -o filter.h",
        "corten seccomp compile profile.json --format raw -o filter.bpf",
    ],
    see_also: &["seccomp explain", "seccomp convert"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let name = invocation.argument(0, "the profile")?;
    let arches = profile::arches(invocation)?;
    if arches.contains(&Arch::X32) {
        let (flag, value) = ("arch", "x32".to_owned());
        let expected = "that of a kernel; x32 programs run on one for x86_64";
        return Err(UsageError::InvalidValue { flag, value, expected }.into());
    }
    let format = invocation.flags.text("format")?.unwrap_or("disasm");
    if format == "raw" && arches.len() > 1 {
        let problem = "--format raw is for one --arch";
        return Err(UsageError::Combination { command: "seccomp compile", problem }.into());
    }
    let write = match format {
        "disasm" => disassembly,
        "c" => c_array,
        "raw" => raw,
        other => {
            let (flag, value) = ("format", other.to_owned());
            return Err(UsageError::InvalidValue { flag, value, expected: "disasm, raw or c" }.into());
        }
    };
    let source = Source::read(name)?;
    let mut out = Vec::new();
    for arch in arches {
        let loaded = source.resolve(invocation, arch)?;
        out.extend(write(arch, &loaded.compile(arch)?));
    }
    deliver(invocation, &out).map(|()| 0)
}

fn disassembly(arch: Arch, filter: &Filter) -> Vec<u8> {
    let (name, count) = (arch.short_name(), filter.program.len());
    let text =
        format!("; {name}: {count} instructions, flags {:#x}\n{}", filter.flags, filter.analyse().annotate());
    text.into_bytes()
}

/// As the kernel of that architecture takes it: `struct sock_filter`, 8 bytes each.
fn raw(arch: Arch, filter: &Filter) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(filter.program.len() * 8);
    for i in &filter.program {
        if arch.is_little_endian() {
            bytes.extend(i.code.to_le_bytes());
            bytes.extend([i.jt, i.jf]);
            bytes.extend(i.k.to_le_bytes());
        } else {
            bytes.extend(i.code.to_be_bytes());
            bytes.extend([i.jt, i.jf]);
            bytes.extend(i.k.to_be_bytes());
        }
    }
    bytes
}

fn c_array(arch: Arch, filter: &Filter) -> Vec<u8> {
    let mut text = format!(
        "/* {}: {} instructions; flags of seccomp(SECCOMP_SET_MODE_FILTER, ...): {:#x} */\n\
         static const struct sock_filter seccomp_{}[] = {{\n",
        arch.short_name(),
        filter.program.len(),
        filter.flags,
        arch.short_name()
    );
    let comments = filter.analyse().annotate().to_string();
    for (i, comment) in filter.program.iter().zip(comments.lines()) {
        let comment = comment.trim_start();
        let _ = writeln!(
            text,
            "    {{ {:#06x}, {:3}, {:3}, {:#010x} }}, /* {comment} */",
            i.code, i.jt, i.jf, i.k
        );
    }
    text.push_str("};\n");
    text.into_bytes()
}
