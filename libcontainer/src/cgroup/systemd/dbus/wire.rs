//! Marshalling: values to bytes and back (D-Bus Specification, «Type System» and «Marshaling»).

use super::value::Value;
use super::{Error, Result, malformed};

/// Arrays in arrays, structures in structures, and variants in variants: 64 is the protocol's limit for all together.
pub const MAX_DEPTH: u32 = 64;
const MAX_SIGNATURE: usize = 255;

/// Writes in the order of this machine's choice, which is little-endian everywhere.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    pub fn u32(&mut self, n: u32) {
        self.number(n.to_le_bytes());
    }

    fn length(&mut self, n: usize) -> Result<()> {
        let n = u32::try_from(n).map_err(|_| Error::Unsendable { what: "a value is too long" })?;
        self.u32(n);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(Error::Unsendable { what: "a text has a NUL byte in it" });
        }
        self.length(text.len())?;
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    fn signature(&mut self, signature: &str) -> Result<()> {
        if !is_signature(signature) {
            return Err(Error::Unsendable { what: "a signature is not one" });
        }
        let length = u8::try_from(signature.len());
        self.bytes.push(length.map_err(|_| Error::Unsendable { what: "a signature is too long" })?);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    pub fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Byte(n) => self.bytes.push(*n),
            Value::Bool(b) => self.u32((*b).into()),
            Value::Int16(n) => self.number(n.to_le_bytes()),
            Value::Uint16(n) => self.number(n.to_le_bytes()),
            Value::Int32(n) => self.number(n.to_le_bytes()),
            Value::Uint32(n) | Value::UnixFd(n) => self.u32(*n),
            Value::Int64(n) => self.number(n.to_le_bytes()),
            Value::Uint64(n) => self.number(n.to_le_bytes()),
            Value::Double(n) => self.number(n.to_le_bytes()),
            Value::String(s) => self.text(s)?,
            Value::ObjectPath(s) if is_object_path(s) => self.text(s)?,
            Value::ObjectPath(_) => return Err(Error::Unsendable { what: "an object path is not one" }),
            Value::Signature(s) => self.signature(s)?,
            Value::Array(element, items) => self.array(element, items)?,
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().try_for_each(|field| self.value(field))?;
            }
            Value::DictEntry(pair) => {
                self.align(8);
                self.value(&pair.0)?;
                self.value(&pair.1)?;
            }
            Value::Variant(value) => {
                self.signature(&value.signature())?;
                self.value(value)?;
            }
        }
        Ok(())
    }

    /// The length comes first, and does not count the padding before the first element.
    fn array(&mut self, element: &str, items: &[Value]) -> Result<()> {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment(element.as_bytes().first().copied()));
        let start = self.bytes.len();
        for item in items {
            if item.signature() != element {
                return Err(Error::Unsendable { what: "the elements of an array have different types" });
            }
            self.value(item)?;
        }
        let length = u32::try_from(self.bytes.len() - start);
        let length = length.map_err(|_| Error::Unsendable { what: "an array is too long" })?;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn alignment(code: Option<u8>) -> usize {
    match code {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Reads what somebody else wrote. Positions count from the beginning of the message.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize, big_endian: bool) -> Reader<'a> {
        Reader { bytes, at, big_endian }
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return malformed("it ends in the middle of a value") };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn align(&mut self, to: usize) -> Result<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        if self.take(padding)?.iter().any(|b| *b != 0) {
            return malformed("the padding is not empty");
        }
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn length(&mut self) -> Result<usize> {
        let n = self.u32()? as usize;
        // Whoever reserves memory for it may rely on that much being there.
        if n > self.bytes.len() - self.at { malformed("a length is more than there is") } else { Ok(n) }
    }

    fn terminated(&mut self, length: usize) -> Result<String> {
        let Ok(text) = std::str::from_utf8(self.take(length)?) else {
            return malformed("a text is not UTF-8");
        };
        if self.take(1)? != [0] || text.contains('\0') {
            return malformed("a text does not end where it says");
        }
        Ok(text.to_owned())
    }

    fn text(&mut self) -> Result<String> {
        let length = self.length()?;
        self.terminated(length)
    }

    fn object_path(&mut self) -> Result<String> {
        let path = self.text()?;
        if is_object_path(&path) { Ok(path) } else { malformed("an object path is not one") }
    }

    pub fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.take(1)?[0]);
        let signature = self.terminated(length)?;
        if is_signature(&signature) { Ok(signature) } else { malformed("a signature is not one") }
    }

    /// All values of `signature`, which has been checked.
    pub fn values(&mut self, signature: &str) -> Result<Vec<Value>> {
        let mut rest = signature;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (first, tail) = split_type(rest);
            values.push(self.value(first, 0)?);
            rest = tail;
        }
        Ok(values)
    }

    fn value(&mut self, kind: &str, depth: u32) -> Result<Value> {
        if depth > MAX_DEPTH {
            return malformed("it is nested too deeply");
        }
        Ok(match kind.as_bytes().first() {
            Some(b'y') => Value::Byte(self.take(1)?[0]),
            Some(b'b') => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return malformed("a boolean is neither"),
            },
            Some(b'n') => Value::Int16(i16::from_le_bytes(self.number()?)),
            Some(b'q') => Value::Uint16(u16::from_le_bytes(self.number()?)),
            Some(b'i') => Value::Int32(i32::from_le_bytes(self.number()?)),
            Some(b'u') => Value::Uint32(self.u32()?),
            Some(b'h') => Value::UnixFd(self.u32()?),
            Some(b'x') => Value::Int64(i64::from_le_bytes(self.number()?)),
            Some(b't') => Value::Uint64(u64::from_le_bytes(self.number()?)),
            Some(b'd') => Value::Double(f64::from_le_bytes(self.number()?)),
            Some(b's') => Value::String(self.text()?),
            Some(b'o') => Value::ObjectPath(self.object_path()?),
            Some(b'g') => Value::Signature(self.signature()?),
            Some(b'v') => {
                let inner = self.signature()?;
                if !is_single_type(&inner) {
                    return malformed("a variant is not of one type");
                }
                Value::variant(self.value(&inner, depth + 1)?)
            }
            Some(b'a') => self.array(&kind[1..], depth)?,
            Some(b'(') => Value::Struct(self.fields(kind, depth)?),
            Some(b'{') => match <[Value; 2]>::try_from(self.fields(kind, depth)?) {
                Ok([key, value]) => Value::DictEntry(Box::new((key, value))),
                Err(_) => return malformed("a dictionary entry is not a pair"),
            },
            _ => return malformed("a type is unknown"),
        })
    }

    fn array(&mut self, element: &str, depth: u32) -> Result<Value> {
        let length = self.length()?;
        self.align(alignment(element.as_bytes().first().copied()))?;
        let end = self.at + length;
        if end > self.bytes.len() {
            return malformed("an array is longer than the message");
        }
        let mut items = Vec::new();
        while self.at < end {
            items.push(self.value(element, depth + 1)?);
        }
        if self.at != end {
            return malformed("an array does not end where it says");
        }
        Ok(Value::Array(element.to_owned(), items))
    }

    fn fields(&mut self, kind: &str, depth: u32) -> Result<Vec<Value>> {
        self.align(8)?;
        let mut rest = kind.get(1..kind.len() - 1).unwrap_or_default();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (first, tail) = split_type(rest);
            fields.push(self.value(first, depth + 1)?);
            rest = tail;
        }
        Ok(fields)
    }
}

