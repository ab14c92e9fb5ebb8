use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;

use super::fake::{Answer, Fake, SERVICE};
use super::message::{Call, METHOD_RETURN, Message};
use super::wire::{Reader, Writer};
use super::*;

const CALL: Call<'static> =
    Call { destination: "a.b", path: "/a", interface: "a.b.C", member: "Do", body: Vec::new() };
const RULE: Match = Match { path: "/a", interface: "a.b.C", member: "Done" };

fn signal(member: &'static str, sender: &'static str, n: u32) -> Answer {
    Answer::Signal("/a", "a.b.C", member, sender, vec![Value::Uint32(n)])
}

fn number(body: &[Value]) -> Option<u32> {
    match body {
        [Value::Uint32(n)] => Some(*n),
        _ => None,
    }
}

/// By the specification's rules: every field begins at a multiple of eight, and so does the body.
#[test]
fn the_bytes_of_a_call() {
    let mut message = Message::call(&Call { body: vec![Value::string("x"), Value::Bool(true)], ..CALL });
    message.serial = 7;
    let bytes = message.to_bytes().unwrap();
    let expected: &[&[u8]] = &[
        b"l\x01\0\x01\x0c\0\0\0\x07\0\0\0\x48\0\0\0",
        b"\x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0",
        b"\x02\x01s\0\x05\0\0\0a.b.C\0\0\0",
        b"\x03\x01s\0\x02\0\0\0Do\0\0\0\0\0\0",
        b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
        b"\x08\x01g\0\x02sb\0",
        b"\x01\0\0\0x\0\0\0\x01\0\0\0",
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(Message::from_bytes(&bytes).unwrap(), message);
}

#[test]
fn big_endian_is_read_as_well() {
    let mut bytes = b"B\x02\0\x01\0\0\0\x04\0\0\0\x09\0\0\0\x0f".to_vec();
    bytes.extend(b"\x05\x01u\0\0\0\0\x03\x08\x01g\0\x01u\0\0\0\0\0\x2a");
    let message = Message::from_bytes(&bytes).unwrap();
    assert_eq!((message.kind, message.serial, message.reply_serial), (METHOD_RETURN, 9, Some(3)));
    assert_eq!(message.body, [Value::Uint32(42)]);
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::Int16),
        any::<u16>().prop_map(Value::Uint16),
        any::<i32>().prop_map(Value::Int32),
        any::<u32>().prop_map(Value::Uint32),
        any::<i64>().prop_map(Value::Int64),
        any::<u64>().prop_map(Value::Uint64),
        (-1e300..1e300).prop_map(Value::Double),
        "[^\0]{0,9}".prop_map(Value::String),
        Just(Value::Signature("a{sv}u".into())),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Value::variant),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner.clone(), 0..4_usize).prop_map(|(v, n)| Value::Array(v.signature(), vec![v; n])),
            (any::<u16>(), inner).prop_map(|(k, v)| {
                let entry = Value::DictEntry(Box::new((Value::Uint16(k), v)));
                Value::Array(entry.signature(), vec![entry])
            }),
        ]
    })
}

