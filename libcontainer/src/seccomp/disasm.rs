use std::fmt;

use super::SockFilter;
use super::action::Action;
use super::arch::Arch;
use super::codegen::{ARCH, NR};

/// A program as text, one instruction a line. Jump targets are line numbers.
///
/// ```text
///    0  ld   arch
///    1  jeq  0xc000003e, 2, 5      ; x86_64
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Disassembly<'a>(pub &'a [SockFilter]);

impl fmt::Display for Disassembly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instruction) in self.0.iter().enumerate() {
            write!(f, "{line:4}  ")?;
            instruction_at(f, line, instruction)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// One instruction, without its line number.
pub(super) fn instruction_at(f: &mut impl fmt::Write, line: usize, i: &SockFilter) -> fmt::Result {
    let (k, next) = (i.k, line + 1);
    match i.code {
        0x20 => load(f, k),
        0x06 => write!(f, "ret  {}", Action::from_ret(k)),
        0x05 => write!(f, "ja   {}", next + k as usize),
        0x15 | 0x25 | 0x35 | 0x45 => {
            let name = ["jeq", "jgt", "jge", "jset"][usize::from(i.code >> 4) - 1];
            write!(f, "{name:4} ")?;
            number(f, k)?;
            write!(f, ", {}, {}", next + usize::from(i.jt), next + usize::from(i.jf))?;
            match Arch::all().find(|arch| i.code == 0x15 && arch.token() == k && arch.token() > 0xffff) {
                Some(arch) => write!(f, "  ; {}", arch.short_name()),
                None => Ok(()),
            }
        }
        0x54 => write!(f, "and  {k:#x}"),
        0x00 => write!(f, "ld   #{k:#x}"),
        0x01 => write!(f, "ldx  #{k:#x}"),
        0x02 => write!(f, "st   M[{k}]"),
        0x03 => write!(f, "stx  M[{k}]"),
        0x60 => write!(f, "ld   M[{k}]"),
        0x61 => write!(f, "ldx  M[{k}]"),
        0x07 => write!(f, "tax"),
        0x87 => write!(f, "txa"),
        0x16 => write!(f, "ret  A"),
        code => write!(f, ".op  {code:#06x}, {}, {}, {k:#x}", i.jt, i.jf),
    }
}

/// Numbers of system calls are decimal in every table.
fn number(f: &mut impl fmt::Write, k: u32) -> fmt::Result {
    if k < 10_000 { write!(f, "{k}") } else { write!(f, "{k:#x}") }
}

fn load(f: &mut impl fmt::Write, offset: u32) -> fmt::Result {
    match offset {
        NR => f.write_str("ld   nr"),
        ARCH => f.write_str("ld   arch"),
        // Which half it is depends on the architecture's byte order.
        16..64 => write!(f, "ld   args[{}]+{}", (offset - 16) / 8, offset % 8),
        _ => write!(f, "ld   [{offset}]"),
    }
}
