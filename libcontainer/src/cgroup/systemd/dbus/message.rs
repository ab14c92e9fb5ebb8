//! Messages: a header of fields, and a body of values.

use super::value::{Value, signature};
use super::wire::{Reader, Writer};
use super::{Error, Result, malformed};

const LITTLE_ENDIAN: u8 = b'l';
const BIG_ENDIAN: u8 = b'B';
const VERSION: u8 = 1;
/// The protocol allows 128 MiB. What a manager has to say to a container runtime is some hundred bytes.
const MAX_MESSAGE: usize = 1 << 20;
/// Up to the length of the header's fields, and with it.
pub const PREFIX: usize = 16;

pub const METHOD_CALL: u8 = 1;
pub const METHOD_RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A method to call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// Who has the object; empty on a connection without a bus between.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The method's interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub body: Vec<Value>,
}

/// A message as received.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// Call, return, error or signal.
    pub kind: u8,
    pub serial: u32,
    pub reply_serial: Option<u32>,
    pub path: Option<String>,
    pub interface: Option<String>,
    pub member: Option<String>,
    pub error_name: Option<String>,
    pub destination: Option<String>,
    /// The unique name, which the bus vouches for; absent without a bus.
    pub sender: Option<String>,
    pub body: Vec<Value>,
}

impl Message {
    /// A method call, not yet numbered.
    pub fn call(call: &Call<'_>) -> Message {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Message {
            kind: METHOD_CALL,
            destination: some(call.destination),
            path: some(call.path),
            interface: some(call.interface),
            member: some(call.member),
            body: call.body.clone(),
            ..Message::default()
        }
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut body = Writer::default();
        self.body.iter().try_for_each(|value| body.value(value))?;
        let length = u32::try_from(body.bytes.len());
        let length = length.map_err(|_| Error::Unsendable { what: "the arguments are too long" })?;
        let mut w = Writer::default();
        w.bytes.extend([LITTLE_ENDIAN, self.kind, 0, VERSION]);
        w.u32(length);
        w.u32(self.serial);
        w.value(&Value::Array("(yv)".to_owned(), self.fields()))?;
        w.align(8);
        w.bytes.append(&mut body.bytes);
        if w.bytes.len() > MAX_MESSAGE {
            return Err(Error::Unsendable { what: "it is too long" });
        }
        Ok(w.bytes)
    }

    fn fields(&self) -> Vec<Value> {
        let text = |field: &Option<String>, kind: fn(String) -> Value| field.clone().map(kind);
        let types = signature(&self.body);
        let fields = [
            (PATH, text(&self.path, Value::ObjectPath)),
            (INTERFACE, text(&self.interface, Value::String)),
            (MEMBER, text(&self.member, Value::String)),
            (ERROR_NAME, text(&self.error_name, Value::String)),
            (REPLY_SERIAL, self.reply_serial.map(Value::Uint32)),
            (DESTINATION, text(&self.destination, Value::String)),
            (SENDER, text(&self.sender, Value::String)),
            (SIGNATURE, (!types.is_empty()).then_some(Value::Signature(types))),
        ];
        let present = fields.into_iter().filter_map(|(code, value)| Some((code, value?)));
        present.map(|(code, value)| Value::Struct(vec![Value::Byte(code), Value::variant(value)])).collect()
    }

    /// How many bytes the message has whose first [`PREFIX`] are these.
    pub fn length(prefix: &[u8; PREFIX]) -> Result<usize> {
        let big_endian = match prefix[0] {
            LITTLE_ENDIAN => false,
            BIG_ENDIAN => true,
            _ => return malformed("its byte order is unknown"),
        };
        if prefix[3] != VERSION {
            return malformed("its version is unknown");
        }
        let body = Reader::new(prefix, 4, big_endian).u32()? as usize;
        let fields = Reader::new(prefix, 12, big_endian).u32()? as usize;
        let total = PREFIX.saturating_add(fields).next_multiple_of(8).saturating_add(body);
        if total > MAX_MESSAGE { malformed("it is too long") } else { Ok(total) }
    }

    /// Reads a whole message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Message> {
        let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return malformed("it is too short") };
        if Message::length(prefix)? != bytes.len() {
            return malformed("it is not as long as it says");
        }
        let mut r = Reader::new(bytes, 8, prefix[0] == BIG_ENDIAN);
        let mut message = Message { kind: prefix[1], serial: r.u32()?, ..Message::default() };
        let mut types = String::new();
        let fields = r.values("a(yv)")?;
        let [Value::Array(_, fields)] = &fields[..] else { return malformed("its header is not a list") };
        for field in fields {
            if let Value::Struct(pair) = field
                && let [Value::Byte(code), Value::Variant(value)] = &pair[..]
            {
                message.set(*code, value, &mut types)?;
            }
        }
        r.align(8)?;
        message.body = r.values(&types)?;
        if !r.is_at_end() {
            return malformed("it has more than its signature says");
        }
        Ok(message)
    }

    /// Unknown fields are to be ignored.
    fn set(&mut self, code: u8, value: &Value, types: &mut String) -> Result<()> {
        match (code, value) {
            (PATH, Value::ObjectPath(s)) => self.path = Some(s.clone()),
            (INTERFACE, Value::String(s)) => self.interface = Some(s.clone()),
            (MEMBER, Value::String(s)) => self.member = Some(s.clone()),
            (ERROR_NAME, Value::String(s)) => self.error_name = Some(s.clone()),
            (REPLY_SERIAL, Value::Uint32(n)) => self.reply_serial = Some(*n),
            (DESTINATION, Value::String(s)) => self.destination = Some(s.clone()),
            (SENDER, Value::String(s)) => self.sender = Some(s.clone()),
            (SIGNATURE, Value::Signature(s)) => types.clone_from(s),
            (PATH..=SIGNATURE, _) => return malformed("a field of its header has the wrong type"),
            _ => {}
        }
        Ok(())
    }

    /// What the error message of a failed method says.
    pub fn into_error(self) -> Error {
        let name = self.error_name.unwrap_or_default();
        let message = match self.body.first() {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            _ => name.clone(),
        };
        Error::Remote { name, message }
    }
}
