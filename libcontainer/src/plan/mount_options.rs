//! The one table of mount options (config.md#linux-mount-options). The compiler of the plan, the features document and
//! the tests read it; nobody keeps another list.

use corten_init::SourceLink;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

const MS_UNBINDABLE: u32 = 1 << 17;
const MS_PRIVATE: u32 = 1 << 18;
const MS_SLAVE: u32 = 1 << 19;
const MS_SHARED: u32 = 1 << 20;
const MS_REC: u32 = 1 << 14;

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `MOUNT_ATTR_*` of this mount; and the flag of its superblock, if there is one (not for binds).
    Attr {
        /// To set.
        set: u64,
        /// To clear.
        clear: u64,
        /// `ro` or `rw` of the superblock.
        superblock: Option<&'static str>,
    },
    /// `MOUNT_ATTR_*` of this mount and all below it (Linux 5.12).
    Recursive {
        /// To set.
        set: u64,
        /// To clear.
        clear: u64,
    },
    /// `MS_SHARED` and kin, perhaps with `MS_REC`.
    Propagation(u32),
    /// A bind, with everything below or without.
    Bind {
        /// `rbind`.
        recursive: bool,
    },
    /// Change what is mounted there.
    Remount,
    /// A flag of the superblock.
    Superblock(&'static str),
    /// Accepted, and nothing to do on this kernel interface.
    Nothing,
    /// An id mapping of this mount.
    IdMap {
        /// `ridmap`.
        recursive: bool,
    },
    /// What becomes of a bind's source that is a symbolic link.
    SourceLink(SourceLink),
    /// Mount over a symbolic link in the place of the target.
    CoverTarget,
    /// Copy what the mount covers into the new tmpfs.
    CopyUp,
}

const fn set(set: u64) -> Effect {
    Effect::Attr { set, clear: 0, superblock: None }
}

const fn clear(clear: u64) -> Effect {
    Effect::Attr { set: 0, clear, superblock: None }
}

const fn atime(set: u64) -> Effect {
    Effect::Attr { set, clear: ATIME, superblock: None }
}

const fn rset(set: u64) -> Effect {
    Effect::Recursive { set, clear: 0 }
}

const fn rclear(clear: u64) -> Effect {
    Effect::Recursive { set: 0, clear }
}

const fn ratime(set: u64) -> Effect {
    Effect::Recursive { set, clear: ATIME }
}

/// Sorted by name. As for mount(8), `atime` takes back `noatime` and nothing else, and likewise the other negations;
/// relatime is what is left when nothing is asked for.
const TABLE: &[(&str, Effect)] = &[
    ("async", Effect::Superblock("async")),
    ("atime", clear(NOATIME)),
    ("bind", Effect::Bind { recursive: false }),
    ("copy-symlink", Effect::SourceLink(SourceLink::Copy)),
    ("defaults", Effect::Nothing),
    ("dest-nofollow", Effect::CoverTarget),
    ("dev", clear(NODEV)),
    ("diratime", clear(NODIRATIME)),
    ("dirsync", Effect::Superblock("dirsync")),
    ("exec", clear(NOEXEC)),
    ("idmap", Effect::IdMap { recursive: false }),
    ("iversion", Effect::Nothing),
    ("lazytime", Effect::Superblock("lazytime")),
    ("loud", Effect::Nothing),
    ("mand", Effect::Nothing),
    ("noatime", atime(NOATIME)),
    ("nodev", set(NODEV)),
    ("nodiratime", set(NODIRATIME)),
    ("noexec", set(NOEXEC)),
    ("noiversion", Effect::Nothing),
    ("nolazytime", Effect::Superblock("nolazytime")),
    ("nomand", Effect::Nothing),
    ("norelatime", Effect::Nothing),
    ("nostrictatime", clear(STRICTATIME)),
    ("nosuid", set(NOSUID)),
    ("nosymfollow", set(NOSYMFOLLOW)),
    ("private", Effect::Propagation(MS_PRIVATE)),
    ("ratime", ratime(0)),
    ("rbind", Effect::Bind { recursive: true }),
    ("rdev", rclear(NODEV)),
    ("rdiratime", rclear(NODIRATIME)),
    ("relatime", atime(0)),
    ("remount", Effect::Remount),
    ("rexec", rclear(NOEXEC)),
    ("ridmap", Effect::IdMap { recursive: true }),
    ("rnoatime", ratime(NOATIME)),
    ("rnodev", rset(NODEV)),
    ("rnodiratime", rset(NODIRATIME)),
    ("rnoexec", rset(NOEXEC)),
    ("rnorelatime", ratime(0)),
    ("rnostrictatime", ratime(0)),
    ("rnosuid", rset(NOSUID)),
    ("rnosymfollow", rset(NOSYMFOLLOW)),
    ("ro", Effect::Attr { set: RDONLY, clear: 0, superblock: Some("ro") }),
    ("rprivate", Effect::Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", ratime(0)),
    ("rro", rset(RDONLY)),
    ("rrw", rclear(RDONLY)),
    ("rshared", Effect::Propagation(MS_SHARED | MS_REC)),
    ("rslave", Effect::Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", ratime(STRICTATIME)),
    ("rsuid", rclear(NOSUID)),
    ("rsymfollow", rclear(NOSYMFOLLOW)),
    ("runbindable", Effect::Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", Effect::Attr { set: 0, clear: RDONLY, superblock: Some("rw") }),
    ("shared", Effect::Propagation(MS_SHARED)),
    ("silent", Effect::Nothing),
    ("slave", Effect::Propagation(MS_SLAVE)),
    ("src-nofollow", Effect::SourceLink(SourceLink::Bind)),
    ("strictatime", atime(STRICTATIME)),
    ("suid", clear(NOSUID)),
    ("symfollow", clear(NOSYMFOLLOW)),
    ("sync", Effect::Superblock("sync")),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Effect::Propagation(MS_UNBINDABLE)),
];

/// What an option does; none if it is data for the filesystem.
#[must_use]
pub fn effect(option: &str) -> Option<Effect> {
    TABLE.binary_search_by_key(&option, |(name, _)| name).ok().map(|i| TABLE[i].1)
}

/// Every option of the table, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Flags of `linux.rootfsPropagation`, as for mount(2).
#[must_use]
pub fn propagation(word: &str) -> Option<u32> {
    match effect(word) {
        Some(Effect::Propagation(flags)) => Some(flags),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_duplicates() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        let spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
                    nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
                    ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime \
                    rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
                    rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable \
                    idmap ridmap rnodev";
        let missing: Vec<&str> = spec.split_whitespace().filter(|o| effect(o).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn whatever_is_not_in_the_table_is_data() {
        assert_eq!(effect("size=64k"), None);
        assert_eq!(effect("mode=755"), None);
    }

    #[test]
    fn setting_an_atime_mode_clears_the_others() {
        for name in ["noatime", "strictatime", "relatime"] {
            assert!(matches!(effect(name), Some(Effect::Attr { clear: ATIME, .. })), "{name}");
        }
    }
}