/// Splits off the first complete type of a signature that has been checked.
fn split_type(signature: &str) -> (&str, &str) {
    signature.split_at(type_length(signature.as_bytes(), 0).unwrap_or(signature.len()))
}

/// Whether these are complete types, one after the other.
pub fn is_signature(signature: &str) -> bool {
    let mut rest = signature.as_bytes();
    while !rest.is_empty() {
        match type_length(rest, 0) {
            Some(length) => rest = &rest[length..],
            None => return false,
        }
    }
    signature.len() <= MAX_SIGNATURE
}

/// Whether this can name an object: `/`, or words of letters, digits and `_` with a slash before each. A bus closes the
/// connection of whoever sends another.
pub fn is_object_path(path: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    path == "/" || path.strip_prefix('/').is_some_and(|words| words.split('/').all(is_word))
}

/// Whether this is one complete type.
pub fn is_single_type(signature: &str) -> bool {
    signature.len() <= MAX_SIGNATURE && type_length(signature.as_bytes(), 0) == Some(signature.len())
}

/// How long the complete type is with which `bytes` begins.
fn type_length(bytes: &[u8], depth: u32) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    match *bytes.first()? {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'h' | b'v' => {
            Some(1)
        }
        b'a' if bytes.get(1) == Some(&b'{') => {
            let key = *bytes.get(2)?;
            let is_basic = !b"av({".contains(&key) && type_length(&[key], depth + 1).is_some();
            let value = type_length(bytes.get(3..)?, depth + 2)?;
            (is_basic && bytes.get(3 + value) == Some(&b'}')).then_some(value + 4)
        }
        b'a' => type_length(&bytes[1..], depth + 1).map(|length| length + 1),
        b'(' => {
            let mut at = 1;
            while *bytes.get(at)? != b')' {
                at += type_length(&bytes[at..], depth + 1)?;
            }
            (at > 1).then_some(at + 1)
        }
        _ => None,
    }
}
