//! As much of rtnetlink(7) as moving a device needs: list, move, set up, addresses.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// The list changed while it was read.
const DUMP_INTERRUPTED: u16 = 0x10;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;

const IFF_UP: u32 = 1;
const IFA_F_PERMANENT: u32 = 0x80;
/// Those that are a choice of who gave the address: no duplicate detection, home address, temporary addresses, no
/// route for the prefix, joining of multicast groups.
const IFA_F_CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;

const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
}

/// A global address that somebody configured for good, of any family: what is to stay with its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// As the kernel gave them.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket that speaks to the network namespace in which it was opened.
pub(super) struct Netlink {
    socket: OwnedFd,
    serial: u32,
}

impl Netlink {
    /// In the network namespace of the calling thread.
    pub fn open() -> io::Result<Netlink> {
        // NETLINK_ROUTE is protocol 0, the default.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Netlink { socket, serial: 0 })
    }

    /// Every device.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let messages = self.dump(RTM_GETLINK, &[0; LINK])?;
        Ok(messages.iter().filter_map(|message| parse_link(message)).collect())
    }

    /// The lasting global addresses of a device.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Address>> {
        let messages = self.dump(RTM_GETADDR, &[0; ADDRESS])?;
        Ok(messages.iter().filter_map(|message| parse_address(message, index)).collect())
    }

    /// Moves a device to another namespace, under another name. The kernel takes it down for that.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let mut body = link_body(index, 0, 0);
        attribute(&mut body, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        self.request(RTM_NEWLINK, 0, &body)
    }

    /// Takes a device into service.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.request(RTM_NEWLINK, 0, &link_body(index, IFF_UP, IFF_UP))
    }

    /// Gives a device an address.
    pub fn add_address(&mut self, index: u32, address: &Address) -> io::Result<()> {
        // The low byte of the flags has a place in the header, too; the attribute has all of them (Linux 3.14).
        let mut body = vec![address.family, address.prefix, 0, RT_SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            attribute(&mut body, *kind, value);
        }
        attribute(&mut body, IFA_FLAGS, &address.flags.to_ne_bytes());
        self.request(RTM_NEWADDR, CREATE | EXCLUSIVE, &body)
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.tell(kind, REQUEST | ACK | flags, body)?;
        self.collect(|_, _| {})
    }

    fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        const ATTEMPTS: u32 = 16;
        for _ in 0..ATTEMPTS {
            self.tell(kind, REQUEST | DUMP, body)?;
            let (mut messages, mut changed) = (Vec::new(), false);
            self.collect(|flags, body| {
                changed |= flags & DUMP_INTERRUPTED != 0;
                messages.push(body.to_vec());
            })?;
            if !changed {
                return Ok(messages);
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn tell(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.serial += 1;
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.serial.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        Ok(())
    }

    /// Reads the answer to the last request; `each` gets flags and body of every message of a list.
    fn collect(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            let length = match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, length)) if length > buffer.len() => return Err(Errno::NOBUFS.into()),
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            };
            let mut rest = &buffer[..length];
            while let Some((header, body, next)) = split_message(rest) {
                rest = next;
                match header.kind {
                    _ if header.serial != self.serial => {}
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return outcome(body),
                    _ => each(header.flags, body),
                }
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
    serial: u32,
}

/// One message: what its header says, its body, and what follows.
fn split_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let header = Header { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, serial: u32_at(bytes, 8)? };
    let body = bytes.get(HEADER..length)?;
    Some((header, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// An error of 0 is the acknowledgement.
fn outcome(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(negative) => Err(io::Error::from_raw_os_error(negative.saturating_neg())),
        None => Err(Errno::BADMSG.into()),
    }
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let (_, name) = attributes(body.get(LINK..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0').to_owned();
    Some(Link { index: u32_at(body, 4)?, name, up: u32_at(body, 8)? & IFF_UP != 0 })
}

fn parse_address(body: &[u8], index: u32) -> Option<Address> {
    let (family, prefix, short_flags, scope) = (*body.first()?, *body.get(1)?, *body.get(2)?, *body.get(3)?);
    let all: Vec<(u16, &[u8])> = attributes(body.get(ADDRESS..)?).collect();
    let long_flags = all.iter().find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| u32_at(value, 0));
    let flags = long_flags.unwrap_or(short_flags.into());
    if u32_at(body, 4)? != index || scope != RT_SCOPE_UNIVERSE || flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    let kept = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY];
    let kept = all.iter().filter(|(kind, _)| kept.contains(kind));
    let attributes = kept.map(|(kind, value)| (*kind, value.to_vec())).collect();
    Some(Address { family, prefix, flags: flags & IFA_F_CHOSEN, attributes })
}

fn link_body(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for number in [index, flags, change] {
        body.extend(number.to_ne_bytes());
    }
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const HEADER: usize = 4;
    // Names, numbers and addresses: nothing here comes near the limit of a length of 16 bits.
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Kind and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let (kind, value) = (u16_at(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, flags: u8, scope: u8) -> Vec<u8> {
        let mut body = vec![2, 24, flags, scope];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &[192, 0, 2, 1]);
        attribute(&mut body, 3, b"label\0");
        body
    }

    #[test]
    fn only_lasting_global_addresses_of_the_device_are_taken_along() {
        let permanent = u8::try_from(IFA_F_PERMANENT).unwrap();
        let taken = parse_address(&address(7, permanent, RT_SCOPE_UNIVERSE), 7).unwrap();
        assert_eq!((taken.family, taken.prefix, taken.flags), (2, 24, 0));
        assert_eq!(taken.attributes, [(IFA_LOCAL, vec![192, 0, 2, 1])], "the label is the old name's");
        assert_eq!(parse_address(&address(8, permanent, RT_SCOPE_UNIVERSE), 7), None, "another device");
        assert_eq!(parse_address(&address(7, 0, RT_SCOPE_UNIVERSE), 7), None, "dynamic");
        assert_eq!(parse_address(&address(7, permanent, 253), 7), None, "link-local");
    }

    #[test]
    fn the_long_form_of_the_flags_counts() {
        let mut body = address(7, 0, RT_SCOPE_UNIVERSE);
        attribute(&mut body, IFA_FLAGS, &(IFA_F_PERMANENT | 0x200).to_ne_bytes());
        assert_eq!(parse_address(&body, 7).unwrap().flags, 0x200, "no route for the prefix");
    }

    #[test]
    fn a_link_by_its_name() {
        let mut body = link_body(3, IFF_UP, 0);
        attribute(&mut body, IFLA_IFNAME, b"eth0\0");
        assert_eq!(parse_link(&body), Some(Link { index: 3, name: "eth0".into(), up: true }));
        assert_eq!(parse_link(&body[..LINK]), None, "without a name");
    }

    #[test]
    fn messages_and_attributes_that_are_cut_off_end_the_list() {
        let mut body = Vec::new();
        attribute(&mut body, 1, b"abcde");
        attribute(&mut body, 2, b"fg");
        assert_eq!(attributes(&body).collect::<Vec<_>>(), [(1, &b"abcde"[..]), (2, &b"fg"[..])]);
        assert_eq!(attributes(&body[..body.len() - 4]).count(), 1);
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0, "a length of nothing");
        assert!(split_message(&[200, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }

    #[test]
    fn the_kernel_s_word_on_a_request() {
        assert!(outcome(&0i32.to_ne_bytes()).is_ok());
        let refused = outcome(&(-libc::EPERM).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn the_devices_of_this_namespace() {
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("every namespace has a loopback device");
        assert!(netlink.addresses(lo.index).unwrap().is_empty(), "the addresses of lo are no global ones");
    }
}
