use crate::error::{ConfigError, FieldPath, Problem};

/// An architecture of the `linux.seccomp` section: one ABI of system calls.
///
/// Several may share one `AUDIT_ARCH_…` token ([`Arch::X86_64`] and [`Arch::X32`] do), and several may share one table
/// of system call numbers (the two endians of MIPS do).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are the documentation.
pub enum Arch {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64Le,
    S390,
    S390x,
    Riscv64,
    Loongarch64,
    Parisc,
    Parisc64,
    M68k,
    Sh,
    Sheb,
}

/// Every architecture that a filter can be compiled for, with its name in the specification and its audit token.
const ARCHES: [(&str, Arch, u32); 23] = [
    ("SCMP_ARCH_X86", Arch::X86, 0x4000_0003),
    ("SCMP_ARCH_X86_64", Arch::X86_64, 0xc000_003e),
    ("SCMP_ARCH_X32", Arch::X32, 0xc000_003e),
    ("SCMP_ARCH_ARM", Arch::Arm, 0x4000_0028),
    ("SCMP_ARCH_AARCH64", Arch::Aarch64, 0xc000_00b7),
    ("SCMP_ARCH_MIPS", Arch::Mips, 0x0000_0008),
    ("SCMP_ARCH_MIPS64", Arch::Mips64, 0x8000_0008),
    ("SCMP_ARCH_MIPS64N32", Arch::Mips64N32, 0xa000_0008),
    ("SCMP_ARCH_MIPSEL", Arch::Mipsel, 0x4000_0008),
    ("SCMP_ARCH_MIPSEL64", Arch::Mipsel64, 0xc000_0008),
    ("SCMP_ARCH_MIPSEL64N32", Arch::Mipsel64N32, 0xe000_0008),
    ("SCMP_ARCH_PPC", Arch::Ppc, 0x0000_0014),
    ("SCMP_ARCH_PPC64", Arch::Ppc64, 0x8000_0015),
    ("SCMP_ARCH_PPC64LE", Arch::Ppc64Le, 0xc000_0015),
    ("SCMP_ARCH_S390", Arch::S390, 0x0000_0016),
    ("SCMP_ARCH_S390X", Arch::S390x, 0x8000_0016),
    ("SCMP_ARCH_RISCV64", Arch::Riscv64, 0xc000_00f3),
    ("SCMP_ARCH_LOONGARCH64", Arch::Loongarch64, 0xc000_0102),
    ("SCMP_ARCH_PARISC", Arch::Parisc, 0x0000_000f),
    ("SCMP_ARCH_PARISC64", Arch::Parisc64, 0x8000_000f),
    ("SCMP_ARCH_M68K", Arch::M68k, 0x0000_0004),
    // The little-endian one (AUDIT_ARCH_SHEL): what libseccomp means by the name.
    ("SCMP_ARCH_SH", Arch::Sh, 0x4000_002a),
    ("SCMP_ARCH_SHEB", Arch::Sheb, 0x0000_002a),
];

/// `__AUDIT_ARCH_LE` of `<linux/audit.h>`.
const AUDIT_ARCH_LE: u32 = 0x4000_0000;

