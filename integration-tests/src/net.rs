//! Network devices for cases, made in a network namespace of the case's own (rtnetlink(7)).

use crate::failure::Failure;
use crate::{ensure, sys};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const REQUEST_ACK: u16 = 0x5;
const CREATE: u16 = 0x600;
const IFF_UP: u32 = 1;
/// No duplicate detection: there is nobody to wait for.
const IFA_F_NODAD: u8 = 2;

/// `scope` of an address that is valid everywhere.
pub const GLOBAL: u8 = 0;
/// `scope` of an address that is valid on this link only.
pub const LINK: u8 = 253;

/// Moves this process to a network namespace of its own, and makes a pair of devices there: `NAME`, which is up, and
/// `NAMEp`. `mtu` is that of the first.
///
/// # Errors
/// A skip if the kernel has no such devices.
pub fn pair(name: &str, mtu: u32) -> Result<(), Failure> {
    sys::unshare(libc::CLONE_NEWNET)?;
    let mut peer = vec![0; 16];
    attribute(&mut peer, libc::IFLA_IFNAME, format!("{name}p\0").as_bytes());
    let (mut data, mut info) = (Vec::new(), Vec::new());
    const VETH_INFO_PEER: u16 = 1;
    attribute(&mut data, VETH_INFO_PEER, &peer);
    attribute(&mut info, libc::IFLA_INFO_KIND, b"veth");
    attribute(&mut info, libc::IFLA_INFO_DATA, &data);
    let mut body = link(0, IFF_UP);
    attribute(&mut body, libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
    attribute(&mut body, libc::IFLA_MTU, &mtu.to_ne_bytes());
    attribute(&mut body, libc::IFLA_LINKINFO, &info);
    match request(RTM_NEWLINK, CREATE, &body) {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err(Failure::skip("kernel without virtual Ethernet pairs"))
        }
        other => Ok(other?),
    }
}

/// Gives a device an address.
///
/// # Errors
/// If there is no such device, or the kernel refuses.
pub fn address(device: &str, address: &str, prefix: u8, scope: u8) -> Result<(), Failure> {
    let ip: IpAddr = address.parse().map_err(|e| Failure::new(format!("{address}: {e}")))?;
    let (family, bytes) = match ip {
        IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
    };
    let mut body = vec![family, prefix, IFA_F_NODAD, scope];
    body.extend(index(device)?.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &bytes);
    attribute(&mut body, libc::IFA_ADDRESS, &bytes);
    Ok(request(RTM_NEWADDR, CREATE, &body)?)
}

/// The devices of this process's network namespace.
///
/// # Errors
/// If procfs cannot be read.
pub fn devices() -> Result<Vec<String>, Failure> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Index of a device; 1 is `lo`, and what the case makes follows.
fn index(device: &str) -> Result<u32, Failure> {
    let name = std::ffi::CString::new(device).map_err(|e| Failure::new(e.to_string()))?;
    let index = sys::interface_index(&name);
    ensure!(index != 0, "no network device {device}");
    Ok(index)
}

fn link(index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for number in [index, flags, flags] {
        body.extend(number.to_ne_bytes());
    }
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST_ACK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let mut socket = File::from(sys::netlink()?);
    socket.write_all(&message)?;
    let mut answer = [0; 4096];
    let length = socket.read(&mut answer)?;
    let error = answer.get(16..20).filter(|_| length >= 20).ok_or(io::ErrorKind::UnexpectedEof)?;
    match i32::from_ne_bytes([error[0], error[1], error[2], error[3]]) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
