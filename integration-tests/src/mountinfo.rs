//! `/proc/PID/mountinfo`, parsed (proc(5)).

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount id.
    pub id: u32,
    /// Id of the mount that it sits on.
    pub parent: u32,
    /// `major:minor` of the filesystem.
    pub device: String,
    /// The directory of the filesystem that is the mount's root.
    pub root: String,
    /// Where it is mounted.
    pub target: String,
    /// Per-mount options.
    pub options: Vec<String>,
    /// Optional fields: `shared:N`, `master:N`, `unbindable`.
    pub propagation: Vec<String>,
    /// Filesystem type.
    pub fstype: String,
    /// Mount source.
    pub source: String,
    /// Per-superblock options.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether the option is among the mount's own or its superblock's options.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.super_options).any(|o| o == option)
    }

    /// Whether the per-mount options hold it.
    pub fn own(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

/// Parses the whole text; lines that are not mountinfo are dropped.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

/// The mount that is visible at a path: the last one with this target.
pub fn at<'a>(mounts: &'a [Mount], target: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|m| m.target == target)
}

/// A path as it is on disk: blanks, line ends and backslashes are in octal in mountinfo.
pub fn unescape(path: &str) -> std::path::PathBuf {
    let mut text = path.to_owned();
    for (octal, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(octal, plain);
    }
    text.into()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut l = left.split(' ');
    let list = |s: &str| s.split(',').map(str::to_owned).collect::<Vec<_>>();
    let id = l.next()?.parse().ok()?;
    let parent = l.next()?.parse().ok()?;
    let device = l.next()?.to_owned();
    let root = l.next()?.to_owned();
    let target = l.next()?.to_owned();
    let options = list(l.next()?);
    let propagation = l.map(str::to_owned).collect();
    let mut r = right.split(' ');
    let fstype = r.next()?.to_owned();
    let source = r.next()?.to_owned();
    let super_options = list(r.next().unwrap_or(""));
    Some(Mount { id, parent, device, root, target, options, propagation, fstype, source, super_options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_with_propagation() {
        let m =
            &parse("36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue")
                [0];
        assert_eq!((m.id, m.parent, m.target.as_str()), (36, 35, "/mnt2"));
        assert_eq!(m.propagation, ["shared:1", "master:2"]);
        assert!(m.own("noatime") && m.has("errors=continue") && !m.own("errors=continue"));
    }
}
