//! How conditions and actions are written for people.

use std::fmt;

use crate::seccomp::{Action, Condition, Test};

use super::Verdict;

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arg = self.arg;
        match self.test {
            Test::Ne(v) => write!(f, "args[{arg}] != {}", Number(v)),
            Test::Lt(v) => write!(f, "args[{arg}] < {}", Number(v)),
            Test::Le(v) => write!(f, "args[{arg}] <= {}", Number(v)),
            Test::Eq(v) => write!(f, "args[{arg}] == {}", Number(v)),
            Test::Ge(v) => write!(f, "args[{arg}] >= {}", Number(v)),
            Test::Gt(v) => write!(f, "args[{arg}] > {}", Number(v)),
            Test::Masked { mask, value } => {
                write!(f, "args[{arg}] & {} == {}", Number(mask), Number(value))
            }
        }
    }
}

/// Small numbers are counts, large ones are bits.
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

/// As in `ALLOW if args[0] == 8, KILL_THREAD if args[0] > 9 and args[1] == 0, else ERRNO(1 EPERM)`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            write!(f, "{} if ", Named(case.action))?;
            for (i, condition) in case.conditions.iter().enumerate() {
                write!(f, "{}{condition}", if i == 0 { "" } else { " and " })?;
            }
            f.write_str(", ")?;
        }
        let otherwise = Named(self.otherwise);
        if self.cases.is_empty() { write!(f, "{otherwise}") } else { write!(f, "else {otherwise}") }
    }
}

/// An action with the name of its errno: `ERRNO(1 EPERM)`.
#[derive(Debug, Clone, Copy)]
pub struct Named(pub Action);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Errno(errno) => match errno_name(errno) {
                Some(name) => write!(f, "ERRNO({errno} {name})"),
                None => write!(f, "ERRNO({errno})"),
            },
            action => write!(f, "{action}"),
        }
    }
}

/// The symbol of an errno that profiles use. Those above 34 are other numbers on MIPS.
#[must_use]
pub fn errno_name(errno: u16) -> Option<&'static str> {
    const LOW: [&str; 35] = [
        "0", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
        "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR",
        "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS",
        "EMLINK", "EPIPE", "EDOM", "ERANGE",
    ];
    match errno {
        0 => None,
        35 => Some("EDEADLK"),
        36 => Some("ENAMETOOLONG"),
        38 => Some("ENOSYS"),
        61 => Some("ENODATA"),
        62 => Some("ETIME"),
        71 => Some("EPROTO"),
        75 => Some("EOVERFLOW"),
        92 => Some("ENOPROTOOPT"),
        93 => Some("EPROTONOSUPPORT"),
        95 => Some("EOPNOTSUPP"),
        97 => Some("EAFNOSUPPORT"),
        110 => Some("ETIMEDOUT"),
        111 => Some("ECONNREFUSED"),
        errno => LOW.get(usize::from(errno)).copied(),
    }
}

/// The number of an errno by its symbol, of those that profiles use.
#[must_use]
pub fn errno_by_name(name: &str) -> Option<u16> {
    (1..=200).find(|errno| errno_name(*errno) == Some(name))
}
