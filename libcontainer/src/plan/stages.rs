//! How many processes it takes, and which of them enters or makes which namespace: a pure function over the
//! namespaces and who the runtime is.

use crate::config::NamespaceKind;
use crate::validate::Namespaces;

/// What has to be done about namespaces before the container's process carries out the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages {
    /// Whether an intermediate process has to do the joining.
    pub usher: bool,
    /// Namespaces to join, in order.
    pub joins: Vec<NamespaceKind>,
    /// `CLONE_NEW*` of the container's process.
    pub clone_flags: u64,
    /// Whether the parent has to write id mappings.
    pub mappings: bool,
    /// Whether the process makes its time namespace by itself, because the clocks have to be set before it is in there.
    pub clocks: bool,
    /// Whether the process is to become id 0 of a user namespace.
    pub become_root: bool,
    /// `CLONE_NEW*` that are unshared later: the cgroup namespace, when the process is in its cgroup; and in a user
    /// namespace the ipc namespace, whose filesystem belongs to whoever makes it, and the network namespace, whose files
    /// in sysfs belong to what is id 0 of the user namespace at that moment.
    pub unshare_later: u32,
}

/// The kernel's number of a kind of namespace.
#[must_use]
pub fn clone_flag(kind: NamespaceKind) -> u32 {
    match kind {
        NamespaceKind::User => 0x1000_0000,
        NamespaceKind::Pid => 0x2000_0000,
        NamespaceKind::Network => 0x4000_0000,
        NamespaceKind::Mount => 0x0002_0000,
        NamespaceKind::Ipc => 0x0800_0000,
        NamespaceKind::Uts => 0x0400_0000,
        NamespaceKind::Cgroup => 0x0200_0000,
        NamespaceKind::Time => 0x0000_0080,
    }
}

/// The kernel's numbers of all kinds that the container has of its own or joins.
#[must_use]
pub fn clone_flags(namespaces: &Namespaces<'_>) -> u32 {
    namespaces.iter().map(|(kind, _)| clone_flag(kind)).fold(0, |all, flag| all | flag)
}

/// In this order: the ones that a privileged runtime may enter although another user namespace owns the rest, and the
/// mount namespace after those, because it takes the runtime's paths away. The user namespace comes when the others
/// that fail without it have been put off; see the usher.
const JOIN_ORDER: [NamespaceKind; 8] = [
    NamespaceKind::Network,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Cgroup,
    NamespaceKind::Pid,
    NamespaceKind::Time,
    NamespaceKind::User,
    NamespaceKind::Mount,
];

