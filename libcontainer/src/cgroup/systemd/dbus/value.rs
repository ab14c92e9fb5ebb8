//! Values with their types.

use std::fmt;

/// One value. Structures and arrays are trees of them.
#[derive(Clone, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// An index into the descriptors that came along, of which this client takes none.
    UnixFd(u32),
    /// With the type of the elements, which an empty array has too.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    DictEntry(Box<(Value, Value)>),
    Variant(Box<Value>),
}

impl Value {
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    pub fn variant(value: Value) -> Value {
        Value::Variant(Box::new(value))
    }

    /// An array of bytes.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".to_owned(), bytes.iter().map(|b| Value::Byte(*b)).collect())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) | Value::ObjectPath(s) => Some(s),
            _ => None,
        }
    }

    /// The single complete type of this value.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::Int16(_) => "n".to_owned(),
            Value::Uint16(_) => "q".to_owned(),
            Value::Int32(_) => "i".to_owned(),
            Value::Uint32(_) => "u".to_owned(),
            Value::Int64(_) => "x".to_owned(),
            Value::Uint64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::String(_) => "s".to_owned(),
            Value::ObjectPath(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::UnixFd(_) => "h".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", signature(fields)),
            Value::DictEntry(pair) => format!("{{{}{}}}", pair.0.signature(), pair.1.signature()),
            Value::Variant(_) => "v".to_owned(),
        }
    }
}

/// The types of several values, one after the other.
pub fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// For the log: close to how `busctl` shows values.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Byte(n) => write!(f, "{n}"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int16(n) => write!(f, "{n}"),
            Value::Uint16(n) => write!(f, "{n}"),
            Value::Int32(n) => write!(f, "{n}"),
            Value::Uint32(n) => write!(f, "{n}"),
            Value::Int64(n) => write!(f, "{n}"),
            Value::Uint64(n) => write!(f, "{n}"),
            Value::Double(n) => write!(f, "{n}"),
            Value::String(s) | Value::ObjectPath(s) | Value::Signature(s) => write!(f, "{s:?}"),
            Value::UnixFd(n) => write!(f, "fd {n}"),
            Value::Array(_, items) => f.debug_list().entries(items).finish(),
            Value::Struct(fields) => {
                let mut tuple = f.debug_tuple("");
                fields.iter().for_each(|field| _ = tuple.field(field));
                tuple.finish()
            }
            Value::DictEntry(pair) => write!(f, "{:?}: {:?}", pair.0, pair.1),
            Value::Variant(value) => write!(f, "{value:?}"),
        }
    }
}
