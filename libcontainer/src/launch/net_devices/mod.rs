//! Devices of the host that move into the container (config-linux.md#network-devices).
//!
//! The runtime does this from outside, with one socket in each of the two network namespaces: the container's process
//! need not hold rights over the network for it. A device keeps its name or gets another, keeps its properties because
//! the kernel keeps them, and gets its lasting global addresses back, which the kernel drops when it takes a device down.
//! What becomes of it in there is the container's business; at `delete` the kernel returns a physical device, and
//! removes a virtual one.

mod netlink;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::config::NetDevice;
use crate::error::Strerror;
use netlink::{Address, Link, Netlink};

/// Why a device could not be moved. The device is the host's again by then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetDeviceError {
    /// There is no such device.
    #[error("linux.netDevices.{device}: the runtime's network namespace has no such device")]
    Missing {
        /// Its name outside.
        device: String,
    },
    /// Its name inside is another device's.
    #[error("linux.netDevices.{device}: the container's network namespace has a device {name:?} already")]
    Taken {
        /// Its name outside.
        device: String,
        /// Its name inside.
        name: String,
    },
    /// The container has the runtime's network namespace.
    #[error("linux.netDevices: the container's network namespace is the runtime's own")]
    SameNamespace,
    /// A network namespace could not be asked.
    #[error("linux.netDevices: {doing}: {}", Strerror(source))]
    Namespace {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a step.
    #[error("linux.netDevices.{device}: {doing}: {}{}", Strerror(source), hint(source))]
    Refused {
        /// Its name outside.
        device: String,
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EINVAL) => " (a device such as lo or a bridge stays in its namespace)",
        Some(libc::EPERM) => " (this needs CAP_NET_ADMIN in both network namespaces)",
        _ => "",
    }
}

type Result<T> = std::result::Result<T, NetDeviceError>;

/// Devices that have been moved; dropped once the container exists.
pub(crate) struct NetDevices {
    here: Netlink,
    there: Netlink,
    /// The runtime's network namespace.
    own: OwnedFd,
    theirs: OwnedFd,
    moved: Vec<Moved>,
}

struct Moved {
    /// As it was here.
    link: Link,
    addresses: Vec<Address>,
    /// Its index there.
    index: u32,
}

impl NetDevices {
    /// Moves all of them into the namespace. If one fails, those before it are moved back.
    pub fn move_into(theirs: OwnedFd, devices: &BTreeMap<String, NetDevice>) -> Result<NetDevices> {
        let asking = |doing| move |source| NetDeviceError::Namespace { doing, source };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty());
        let own = own.map_err(|e| asking("open /proc/thread-self/ns/net")(e.into()))?;
        if is_same(own.as_fd(), theirs.as_fd()).map_err(asking("fstat"))? {
            return Err(NetDeviceError::SameNamespace);
        }
        let here = Netlink::open().map_err(asking("open a netlink socket"))?;
        let there = socket_in(theirs.as_fd());
        let there = there.map_err(asking("open a netlink socket in the container's network namespace"))?;
        let mut all = NetDevices { here, there, own, theirs, moved: Vec::new() };
        for (name, device) in devices {
            let inside = device.name.as_deref().filter(|inside| !inside.is_empty()).unwrap_or(name);
            if let Err(error) = all.move_one(name, inside) {
                all.give_back();
                return Err(error);
            }
        }
        Ok(all)
    }

    fn move_one(&mut self, device: &str, inside: &str) -> Result<()> {
        let refused = |doing| {
            let device = device.to_owned();
            move |source| NetDeviceError::Refused { device, doing, source }
        };
        let links = self.here.links().map_err(refused("list devices"))?;
        let Some(link) = links.into_iter().find(|link| link.name == device) else {
            return Err(NetDeviceError::Missing { device: device.to_owned() });
        };
        let before = self.there.links().map_err(refused("list devices"))?;
        // The kernel would move the device first, and only then find that it cannot be renamed.
        if before.iter().any(|other| other.name == inside) {
            return Err(NetDeviceError::Taken { device: device.to_owned(), name: inside.to_owned() });
        }
        let addresses = self.here.addresses(link.index).map_err(refused("list addresses"))?;
        let done = self.here.move_link(link.index, self.theirs.as_fd(), inside);
        // It may have got another index, and where the name is a template such as `eth%d` the kernel has chosen it.
        let after = self.there.links().map_err(refused("list devices"))?;
        let arrived = after.into_iter().find(|new| before.iter().all(|old| old.index != new.index));
        if let Some(new) = arrived {
            self.moved.push(Moved { link, addresses: addresses.clone(), index: new.index });
        }
        done.map_err(refused("move to the container's network namespace"))?;
        let Some(Moved { index, .. }) = self.moved.last() else {
            return Err(NetDeviceError::Missing { device: device.to_owned() });
        };
        for address in &addresses {
            self.there.add_address(*index, address).map_err(refused("keep an address"))?;
        }
        self.there.set_up(*index).map_err(refused("set up"))
    }

    /// Undoes all of it: the container could not be made, and a virtual device would vanish with its namespace.
    pub fn give_back(mut self) {
        for moved in std::mem::take(&mut self.moved).iter().rev() {
            if let Err(e) = self.return_one(moved) {
                log::warn!("cannot return the network device {}: {}", moved.link.name, Strerror(&e));
            }
        }
    }

    fn return_one(&mut self, moved: &Moved) -> io::Result<()> {
        self.there.move_link(moved.index, self.own.as_fd(), &moved.link.name)?;
        let links = self.here.links()?;
        let Some(link) = links.iter().find(|link| link.name == moved.link.name) else { return Ok(()) };
        for address in &moved.addresses {
            self.here.add_address(link.index, address)?;
        }
        if moved.link.up { self.here.set_up(link.index) } else { Ok(()) }
    }
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// A socket belongs to the network namespace of the thread that opens it; so a thread goes there for the purpose.
fn socket_in(namespace: BorrowedFd<'_>) -> io::Result<Netlink> {
    let open = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        Netlink::open()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, open)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}
