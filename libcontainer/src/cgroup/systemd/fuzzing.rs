//! What `crate::fuzzing` needs of here.

use std::collections::BTreeMap;
use std::path::Path;

use super::annotations;
use super::dbus::{Address, Message, Value};

pub fn message(bytes: &[u8]) {
    let Some(prefix) = bytes.first_chunk() else { return };
    let _ = Message::length(prefix);
    let Ok(message) = Message::from_bytes(bytes) else { return };
    // An empty array of a type that is no single one, say, is read but never sent. An error is an answer.
    let Ok(sent) = message.to_bytes() else { return };
    let read = Message::from_bytes(&sent).expect("what was sent can be read");
    // As bytes: a number that is none does not equal itself.
    assert_eq!(read.to_bytes().expect("what was read can be sent again"), sent);
}

pub fn address(text: &str, runtime: &Path) {
    for address in Address::parse(text, Some(runtime)).unwrap_or_default() {
        let _ = address.to_socket();
        assert!(!address.to_string().is_empty() || text.contains('='));
    }
}

pub fn properties(annotations: &BTreeMap<String, String>) {
    let Ok(properties) = annotations::properties(annotations) else { return };
    let body = properties
        .into_iter()
        .map(|p| Value::Struct(vec![Value::string(p.name), Value::variant(p.value)]))
        .collect();
    let message = Message { kind: 1, body, ..Message::default() };
    if let Ok(sent) = message.to_bytes() {
        Message::from_bytes(&sent).expect("what was sent can be read");
    }
}
