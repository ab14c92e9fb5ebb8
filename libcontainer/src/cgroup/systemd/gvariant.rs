//! Values as text (GVariant Text Format), in which the annotations `org.systemd.property.*` are written:
//! `uint64 5000000`, `'inactive-or-failed'`, `['a', 'b']`, `@as []`. Without the maybe types, which D-Bus does not have.

use super::dbus::{MAX_DEPTH, Value, is_object_path, is_signature, is_single_type};

/// Words for types, and their codes.
const KEYWORDS: [(&str, &str); 13] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("handle", "h"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// The value that a text stands for, or what the text is not.
pub fn parse(text: &str) -> Result<Value, &'static str> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err("a value and nothing after it") }
}

struct Parser<'a> {
    rest: &'a str,
}

type Parsed<T = Value> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What is before the next space or punctuation.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || ",:]})>".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// `kind` is the type that is expected, if that is known.
    fn value(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        if depth > MAX_DEPTH {
            return Err("a value that is not nested so deeply");
        }
        self.skip_space();
        let value = match self.rest.as_bytes() {
            [b'[', ..] => self.array(kind, depth)?,
            [b'{', ..] => self.dictionary(kind, depth)?,
            [b'(', ..] => self.tuple(kind, depth)?,
            [b'<', ..] => self.variant(depth)?,
            [b'\'' | b'"', ..] => self.string(kind)?,
            [b'b', b'\'' | b'"', ..] => self.byte_string()?,
            [b'@', ..] => return self.annotated(kind, depth),
            _ => return self.plain(kind, depth),
        };
        expect(value, kind)
    }

    /// `@as []`
    fn annotated(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        self.eat('@');
        let end = self.rest.find(char::is_whitespace).ok_or("a value after its type")?;
        let (signature, rest) = self.rest.split_at(end);
        self.rest = rest;
        if !is_single_type(signature) {
            return Err("a value of a known type");
        }
        let value = self.value(Some(signature), depth + 1)?;
        expect(value, kind)
    }

    /// A number, a truth value, or a word for a type before another value.
    fn plain(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        let word = self.word();
        if let Some((_, code)) = KEYWORDS.iter().find(|(name, _)| *name == word) {
            let value = self.value(Some(code), depth + 1)?;
            return expect(value, kind);
        }
        match word {
            "true" | "false" => expect(Value::Bool(word == "true"), kind),
            _ => number(word, kind),
        }
    }

    fn array(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        let mut element = kind.and_then(|k| k.strip_prefix('a')).map(str::to_owned);
        let mut items = Vec::new();
        self.list('[', ']', |parser| {
            let item = parser.value(element.as_deref(), depth + 1)?;
            element.get_or_insert_with(|| item.signature());
            items.push(item);
            Ok(())
        })?;
        let element = element.ok_or("an empty array with its type before it, such as @as []")?;
        Ok(Value::Array(element, items))
    }

    fn dictionary(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        let entry = kind.and_then(|k| k.strip_prefix("a{")?.strip_suffix('}'));
        let mut types = entry.and_then(|e| Some((e.get(..1)?.to_owned(), e.get(1..)?.to_owned())));
        let mut items = Vec::new();
        self.list('{', '}', |parser| {
            let key = parser.value(types.as_ref().map(|t| t.0.as_str()), depth + 1)?;
            if !parser.eat(':') {
                return Err("a dictionary with a colon in each entry");
            }
            let value = parser.value(types.as_ref().map(|t| t.1.as_str()), depth + 1)?;
            types.get_or_insert_with(|| (key.signature(), value.signature()));
            items.push(Value::DictEntry(Box::new((key, value))));
            Ok(())
        })?;
        let (key, value) = types.ok_or("an empty dictionary with its type before it")?;
        let element = format!("{{{key}{value}}}");
        if is_single_type(&format!("a{element}")) {
            Ok(Value::Array(element, items))
        } else {
            Err("a dictionary with simple keys")
        }
    }

    fn tuple(&mut self, kind: Option<&str>, depth: u32) -> Parsed {
        // The types of the fields are not handed down: numbers in tuples need theirs before them.
        let mut fields = Vec::new();
        self.list('(', ')', |parser| {
            fields.push(parser.value(None, depth + 1)?);
            Ok(())
        })?;
        if fields.is_empty() || kind.is_some_and(|k| !k.starts_with('(')) {
            return Err("a value of the type before it");
        }
        Ok(Value::Struct(fields))
    }

    fn list(&mut self, open: char, close: char, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        self.eat(open);
        loop {
            if self.eat(close) {
                return Ok(());
            }
            item(self)?;
            if !self.eat(',') {
                return if self.eat(close) {
                    Ok(())
                } else {
                    Err("a list with commas and its closing bracket")
                };
            }
        }
    }

    fn variant(&mut self, depth: u32) -> Parsed {
        self.eat('<');
        let value = self.value(None, depth + 1)?;
        if self.eat('>') { Ok(Value::variant(value)) } else { Err("a variant with its closing bracket") }
    }

    fn string(&mut self, kind: Option<&str>) -> Parsed {
        let text = self.quoted()?;
        Ok(match kind {
            Some("o") if !is_object_path(&text) => return Err("the path of an object, such as '/a/b'"),
            Some("o") => Value::ObjectPath(text),
            Some("g") if !is_signature(&text) => return Err("a signature, such as 'as'"),
            Some("g") => Value::Signature(text),
            _ => Value::String(text),
        })
    }

    /// An array of bytes that ends with a zero.
    fn byte_string(&mut self) -> Parsed {
        self.eat('b');
        let mut bytes = self.quoted()?.into_bytes();
        bytes.push(0);
        Ok(Value::bytes(&bytes))
    }

    fn quoted(&mut self) -> Parsed<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut text = String::new();
        loop {
            let c = chars.next();
            if c == quote {
                break;
            }
            match c.ok_or("a text with its closing quote")? {
                '\\' => match chars.next().ok_or("a text with its closing quote")? {
                    'a' => text.push('\x07'),
                    'b' => text.push('\x08'),
                    'f' => text.push('\x0c'),
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'v' => text.push('\x0b'),
                    'u' => text.push(code_point(&mut chars, 4)?),
                    'U' => text.push(code_point(&mut chars, 8)?),
                    other => text.push(other),
                },
                '\0' => return Err("a text without NUL"),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

fn code_point(chars: &mut std::str::Chars<'_>, digits: usize) -> Parsed<char> {
    let hex: String = chars.take(digits).collect();
    let valid = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let code = u32::from_str_radix(&hex, 16).ok().filter(|n| valid && *n != 0);
    code.and_then(char::from_u32).ok_or("a text with complete escapes")
}

fn expect(value: Value, kind: Option<&str>) -> Parsed {
    match kind {
        Some(kind) if value.signature() != kind => Err("a value of the type before it"),
        _ => Ok(value),
    }
}

/// Without a type, integers are `int32` and others `double`.
fn number(word: &str, kind: Option<&str>) -> Parsed {
    let expected = || "a number, a text in quotes, or another value in the text format of GVariant";
    let integer = integer(word);
    if integer.is_none() && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a number within the range of its type");
    }
    let kind = kind.unwrap_or(if integer.is_some() { "i" } else { "d" });
    if kind == "d" {
        let is_number = |w: &str| w.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        let double = word.parse().ok().filter(|_| is_number(word) || word.trim_start_matches('-') == "inf");
        return double.map(Value::Double).ok_or_else(expected);
    }
    let n = integer.ok_or_else(expected)?;
    let value = match kind {
        "y" => n.try_into().ok().map(Value::Byte),
        "n" => n.try_into().ok().map(Value::Int16),
        "q" => n.try_into().ok().map(Value::Uint16),
        "i" => n.try_into().ok().map(Value::Int32),
        "u" => n.try_into().ok().map(Value::Uint32),
        "x" => n.try_into().ok().map(Value::Int64),
        "t" => n.try_into().ok().map(Value::Uint64),
        // Descriptors cannot be written down.
        _ => return Err("a value of the type before it"),
    };
    value.ok_or("a number within the range of its type")
}

/// Decimal, `0x` hexadecimal, or octal after a `0`.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let n = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -n } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let text = |s: &str| Value::string(s);
        let table = [
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("'inactive-or-failed'", text("inactive-or-failed")),
            ("\"a\\n\\u00e9'\"", text("a\né'")),
            ("5", Value::Int32(5)),
            (" -0x1F ", Value::Int32(-31)),
            ("010", Value::Int32(8)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("true", Value::Bool(true)),
            ("boolean false", Value::Bool(false)),
            ("byte 255", Value::Byte(255)),
            ("@t 7", Value::Uint64(7)),
            ("['a', 'b',]", Value::Array("s".into(), vec![text("a"), text("b")])),
            ("@as []", Value::Array("s".into(), vec![])),
            ("@au [1, 2]", Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)])),
            ("[byte 1,2]", Value::bytes(&[1, 2])),
            ("b'ab'", Value::bytes(b"ab\0")),
            ("('x', uint32 3)", Value::Struct(vec![text("x"), Value::Uint32(3)])),
            ("<'x'>", Value::variant(text("x"))),
            ("@g 'a{sv}u'", Value::Signature("a{sv}u".into())),
            ("@o '/'", Value::ObjectPath("/".into())),
            ("objectpath '/a'", Value::ObjectPath("/a".into())),
            (
                "{'k': <1>}",
                Value::Array(
                    "{sv}".into(),
                    vec![Value::DictEntry(Box::new((text("k"), Value::variant(Value::Int32(1)))))],
                ),
            ),
        ];
        for (written, value) in table {
            assert_eq!(parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn what_is_none() {
        for written in [
            "",
            " ",
            "x",
            "1 2",
            "[]",
            "{}",
            "()",
            "'a",
            "\"",
            "'\\u12'",
            "[1, 'a']",
            "[1 2]",
            "{1 2}",
            "byte 256",
            "uint32 -1",
            "2147483648",
            "@ 1",
            "@a 1",
            "@s 1",
            "uint32 'a'",
            "handle 1",
            "just 5",
            "nothing",
            "<1",
            "1e",
            "--1",
            "0x",
            "string 5",
            "@g 'rw'",
            "signature '('",
            "objectpath 'a'",
            "@o '/a/'",
            "@o '/a-b'",
            "99999999999999999999999999999999999999999999",
        ] {
            assert!(parse(written).is_err(), "{written:?} is {:?}", parse(written));
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"<".repeat(100_000)).is_err());
    }
}
