//! The other end of a connection, for tests: it authenticates like a bus, and answers as a test says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::message::{ERROR, METHOD_RETURN, Message, PREFIX, SIGNAL};
use super::{Connection, Value};

/// The unique name of the service that a test plays.
pub const SERVICE: &str = ":1.1";

/// What is sent back for a call.
pub enum Answer {
    Return(Vec<Value>),
    Error(&'static str, &'static str),
    /// Path, interface, member, sender, body.
    Signal(&'static str, &'static str, &'static str, &'static str, Vec<Value>),
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
}

/// See the module.
pub struct Fake {
    calls: Arc<Mutex<Vec<Message>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// A connection, and the one who answers it. Calls of the bus itself are answered already.
    pub fn connect(answers: impl FnMut(&Message) -> Vec<Answer> + Send + 'static) -> (Connection, Fake) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let thread = thread::spawn(move || serve(theirs, &seen, answers));
        let connection = Connection::over(ours, true).unwrap();
        (connection, Fake { calls, thread: Some(thread) })
    }

    /// The calls, after the connection has been closed.
    pub fn calls(mut self) -> Vec<Message> {
        self.thread.take().map(JoinHandle::join).unwrap().unwrap();
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

fn serve(
    mut stream: UnixStream,
    seen: &Mutex<Vec<Message>>,
    mut answers: impl FnMut(&Message) -> Vec<Answer>,
) {
    let mut greeting = [0; b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len()];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
    stream.write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n").unwrap();
    while let Some(call) = receive(&mut stream) {
        let replies = match call.member.as_deref() {
            Some("Hello") => vec![Answer::Return(vec![Value::string(":1.7")])],
            Some("AddMatch") => vec![Answer::Return(Vec::new())],
            _ => answers(&call),
        };
        let serial = call.serial;
        seen.lock().unwrap().push(call);
        for reply in replies {
            // The test may have had enough.
            if stream.write_all(&bytes(reply, serial)).is_err() {
                return;
            }
        }
    }
}

fn receive(stream: &mut UnixStream) -> Option<Message> {
    let mut prefix = [0; PREFIX];
    stream.read_exact(&mut prefix).ok()?;
    let mut bytes = prefix.to_vec();
    bytes.resize(Message::length(&prefix).unwrap(), 0);
    stream.read_exact(&mut bytes[PREFIX..]).ok()?;
    Some(Message::from_bytes(&bytes).unwrap())
}

fn bytes(answer: Answer, reply_serial: u32) -> Vec<u8> {
    let some = |text: &str| Some(text.to_owned());
    let base = Message { serial: 1, sender: some(SERVICE), ..Message::default() };
    let message = match answer {
        Answer::Raw(bytes) => return bytes,
        Answer::Return(body) => {
            Message { kind: METHOD_RETURN, reply_serial: Some(reply_serial), body, ..base }
        }
        Answer::Error(name, text) => Message {
            kind: ERROR,
            reply_serial: Some(reply_serial),
            error_name: some(name),
            body: vec![Value::string(text)],
            ..base
        },
        Answer::Signal(path, interface, member, sender, body) => Message {
            kind: SIGNAL,
            path: some(path),
            interface: some(interface),
            member: some(member),
            sender: some(sender),
            body,
            ..base
        },
    };
    message.to_bytes().unwrap()
}
