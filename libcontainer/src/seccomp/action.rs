use std::fmt;

/// What the kernel does with a system call: the value that a filter returns (`SECCOMP_RET_…`, seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// `SCMP_ACT_KILL_PROCESS`: the process dies of SIGSYS.
    KillProcess,
    /// `SCMP_ACT_KILL_THREAD`, also spelled `SCMP_ACT_KILL`: the thread dies of SIGSYS.
    KillThread,
    /// `SCMP_ACT_TRAP`: the thread gets SIGSYS and may handle it.
    Trap,
    /// `SCMP_ACT_ERRNO`: the call fails with this errno.
    Errno(u16),
    /// `SCMP_ACT_NOTIFY`: an agent decides.
    Notify,
    /// `SCMP_ACT_TRACE`: a ptrace(2) tracer decides and gets this number; without one the call fails with ENOSYS.
    Trace(u16),
    /// `SCMP_ACT_LOG`: goes through, and is written to the audit log.
    Log,
    /// `SCMP_ACT_ALLOW`: goes through.
    Allow,
}

/// The greatest errno that a filter can return (`MAX_ERRNO`); the kernel would silently lower a greater one.
pub const MAX_ERRNO: u32 = 4095;

impl Action {
    /// The return value of the filter.
    #[must_use]
    pub const fn to_ret(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | errno as u32,
            Action::Notify => 0x7fc0_0000,
            Action::Trace(data) => 0x7ff0_0000 | data as u32,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// What the kernel makes of a return value. One that it does not know kills the process.
    #[must_use]
    pub const fn from_ret(ret: u32) -> Action {
        let data = (ret & 0xffff) as u16;
        match ret & 0xffff_0000 {
            0 => Action::KillThread,
            0x0003_0000 => Action::Trap,
            0x0005_0000 => Action::Errno(data),
            0x7fc0_0000 => Action::Notify,
            0x7ff0_0000 => Action::Trace(data),
            0x7ffc_0000 => Action::Log,
            0x7fff_0000 => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// Whether the call can go through without anybody's help.
    #[must_use]
    pub const fn permits(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::KillProcess => f.write_str("KILL_PROCESS"),
            Action::KillThread => f.write_str("KILL_THREAD"),
            Action::Trap => f.write_str("TRAP"),
            Action::Errno(errno) => write!(f, "ERRNO({errno})"),
            Action::Notify => f.write_str("NOTIFY"),
            Action::Trace(data) => write!(f, "TRACE({data})"),
            Action::Log => f.write_str("LOG"),
            Action::Allow => f.write_str("ALLOW"),
        }
    }
}
