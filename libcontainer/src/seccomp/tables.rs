//! System call numbers by name, for every architecture at once.
//!
//! One name is looked up once, and answers with its number on all architectures. The table is computed by the compiler
//! from the crate `syscalls`, with its mistakes corrected, three ABIs added that can be derived from their relatives, and
//! the lists of [`numbers`].
//! It is plain data without pointers, so a position-independent executable has nothing to relocate when it starts.

use syscalls::{aarch64, arm, loongarch64, mips, mips64, powerpc, powerpc64, riscv64, s390x, x86, x86_64};

use super::arch::Arch;
use super::numbers;

/// Columns, one for each distinct set of numbers.
const X86: usize = 0;
const X86_64: usize = 1;
const X32: usize = 2;
const ARM: usize = 3;
const AARCH64: usize = 4;
const MIPS: usize = 5;
const MIPS64: usize = 6;
const MIPS64N32: usize = 7;
const PPC: usize = 8;
const PPC64: usize = 9;
const S390: usize = 10;
const S390X: usize = 11;
const RISCV64: usize = 12;
const LOONGARCH64: usize = 13;
const PARISC: usize = 14;
const PARISC64: usize = 15;
const M68K: usize = 16;
const SH: usize = 17;
/// Not an architecture: the call's number behind `socketcall` or, with `IPC` added, behind `ipc`.
const MULTIPLEXED: usize = 18;
const COLUMNS: usize = 19;
const IPC: u16 = 0x100;

/// Room; the builder panics at compile time when it is too small.
const NAMES: usize = 560;
const TEXT: usize = 8192;
const SLOTS: usize = 2048;

/// Not a system call of that architecture.
const ABSENT: u16 = u16::MAX;
/// Set in every x32 number (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// First of the numbers that are private to ARM (`__ARM_NR_BASE`). In the table they are `ARM_PRIVATE_CODE` plus n.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;
const ARM_PRIVATE_CODE: u16 = 0xf000;

/// A name that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call(u16);

/// A system call that takes the number of another one as its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiplexer {
    Socketcall,
    Ipc,
}

impl Multiplexer {
    pub(super) fn nr(self, arch: Arch) -> Option<u32> {
        match self {
            Multiplexer::Socketcall => number_of(arch, "socketcall"),
            Multiplexer::Ipc => number_of(arch, "ipc"),
        }
    }
}

struct Tables {
    text: [u8; TEXT],
    /// Where the name of row i begins in `text`; it ends where the next begins.
    begins: [u16; NAMES + 1],
    numbers: [[u16; COLUMNS]; NAMES],
    rows: usize,
    /// Open addressing by the hash of the name; 0 is free, otherwise row + 1.
    slots: [u16; SLOTS],
}

static TABLES: Tables = build();

/// Finds a system call by name.
pub(super) fn lookup(name: &str) -> Option<Call> {
    match TABLES.find(name.as_bytes()) {
        Ok(row) => Some(Call(row)),
        Err(_) => None,
    }
}

/// The name of a system call number, if the architecture has it.
#[must_use]
pub fn name_of(arch: Arch, nr: u32) -> Option<&'static str> {
    (0..TABLES.rows as u16).map(Call).find(|call| call.nr(arch) == Some(nr)).map(Call::name)
}

/// The name of every system call of any architecture.
pub fn names() -> impl Iterator<Item = &'static str> {
    (0..TABLES.rows as u16).map(|row| Call(row).name())
}

/// Number and name of every system call of an architecture, by number.
#[must_use]
pub fn calls_of(arch: Arch) -> Vec<(u32, &'static str)> {
    let calls = (0..TABLES.rows as u16).map(Call);
    let mut calls: Vec<_> = calls.filter_map(|call| Some((call.nr(arch)?, call.name()))).collect();
    calls.sort_unstable();
    calls.dedup_by_key(|(nr, _)| *nr);
    calls
}

/// The number of a system call, if the architecture has it.
#[must_use]
pub fn number_of(arch: Arch, name: &str) -> Option<u32> {
    lookup(name)?.nr(arch)
}

impl Call {
    /// Its number there.
    pub(super) fn nr(self, arch: Arch) -> Option<u32> {
        let code = TABLES.numbers[usize::from(self.0)][column(arch)];
        match (code, arch) {
            (ABSENT, _) => None,
            (_, Arch::X32) => Some(u32::from(code) | X32_BIT),
            (ARM_PRIVATE_CODE.., _) => Some(u32::from(code - ARM_PRIVATE_CODE) + ARM_PRIVATE),
            _ => Some(u32::from(code)),
        }
    }