proptest! {
    #[test]
    fn values_survive_the_way(values in prop::collection::vec(value(), 0..5)) {
        let message = Message { kind: METHOD_RETURN, serial: 1, body: values, ..Message::default() };
        // Signatures have a limit, and so has nesting.
        if let Ok(bytes) = message.to_bytes() {
            prop_assert_eq!(Message::from_bytes(&bytes).unwrap(), message);
        }
    }

    #[test]
    fn damaged_messages_are_errors_or_other_messages(
        values in prop::collection::vec(value(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let message = Message { kind: METHOD_RETURN, serial: 1, sender: Some(":1.2".into()), body: values, ..Message::default() };
        if let Ok(mut bytes) = message.to_bytes() {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = Message::from_bytes(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(Message::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn noise_is_no_value(bytes in prop::collection::vec(any::<u8>(), 0..200), signature in "[ybnqiuxtdsoghva(){}]{0,12}") {
        let written = [&[signature.len() as u8], signature.as_bytes(), &[0]].concat();
        let read = Reader::new(&written, 0, false).signature();
        let sent = Writer::default().value(&Value::Signature(signature.clone()));
        prop_assert_eq!(read.is_ok(), sent.is_ok());
        if read.is_ok() {
            let _ = Reader::new(&bytes, 0, false).values(&signature);
        }
    }
}

#[test]
fn what_nests_too_deeply_is_refused() {
    let mut deep = Value::Byte(1);
    for _ in 0..100 {
        deep = Value::variant(deep);
    }
    let bytes = Message { kind: METHOD_RETURN, serial: 1, body: vec![deep], ..Message::default() }.to_bytes();
    let error = Message::from_bytes(&bytes.unwrap()).unwrap_err().to_string();
    assert_eq!(error, "malformed message on the bus: it is nested too deeply");
    for bad in [&"a".repeat(200), &"(".repeat(200), "a", "()", "a{vs}", "a{s}", "{sv}", "a{sss}", "z", "(s"] {
        assert!(!is_single_type(bad), "{bad}");
    }
}

#[test]
fn a_call_gets_its_own_reply() {
    let (mut connection, fake) = Fake::connect(|call| match call.member.as_deref() {
        Some("Do") => vec![signal("Other", SERVICE, 1), Answer::Return(vec![Value::string("yes")])],
        _ => vec![Answer::Error("a.b.Error.No", "not that")],
    });
    assert_eq!(connection.call(&CALL).unwrap().body, [Value::string("yes")]);
    let error = connection.call(&Call { member: "Undo", ..CALL }).unwrap_err();
    assert!(error.is("a.b.Error.No"));
    assert_eq!(error.to_string(), "not that");
    drop(connection);
    let calls: Vec<String> = fake.calls().into_iter().filter_map(|call| call.member).collect();
    assert_eq!(calls, ["Hello", "Do", "Undo"]);
}

#[test]
fn signals_count_only_from_whom_they_should_be() {
    let (mut connection, _fake) = Fake::connect(|_| {
        vec![
            signal("Done", ":1.666", 1),
            signal("Else", SERVICE, 2),
            signal("Done", SERVICE, 3),
            Answer::Return(vec![]),
            signal("Done", SERVICE, 4),
        ]
    });
    connection.subscribe(RULE).unwrap();
    let sender = connection.call(&CALL).unwrap().sender;
    let mut wait = |wanted: u32| {
        let found = |body: &[Value]| number(body).filter(|n| *n >= wanted);
        connection.wait_signal(RULE, sender.as_deref(), Duration::from_secs(20), found).unwrap()
    };
    assert_eq!(wait(0), 3);
    assert_eq!(wait(4), 4);
}

#[test]
fn waiting_ends() {
    let (mut connection, _fake) = Fake::connect(|_| vec![]);
    let waited = connection.wait_signal(RULE, None, Duration::from_millis(20), number);
    assert_eq!(waited.unwrap_err().to_string(), "no answer to Done within 0 s");
}

#[test]
fn malformed_answers_are_errors() {
    let huge = b"l\x02\0\x01\xff\xff\xff\xff\x01\0\0\0\xff\xff\xff\xff".to_vec();
    for (raw, expected) in [
        (huge, "it is too long"),
        (b"HTTP/1.1 400 Bad".to_vec(), "its byte order is unknown"),
        (b"l\x02\0\x02\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec(), "its version is unknown"),
        (
            b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x05\0\0\0\x05\x01s\0\0\0\0\0".to_vec(),
            "it ends in the middle of a value",
        ),
    ] {
        let (mut connection, _fake) = Fake::connect(move |_| vec![Answer::Raw(raw.clone())]);
        let error = connection.call(&CALL).unwrap_err().to_string();
        assert_eq!(error, format!("malformed message on the bus: {expected}"));
    }
}

#[test]
fn a_bus_that_refuses_or_leaves() {
    for (answer, expected) in [
        (&b"REJECTED EXTERNAL\r\n"[..], "the bus refused authentication: \"REJECTED EXTERNAL\""),
        (b"", "read from the bus: unexpected end of file"),
        (&[b'x'; 2000], "malformed message on the bus: a line is too long"),
    ] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &theirs, answer).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(Connection::over(ours, true).unwrap_err().to_string(), expected);
    }
    let nowhere = [Address::Path("/nonexistent/bus".into())];
    let error = Connection::open(&nowhere, true).unwrap_err().to_string();
    assert_eq!(error, "cannot connect to /nonexistent/bus: no such file or directory");
}

#[test]
fn texts_with_nul_and_mixed_arrays_are_not_sent() {
    for bad in [Value::string("a\0b"), Value::Array("s".into(), vec![Value::Byte(1)])] {
        let message = Message { kind: METHOD_RETURN, body: vec![bad], ..Message::default() };
        assert!(message.to_bytes().is_err());
    }
}
