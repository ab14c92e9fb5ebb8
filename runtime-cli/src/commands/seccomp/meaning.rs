//! Words for numbers of arguments that are often asked about, in both directions.

/// Names of bits or values of one argument of some calls.
struct Argument {
    calls: &'static [&'static str],
    index: usize,
    /// Several can be set at once.
    bits: bool,
    names: &'static [(&'static str, u64)],
}

const ARGUMENTS: [Argument; 3] = [
    Argument { calls: &["clone", "unshare"], index: 0, bits: true, names: NAMESPACES },
    Argument { calls: &["setns"], index: 1, bits: true, names: NAMESPACES },
    Argument { calls: &["socket", "socketpair"], index: 0, bits: false, names: FAMILIES },
];

/// linux/sched.h
const NAMESPACES: &[(&str, u64)] = &[
    ("CLONE_NEWTIME", 0x80),
    ("CLONE_NEWNS", 0x2_0000),
    ("CLONE_NEWCGROUP", 0x200_0000),
    ("CLONE_NEWUTS", 0x400_0000),
    ("CLONE_NEWIPC", 0x800_0000),
    ("CLONE_NEWUSER", 0x1000_0000),
    ("CLONE_NEWPID", 0x2000_0000),
    ("CLONE_NEWNET", 0x4000_0000),
];

/// linux/socket.h
const FAMILIES: &[(&str, u64)] = &[
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("AF_NETLINK", 16),
    ("AF_PACKET", 17),
    ("AF_CAN", 29),
    ("AF_BLUETOOTH", 31),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_XDP", 44),
];

/// What a number means as an argument of a call: `AF_ALG`, or `CLONE_NEWUSER|CLONE_NEWNS|0x11`.
pub fn words(call: &str, index: usize, value: u64) -> Option<String> {
    let argument = ARGUMENTS.iter().find(|a| a.index == index && a.calls.contains(&call))?;
    if !argument.bits {
        return argument.names.iter().find(|(_, n)| *n == value).map(|(name, _)| (*name).to_owned());
    }
    // The low byte of clone's flags is a signal; CLONE_NEWTIME is only for unshare.
    let is_signal = |bit: u64| call == "clone" && bit < 0x100;
    let set: Vec<_> = argument.names.iter().filter(|(_, bit)| value & bit != 0 && !is_signal(*bit)).collect();
    let rest = set.iter().fold(value, |rest, (_, bit)| rest & !bit);
    let mut words: Vec<String> = set.iter().map(|(name, _)| (*name).to_owned()).collect();
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    (!set.is_empty()).then(|| words.join("|"))
}

/// Reads an argument: a number, names, or both with `|` between; `_` is one that is not known.
pub fn value(text: &str) -> Option<Option<u64>> {
    if matches!(text, "_" | "?") {
        return Some(None);
    }
    text.split('|').map(one).try_fold(0, |all, part| Some(all | part?)).map(Some)
}

fn one(text: &str) -> Option<u64> {
    let known = NAMESPACES.iter().chain(FAMILIES).find(|(name, _)| *name == text);
    if let Some((_, value)) = known {
        return Some(*value);
    }
    match text.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => u64::from_str_radix(digits, 16).ok(),
        Some(("0o", digits)) => u64::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned)),
    }
}

#[cfg(test)]
mod tests {
    use super::{value, words};

    #[test]
    fn numbers_and_names() {
        assert_eq!(value("_"), Some(None));
        assert_eq!(value("38"), Some(Some(38)));
        assert_eq!(value("AF_ALG"), Some(Some(38)));
        assert_eq!(value("0x11|CLONE_NEWUSER"), Some(Some(0x1000_0011)));
        assert_eq!(value("-1"), Some(Some(u64::MAX)));
        assert_eq!(value("0o777"), Some(Some(0o777)));
        for wrong in ["", "x", "0x", "1|", "99999999999999999999999"] {
            assert_eq!(value(wrong), None, "{wrong}");
        }
        assert_eq!(words("clone", 0, 0x1002_0011).as_deref(), Some("CLONE_NEWNS|CLONE_NEWUSER|0x11"));
        assert_eq!(words("clone", 0, 0x91), None);
        assert_eq!(words("unshare", 0, 0x80).as_deref(), Some("CLONE_NEWTIME"));
        assert_eq!(words("socket", 0, 40).as_deref(), Some("AF_VSOCK"));
        assert_eq!(words("read", 0, 40), None);
    }
}