    /// How the call is made through `socketcall` or `ipc`, on architectures that have these.
    pub(super) fn multiplexed(self) -> Option<(Multiplexer, u8)> {
        match TABLES.numbers[usize::from(self.0)][MULTIPLEXED] {
            ABSENT => None,
            code if code < IPC => Some((Multiplexer::Socketcall, code as u8)),
            code => Some((Multiplexer::Ipc, (code - IPC) as u8)),
        }
    }

    pub(super) fn name(self) -> &'static str {
        let row = usize::from(self.0);
        let bytes = &TABLES.text[usize::from(TABLES.begins[row])..usize::from(TABLES.begins[row + 1])];
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

fn column(arch: Arch) -> usize {
    match arch {
        Arch::X86 => X86,
        Arch::X86_64 => X86_64,
        Arch::X32 => X32,
        Arch::Arm => ARM,
        Arch::Aarch64 => AARCH64,
        Arch::Mips | Arch::Mipsel => MIPS,
        Arch::Mips64 | Arch::Mipsel64 => MIPS64,
        Arch::Mips64N32 | Arch::Mipsel64N32 => MIPS64N32,
        Arch::Ppc => PPC,
        Arch::Ppc64 | Arch::Ppc64Le => PPC64,
        Arch::S390 => S390,
        Arch::S390x => S390X,
        Arch::Riscv64 => RISCV64,
        Arch::Loongarch64 => LOONGARCH64,
        Arch::Parisc => PARISC,
        Arch::Parisc64 => PARISC64,
        Arch::M68k => M68K,
        Arch::Sh | Arch::Sheb => SH,
    }
}

/// x32 has numbers of its own where a structure differs (arch/x86/entry/syscalls/syscall_64.tbl, 512 to 547).
const X32_OWN: [(&str, u16); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls of x86_64 that x32 does not have.
const X32_NONE: [&str; 11] = [
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uselib",
    "vserver",
];

/// System calls that only 32-bit architectures have, at the same number everywhere (403 to 423). The crate `syscalls`
/// lists them for aarch64 and loongarch64 too.
const TIME64: [(&str, u16); 20] = [
    ("clock_gettime64", 403),
    ("clock_settime64", 404),
    ("clock_adjtime64", 405),
    ("clock_getres_time64", 406),
    ("clock_nanosleep_time64", 407),
    ("timer_gettime64", 408),
    ("timer_settime64", 409),
    ("timerfd_gettime64", 410),
    ("timerfd_settime64", 411),
    ("utimensat_time64", 412),
    ("pselect6_time64", 413),
    ("ppoll_time64", 414),
    ("io_pgetevents_time64", 416),
    ("recvmmsg_time64", 417),
    ("mq_timedsend_time64", 418),
    ("mq_timedreceive_time64", 419),
    ("semtimedop_time64", 420),
    ("rt_sigtimedwait_time64", 421),
    ("futex_time64", 422),
    ("sched_rr_get_interval_time64", 423),
];

/// Where 31-bit s390 differs from s390x (arch/s390/kernel/syscalls/syscall.tbl of Linux 6.18; removed in 6.19).
const S390_OWN: [(&str, u16); 54] = [
    ("time", 13),
    ("lchown", 16),
    ("setuid", 23),
    ("getuid", 24),
    ("stime", 25),
    ("setgid", 46),
    ("getgid", 47),
    ("geteuid", 49),
    ("getegid", 50),
    ("setreuid", 70),
    ("setregid", 71),
    ("getrlimit", 76),
    ("getgroups", 80),
    ("setgroups", 81),
    ("fchown", 95),
    ("ioperm", 101),
    ("setfsuid", 138),
    ("setfsgid", 139),
    ("_llseek", 140),
    ("_newselect", 142),
    ("setresuid", 164),
    ("getresuid", 165),
    ("setresgid", 170),
    ("getresgid", 171),
    ("chown", 182),
    ("ugetrlimit", 191),
    ("mmap2", 192),
    ("truncate64", 193),
    ("ftruncate64", 194),
    ("stat64", 195),
    ("lstat64", 196),
    ("fstat64", 197),
    ("lchown32", 198),
    ("getuid32", 199),
    ("getgid32", 200),
    ("geteuid32", 201),
    ("getegid32", 202),
    ("setreuid32", 203),
    ("setregid32", 204),
    ("getgroups32", 205),
    ("setgroups32", 206),
    ("fchown32", 207),
    ("setresuid32", 208),
    ("getresuid32", 209),
    ("setresgid32", 210),
    ("getresgid32", 211),
    ("chown32", 212),
    ("setuid32", 213),
    ("setgid32", 214),
    ("setfsuid32", 215),
    ("setfsgid32", 216),
    ("fcntl64", 221),
    ("sendfile64", 223),
    ("fadvise64_64", 264),
];

/// Calls of mips n32 that n64 does not have (arch/mips/kernel/syscalls/syscall_n32.tbl).
const N32_OWN: [(&str, u16); 5] =
    [("fcntl64", 6212), ("statfs64", 6217), ("fstatfs64", 6218), ("sendfile64", 6219), ("getdents64", 6299)];

/// `__ARM_NR_…` of arch/arm/include/uapi/asm/unistd.h.
const ARM_OWN: [(&str, u16); 6] =
    [("breakpoint", 1), ("cacheflush", 2), ("usr26", 3), ("usr32", 4), ("set_tls", 5), ("get_tls", 6)];

/// `SYS_…` of `<linux/net.h>`.
const SOCKETCALLS: [(&str, u16); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The calls of `<linux/ipc.h>`.
const IPCS: [(&str, u16); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The number on n32 of the call that has the number `n64`: the same order, with some calls inserted.
const fn n32_of(n64: u16) -> u16 {
    let n = n64 - 5000;
    6000 + match n {
        0..=211 => n,
        212..=215 => n + 1,
        216..=294 => n + 4,
        295..=307 => n + 5,
        308..=332 => n + 4,
        _ => n,
    }
}

macro_rules! column_of {
    ($tables:ident, $column:ident, $module:ident) => {
        let mut id = $module::Sysno::first().id();
        while id <= $module::Sysno::last().id() {
            if let Some(call) = $module::Sysno::new(id as usize) {
                $tables.set(call.name().as_bytes(), $column, id as u16);
            }
            id += 1;
        }
    };
}

const fn build() -> Tables {
    let mut tables = Tables {
        text: [0; TEXT],
        begins: [0; NAMES + 1],
        numbers: [[ABSENT; COLUMNS]; NAMES],
        rows: 0,
        slots: [0; SLOTS],
    };
    column_of!(tables, X86, x86);
    column_of!(tables, X86_64, x86_64);
    column_of!(tables, ARM, arm);
    column_of!(tables, AARCH64, aarch64);
    column_of!(tables, MIPS, mips);
    column_of!(tables, MIPS64, mips64);
    column_of!(tables, PPC, powerpc);
    column_of!(tables, PPC64, powerpc64);
    column_of!(tables, S390X, s390x);
    column_of!(tables, RISCV64, riscv64);
    column_of!(tables, LOONGARCH64, loongarch64);
    tables.read(numbers::PARISC, PARISC);
    tables.read(numbers::M68K, M68K);
    tables.read(numbers::SH, SH);
    tables.correct();
    tables.derive();
    tables
}

impl Tables {
    /// Puts right where the crate `syscalls` differs from the kernel's headers.
    const fn correct(&mut self) {
        let mut i = 0;
        while i < TIME64.len() {
            self.set(TIME64[i].0.as_bytes(), AARCH64, ABSENT);
            self.set(TIME64[i].0.as_bytes(), LOONGARCH64, ABSENT);
            i += 1;
        }
        // `__NR3264_fstatat` of asm-generic is `newfstatat` where pointers have 64 bits.
        self.set(b"fstatat", AARCH64, ABSENT);
        self.set(b"newfstatat", AARCH64, 79);
        self.set(b"fstatat", LOONGARCH64, ABSENT);
        self.set(b"newfstatat", LOONGARCH64, 79);
        self.set(b"getrlimit", LOONGARCH64, ABSENT);
        self.set(b"setrlimit", LOONGARCH64, ABSENT);
        self.set(b"renameat", LOONGARCH64, ABSENT);
        self.set(b"memfd_secret", LOONGARCH64, ABSENT);
        self.set(b"set_mempolicy_home_node", MIPS64, 5450);
        let mut i = 0;
        while i < ARM_OWN.len() {
            self.set(ARM_OWN[i].0.as_bytes(), ARM, ARM_PRIVATE_CODE + ARM_OWN[i].1);
            i += 1;
        }
    }

    /// Adds a list of [`numbers`].
    const fn read(&mut self, list: &[u8], column: usize) {
        let mut nr = 0;
        let mut rest = list.trim_ascii();
        while !rest.is_empty() {
            let mut end = 0;
            while end < rest.len() && !rest[end].is_ascii_whitespace() {
                end += 1;
            }
            let (word, after) = rest.split_at(end);
            rest = after.trim_ascii_start();
            if word[0].is_ascii_digit() {
                let before = nr;
                nr = decimal(word);
                assert!(nr > before);
            } else {
                self.set(word, column, nr);
                nr += 1;
            }
        }
    }

    /// Adds x32, 31-bit s390, mips n32 and 64-bit parisc, and what is newer than the lists.
    const fn derive(&mut self) {
        let mut row = 0;
        while row < self.rows {
            let numbers = self.numbers[row];
            self.numbers[row][X32] = numbers[X86_64];
            self.numbers[row][S390] = numbers[S390X];
            if numbers[MIPS64] != ABSENT {
                self.numbers[row][MIPS64N32] = n32_of(numbers[MIPS64]);
            }
            if numbers[X86_64] != ABSENT && numbers[X86_64] > numbers::NEWEST {
                self.numbers[row][PARISC] = numbers[X86_64];
                self.numbers[row][M68K] = numbers[X86_64];
                self.numbers[row][SH] = numbers[X86_64];
            }
            self.numbers[row][PARISC64] = self.numbers[row][PARISC];
            row += 1;
        }
        self.set_all(&SOCKETCALLS, MULTIPLEXED, 0);
        self.set_all(&IPCS, MULTIPLEXED, IPC);
        self.set_all(&X32_OWN, X32, 0);
        let mut i = 0;
        while i < X32_NONE.len() {
            self.set(X32_NONE[i].as_bytes(), X32, ABSENT);
            i += 1;
        }
        self.set_all(&S390_OWN, S390, 0);
        self.set(b"fstatat64", S390, 293);
        self.set(b"newfstatat", S390, ABSENT);
        self.set(b"select", S390, ABSENT);
        self.set(b"semtimedop", S390, ABSENT);
        self.set_all(&TIME64, S390, 0);
        self.set_all(&N32_OWN, MIPS64N32, 0);
        self.set_all(&TIME64, MIPS64N32, 6000);
        let mut i = 0;
        while i < TIME64.len() {
            self.set(TIME64[i].0.as_bytes(), PARISC64, ABSENT);
            i += 1;
        }
    }

    const fn set_all(&mut self, list: &[(&str, u16)], column: usize, base: u16) {
        let mut i = 0;
        while i < list.len() {
            self.set(list[i].0.as_bytes(), column, base + list[i].1);
            i += 1;
        }
    }

    const fn set(&mut self, name: &[u8], column: usize, nr: u16) {
        let row = match self.find(name) {
            Ok(row) => row as usize,
            Err(slot) => self.insert(name, slot),
        };
        self.numbers[row][column] = nr;
    }

    const fn insert(&mut self, name: &[u8], slot: usize) -> usize {
        let skip = raw_prefix(name);
        let row = self.rows;
        let begin = self.begins[row] as usize;
        let mut i = skip;
        while i < name.len() {
            self.text[begin + i - skip] = name[i];
            i += 1;
        }
        self.rows = row + 1;
        self.begins[row + 1] = (begin + name.len() - skip) as u16;
        self.slots[slot] = (row + 1) as u16;
        row
    }

    /// The row of a name, or the slot where it belongs.
    const fn find(&self, name: &[u8]) -> Result<u16, usize> {
        let mut slot = hash(name) % SLOTS;
        while self.slots[slot] != 0 {
            let row = self.slots[slot] - 1;
            if self.is(row as usize, name) {
                return Ok(row);
            }
            slot = (slot + 1) % SLOTS;
        }
        Err(slot)
    }

    const fn is(&self, row: usize, name: &[u8]) -> bool {
        let skip = raw_prefix(name);
        let begin = self.begins[row] as usize;
        if self.begins[row + 1] as usize - begin != name.len() - skip {
            return false;
        }
        let mut i = skip;
        while i < name.len() {
            if self.text[begin + i - skip] != name[i] {
                return false;
            }
            i += 1;
        }
        true
    }
}

const fn decimal(digits: &[u8]) -> u16 {
    let mut number = 0;
    let mut i = 0;
    while i < digits.len() {
        number = number * 10 + (digits[i] - b'0') as u16;
        i += 1;
    }
    number
}

/// FNV-1a.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = raw_prefix(name);
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ (hash >> 15)) as usize
}

/// The crate `syscalls` stringifies a raw identifier for `break`; no system call is named so otherwise.
const fn raw_prefix(name: &[u8]) -> usize {
    if name.len() > 2 && name[0] == b'r' && name[1] == b'#' { 2 } else { 0 }
}
