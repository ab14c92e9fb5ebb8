//! What a bus says, and what engines have said to it.

use libcontainer::fuzzing::{bus_address, bus_message, unit_properties};

/// A message, and its bytes as an address.
pub fn message(data: &[u8]) {
    bus_message(data);
    if let Ok(text) = std::str::from_utf8(data) {
        bus_address(text);
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    // Byte order, kind, flags, version; length of the body, serial, length of the fields.
    let header = |fields: &[u8], body: &[u8]| {
        let mut bytes = vec![b'l', 4, 0, 1];
        for n in [body.len(), 7, fields.len()] {
            bytes.extend(u32::try_from(n).unwrap_or_default().to_le_bytes());
        }
        bytes.extend(fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(body);
        bytes
    };
    let signature = [8, 1, b'g', 0, 4, b'a', b'{', b's', b'v', b'}', 0];
    let entry = [1, 0, 0, 0, b'a', 0, 1, b'u', 0, 0, 0, 0, 9, 0, 0, 0];
    let dictionary = [&[16, 0, 0, 0, 0, 0, 0, 0][..], &entry].concat();
    let text = b"\x08\x01g\0\x01s\0";
    vec![
        header(&[], &[]),
        header(text, b"\x02\0\0\0ok\0"),
        header(&signature, &dictionary),
        b"unix:path=/run/dbus/system_bus_socket,guid=12;unix:abstract=/a%20b;unix:runtime=yes".to_vec(),
    ]
}

/// Lines: the name of a property, a space, its value.
pub fn properties(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let pairs = pairs.map(|(name, value)| (format!("org.systemd.property.{name}"), value.to_owned()));
    unit_properties(&pairs.collect());
}

pub fn properties_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "TimeoutStopUSec uint64 5000000\nCollectMode 'inactive-or-failed'\nTimeoutStopSec 5",
        "Environment ['a', \"b\", '\\u0041']\nAllowedCPUs [byte 0x01, 2]\nX @as []",
        "DeviceAllow [('/dev/null', 'rw')]\nExecStart {'a': <1>, 'b': <(true, -1.5e3)>}\nPath b'/x'",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