impl Arch {
    /// What this program was compiled for; `None` where no filter can be compiled.
    #[must_use]
    pub const fn native() -> Option<Arch> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Arch::X86)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else if cfg!(target_arch = "arm") {
            Some(Arch::Arm)
        } else if cfg!(target_arch = "riscv64") {
            Some(Arch::Riscv64)
        } else if cfg!(target_arch = "s390x") {
            Some(Arch::S390x)
        } else if cfg!(target_arch = "loongarch64") {
            Some(Arch::Loongarch64)
        } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
            Some(Arch::Ppc64Le)
        } else if cfg!(all(target_arch = "powerpc64", target_endian = "big")) {
            Some(Arch::Ppc64)
        } else if cfg!(target_arch = "powerpc") {
            Some(Arch::Ppc)
        } else if cfg!(all(target_arch = "mips64", target_endian = "little")) {
            Some(Arch::Mipsel64)
        } else if cfg!(all(target_arch = "mips64", target_endian = "big")) {
            Some(Arch::Mips64)
        } else if cfg!(all(target_arch = "mips", target_endian = "little")) {
            Some(Arch::Mipsel)
        } else if cfg!(all(target_arch = "mips", target_endian = "big")) {
            Some(Arch::Mips)
        } else {
            None
        }
    }

    /// Every architecture that a filter can be compiled for.
    pub fn all() -> impl Iterator<Item = Arch> {
        ARCHES.iter().map(|&(_, arch, _)| arch)
    }

    /// The name in the specification, such as `SCMP_ARCH_X86_64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ARCHES[self as usize].0
    }

    /// The name without its prefix, in small letters, such as `x86_64`.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Arch::X86 => "x86",
            Arch::X86_64 => "x86_64",
            Arch::X32 => "x32",
            Arch::Arm => "arm",
            Arch::Aarch64 => "aarch64",
            Arch::Mips => "mips",
            Arch::Mips64 => "mips64",
            Arch::Mips64N32 => "mips64n32",
            Arch::Mipsel => "mipsel",
            Arch::Mipsel64 => "mipsel64",
            Arch::Mipsel64N32 => "mipsel64n32",
            Arch::Ppc => "ppc",
            Arch::Ppc64 => "ppc64",
            Arch::Ppc64Le => "ppc64le",
            Arch::S390 => "s390",
            Arch::S390x => "s390x",
            Arch::Riscv64 => "riscv64",
            Arch::Loongarch64 => "loongarch64",
            Arch::Parisc => "parisc",
            Arch::Parisc64 => "parisc64",
            Arch::M68k => "m68k",
            Arch::Sh => "sh",
            Arch::Sheb => "sheb",
        }
    }

    /// The name that Go has for it, which engines' profiles use in `includes.arches`; x32 has none.
    #[must_use]
    pub fn go_name(self) -> &'static str {
        match self {
            Arch::X86 => "386",
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
            Arch::Mipsel64 => "mips64le",
            Arch::Mips64N32 => "mips64p32",
            Arch::Mipsel => "mipsle",
            Arch::Mipsel64N32 => "mips64p32le",
            Arch::Loongarch64 => "loong64",
            other => other.short_name(),
        }
    }

    /// The `AUDIT_ARCH_…` number that the kernel puts into `seccomp_data.arch`.
    #[must_use]
    pub fn token(self) -> u32 {
        ARCHES[self as usize].2
    }

    /// Whether its numbers begin with their low byte, also those of a filter in memory.
    #[must_use]
    pub fn is_little_endian(self) -> bool {
        self.token() & AUDIT_ARCH_LE != 0
    }

    /// The architecture of kernels that run programs of this one: its 64-bit relative, if there is one.
    #[must_use]
    pub fn machine(self) -> Arch {
        match self {
            Arch::X86 | Arch::X32 => Arch::X86_64,
            Arch::Arm => Arch::Aarch64,
            Arch::Mips | Arch::Mips64N32 => Arch::Mips64,
            Arch::Mipsel | Arch::Mipsel64N32 => Arch::Mipsel64,
            Arch::Ppc => Arch::Ppc64,
            Arch::S390 => Arch::S390x,
            Arch::Parisc => Arch::Parisc64,
            other => other,
        }
    }

    /// Reads an element of `linux.seccomp.architectures`.
    ///
    /// # Errors
    /// If it is not a name of the specification.
    pub fn parse(name: &str, at: &FieldPath) -> Result<Arch, ConfigError> {
        let known = ARCHES.iter().find(|(n, _, _)| *n == name).map(|&(_, arch, _)| arch);
        known.ok_or_else(|| {
            let expected = "a SCMP_ARCH_… name such as SCMP_ARCH_X86_64 or SCMP_ARCH_AARCH64";
            ConfigError::new(at.clone(), Problem::Unknown { value: name.to_string(), expected })
        })
    }

    /// Whether a kernel for `native` can run programs of this architecture. A filter has no code for others: the kernel
    /// cannot show it such a call.
    #[must_use]
    pub fn runs_on(self, native: Arch) -> bool {
        self.family() == native.family()
    }

    fn family(self) -> u8 {
        match self {
            Arch::X86 | Arch::X86_64 | Arch::X32 => 0,
            Arch::Arm | Arch::Aarch64 => 1,
            Arch::Mips | Arch::Mips64 | Arch::Mips64N32 => 2,
            Arch::Mipsel | Arch::Mipsel64 | Arch::Mipsel64N32 => 3,
            Arch::Ppc | Arch::Ppc64 => 4,
            Arch::Ppc64Le => 5,
            Arch::S390 | Arch::S390x => 6,
            Arch::Riscv64 => 7,
            Arch::Loongarch64 => 8,
            Arch::Parisc | Arch::Parisc64 => 9,
            Arch::M68k => 10,
            Arch::Sh => 11,
            Arch::Sheb => 12,
        }
    }

    /// Whether both halves of an argument count.
    ///
    /// On 32-bit ABIs only the low half does. The kernel does not promise that the high half is zero there: `int $0x80`
    /// from 64-bit code leaves the caller's bits in it and the kernel then drops them, so a filter that looked at them
    /// could be told a different number than the system call. n32 registers hold sign-extended 32-bit values. x32 is the
    /// exception among the ABIs with 32-bit pointers: its calls take whole registers.
    pub(super) fn wide(self) -> bool {
        !matches!(
            self,
            Arch::X86
                | Arch::Arm
                | Arch::Mips
                | Arch::Mipsel
                | Arch::Mips64N32
                | Arch::Mipsel64N32
                | Arch::Ppc
                | Arch::S390
                | Arch::Parisc
                | Arch::M68k
                | Arch::Sh
                | Arch::Sheb
        )
    }
}

/// Byte offset in `struct seccomp_data` of the low half of an argument; the high half is the other one of the pair.
pub(super) fn low_half(token: u32, arg: u8) -> u32 {
    let base = 16 + 8 * u32::from(arg);
    if token & AUDIT_ARCH_LE != 0 { base } else { base + 4 }
}

/// See [`low_half`].
pub(super) fn high_half(token: u32, arg: u8) -> u32 {
    low_half(token, arg) ^ 4
}
