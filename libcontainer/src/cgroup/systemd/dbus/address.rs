//! Where a bus listens: `unix:path=/run/dbus/system_bus_socket`, perhaps with others to try after a semicolon.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::SocketAddrUnix;

use super::{Error, Result};

/// A unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Address {
    /// The unix sockets that an address names, in their order. `runtime` is the user's runtime directory.
    pub fn parse(text: &str, runtime: Option<&Path>) -> Result<Vec<Address>> {
        let wrong = || Error::Address { address: text.to_owned() };
        let mut found = Vec::new();
        for one in text.split(';').filter(|one| !one.is_empty()) {
            let (transport, keys) = one.split_once(':').ok_or_else(wrong)?;
            // tcp:, unixexec:, autolaunch: and the like; there may be others.
            if transport != "unix" {
                continue;
            }
            for key in keys.split(',') {
                let (key, value) = key.split_once('=').ok_or_else(wrong)?;
                let value = unescape(value).ok_or_else(wrong)?;
                match key {
                    "path" => found.push(Address::Path(std::ffi::OsStr::from_bytes(&value).into())),
                    "abstract" => found.push(Address::Abstract(value)),
                    "runtime" if value == b"yes" => {
                        found.extend(runtime.map(|dir| Address::Path(dir.join("bus"))));
                    }
                    _ => {}
                }
            }
        }
        if found.is_empty() { Err(wrong()) } else { Ok(found) }
    }

    pub fn to_socket(&self) -> rustix::io::Result<SocketAddrUnix> {
        match self {
            Address::Path(path) => SocketAddrUnix::new(path),
            Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        }
    }
}

/// `%20` for a space.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(bytes)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => write!(f, "{}", path.display()),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Vec<String>> {
        let found = Address::parse(text, Some(Path::new("/run/user/7"))).ok()?;
        Some(found.iter().map(Address::to_string).collect())
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("unix:path=/run/user/1000/bus", &["/run/user/1000/bus"][..]),
            ("unix:path=/a%20b%2c,guid=12ab", &["/a b,"]),
            ("unix:abstract=/tmp/dbus-x,guid=1;unix:path=/b;", &["@/tmp/dbus-x", "/b"]),
            ("tcp:host=localhost,port=1;unix:runtime=yes", &["/run/user/7/bus"]),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            ";",
            "unix",
            "unix:",
            "unix:path",
            "unix:path=/a%2",
            "unix:path=/a%+1",
            "unix:dir=/tmp",
            "x:y=z",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