/// Decides the stages; `offsets` is whether clocks are set off (`linux.timeOffsets`), and `devices` whether the parent moves
/// some into the network namespace (`linux.netDevices`), which has to be there for that.
#[must_use]
pub fn stages(namespaces: &Namespaces<'_>, offsets: bool, devices: bool) -> Stages {
    use NamespaceKind::{Cgroup, Ipc, Network, Pid, Time, User};
    let joins: Vec<NamespaceKind> =
        JOIN_ORDER.into_iter().filter(|kind| namespaces.joins(*kind).is_some()).collect();
    let new_user = namespaces.creates(User);
    let become_root = new_user || namespaces.joins(User).is_some();
    let late = |kind| match kind {
        Cgroup => true,
        Ipc => become_root,
        Network => new_user && !devices,
        _ => false,
    };
    let clocks = offsets && namespaces.creates(Time);
    let flags = |later: bool| {
        let made = namespaces.iter().filter(|(kind, path)| path.is_none() && late(*kind) == later);
        let made = made.filter(|(kind, _)| !(clocks && *kind == Time));
        made.map(|(kind, _)| clone_flag(kind)).fold(0, |all, flag| all | flag)
    };
    // Entering a pid or time namespace only affects children. What is made has to belong to the user namespace that is
    // entered; and what is entered may belong to the one that is left.
    let usher = joins.iter().any(|kind| matches!(kind, Pid | Time | User)) || (new_user && !joins.is_empty());
    Stages {
        usher,
        joins,
        clone_flags: u64::from(flags(false)),
        mappings: new_user,
        clocks,
        become_root,
        unshare_later: flags(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [NamespaceKind; 8] = JOIN_ORDER;

    /// Every way to leave out, create or join each of the eight kinds, 3^8; and each of them with offsets and without.
    fn every_stages() -> impl Iterator<Item = (Vec<(NamespaceKind, Option<&'static str>)>, Stages)> {
        every_combination().flat_map(|entries| {
            let spaces = Namespaces::new(entries.clone());
            [false, true].map(|both| (entries.clone(), stages(&spaces, both, both)))
        })
    }

    fn every_combination() -> impl Iterator<Item = Vec<(NamespaceKind, Option<&'static str>)>> {
        (0..3usize.pow(8)).map(|n| {
            let choice = |i: usize| n / 3usize.pow(u32::try_from(i).unwrap()) % 3;
            let entry = |(i, kind): (usize, &NamespaceKind)| match choice(i) {
                0 => None,
                1 => Some((*kind, None)),
                _ => Some((*kind, Some("/ns"))),
            };
            ALL.iter().enumerate().filter_map(entry).collect()
        })
    }

    #[test]
    fn every_namespace_is_made_or_entered_exactly_once() {
        for (entries, stages) in every_stages() {
            let clocks = if stages.clocks { clone_flag(NamespaceKind::Time) } else { 0 };
            for (kind, path) in &entries {
                let flags = [stages.clone_flags, u64::from(stages.unshare_later), u64::from(clocks)];
                let made = flags.iter().filter(|f| **f & u64::from(clone_flag(*kind)) != 0).count();
                let entered = stages.joins.iter().filter(|k| *k == kind).count();
                let expected = (usize::from(path.is_none()), usize::from(path.is_some()));
                assert_eq!((made, entered), expected, "{entries:?}");
            }
            let flags: u64 = ALL.iter().map(|k| u64::from(clone_flag(*k))).sum();
            assert_eq!(stages.clone_flags & !flags, 0);
        }
    }

    #[test]
    fn an_usher_exactly_where_the_kernel_demands_one() {
        use NamespaceKind::{Pid, Time, User};
        for (entries, stages) in every_stages() {
            let spaces = Namespaces::new(entries.clone());
            let demanded = [Pid, Time, User].iter().any(|k| spaces.joins(*k).is_some())
                || (spaces.creates(User) && entries.iter().any(|(_, path)| path.is_some()));
            assert_eq!(stages.usher, demanded, "{entries:?}");
        }
    }

    #[test]
    fn clocks_are_set_in_a_namespace_that_is_made() {
        for entries in every_combination() {
            let spaces = Namespaces::new(entries);
            assert_eq!(stages(&spaces, true, false).clocks, spaces.creates(NamespaceKind::Time));
            assert!(!stages(&spaces, false, false).clocks);
        }
    }

    #[test]
    fn a_network_of_its_own_owner_waits_for_that_one() {
        use NamespaceKind::{Network, User};
        let made = Namespaces::new(vec![(Network, None), (User, None)]);
        let network = clone_flag(Network);
        assert_eq!(stages(&made, false, false).unshare_later, network);
        assert_eq!(stages(&made, false, true).clone_flags & u64::from(network), u64::from(network));
        for others in [vec![(Network, None)], vec![(Network, None), (User, Some("/ns"))]] {
            assert_eq!(stages(&Namespaces::new(others), false, false).clone_flags, u64::from(network));
        }
    }

    #[test]
    fn the_cgroup_namespace_is_never_made_by_clone() {
        for (_, stages) in every_stages() {
            assert_eq!(stages.clone_flags & u64::from(clone_flag(NamespaceKind::Cgroup)), 0);
        }
    }
}
