//! As much of CDDL (RFC 8610) as `docs/schema/audit.cddl` is written in: rules, maps with literal
//! keys, arrays, choices, ranges, `.size`, `.cbor`, and `.regexp` for the one class of names.
use minicbor::{Decoder, data::Type as Kind};
use std::collections::BTreeMap;

/// A schema: its rules by name.
pub(crate) struct Schema(BTreeMap<String, Type>);

#[derive(Debug)]
enum Type {
    Name(String),
    Number(u64),
    Text(String),
    Range(u64, u64),
    Choice(Vec<Type>),
    Map(Vec<Entry>),
    Array(Vec<(Occurs, Type)>),
    Controlled(Box<Type>, String, Box<Type>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Occurs {
    Once,
    Maybe,
    Often,
}

#[derive(Debug)]
enum Entry {
    /// A literal key, and whether it has to be there.
    Key(Occurs, u64, Type),
    /// Exactly one of these keys.
    OneOf(Vec<(u64, Type)>),
    /// Any other keys.
    Rest,
}

#[derive(Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(BTreeMap<u64, Value>),
    Bool,
    Nil,
}

impl Schema {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split(';').next().unwrap());
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut tokens = Tokens(tokens(&text));
        let mut rules = BTreeMap::new();
        while let Some(name) = tokens.next() {
            tokens.expect("=");
            let before = rules.insert(name.clone(), tokens.read_type());
            assert!(before.is_none(), "{name} stands twice");
        }
        Self(rules)
    }

    pub(crate) fn check(&self, rule: &str, bytes: &[u8]) -> Result<(), String> {
        let mut decoder = Decoder::new(bytes);
        let value = read(&mut decoder);
        assert_eq!(decoder.position(), bytes.len(), "one value");
        self.matches(&Type::Name(rule.to_owned()), &value)
    }

    fn matches(&self, as_type: &Type, value: &Value) -> Result<(), String> {
        let fits = match (as_type, value) {
            (Type::Name(name), value) => return self.named(name, value),
            (Type::Number(wanted), Value::Number(found)) => wanted == found,
            (Type::Range(from, to), Value::Number(found)) => (from..=to).contains(&found),
            (Type::Choice(types), value) => types
                .iter()
                .any(|option| self.matches(option, value).is_ok()),
            (Type::Map(entries), Value::Map(map)) => return self.map(entries, map),
            (Type::Array(items), Value::Array(values)) => return self.array(items, values),
            (Type::Controlled(target, control, by), value) => {
                self.matches(target, value)?;
                self.controls(control, by, value)
            }
            _ => false,
        };
        fits.then_some(())
            .ok_or_else(|| format!("{value:?} is no {as_type:?}"))
    }

    fn named(&self, name: &str, value: &Value) -> Result<(), String> {
        let fits = match (name, value) {
            ("uint", Value::Number(_)) | ("bstr", Value::Bytes(_)) | ("any", _) => true,
            ("tstr", Value::Text(_)) | ("bool", Value::Bool) | ("nil", Value::Nil) => true,
            ("uint" | "bstr" | "tstr" | "bool" | "nil", _) => false,
            (name, value) => {
                let rule = self.0.get(name).unwrap_or_else(|| panic!("no rule {name}"));
                return self
                    .matches(rule, value)
                    .map_err(|why| format!("{name}: {why}"));
            }
        };
        fits.then_some(())
            .ok_or_else(|| format!("{value:?} is no {name}"))
    }

    fn map(&self, entries: &[Entry], map: &BTreeMap<u64, Value>) -> Result<(), String> {
        let mut left: Vec<u64> = map.keys().copied().collect();
        for entry in entries {
            let options: Vec<(u64, &Type)> = match entry {
                Entry::Rest => return Ok(()),
                Entry::Key(_, key, of) => vec![(*key, of)],
                Entry::OneOf(options) => options.iter().map(|(key, of)| (*key, of)).collect(),
            };
            let mut found = 0;
            for (key, of) in options {
                if let Some(value) = map.get(&key) {
                    self.matches(of, value)
                        .map_err(|why| format!("{key}: {why}"))?;
                    left.retain(|k| *k != key);
                    found += 1;
                }
            }
            if found != 1 && !matches!(entry, Entry::Key(Occurs::Maybe, ..)) {
                return Err(format!("{found} fields of {entry:?}"));
            }
        }
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("fields {left:?} are not in the schema"))
    }

    fn array(&self, items: &[(Occurs, Type)], values: &[Value]) -> Result<(), String> {
        let mut rest = values;
        for (occurs, of) in items {
            loop {
                let matched = rest.first().map(|value| self.matches(of, value));
                match (matched, occurs) {
                    (Some(Ok(())), _) => rest = &rest[1..],
                    (Some(Err(why)), Occurs::Once) => return Err(why),
                    (None, Occurs::Once) => return Err(format!("{of:?} is missing")),
                    (Some(Err(_)) | None, _) => break,
                }
                if *occurs != Occurs::Often {
                    break;
                }
            }
        }
        match rest.first() {
            None => Ok(()),
            Some(value) => Err(format!("{value:?} is too much")),
        }
    }

    fn controls(&self, control: &str, by: &Type, value: &Value) -> bool {
        match (control, by, value) {
            (".size", Type::Number(size), Value::Bytes(bytes)) => bytes.len() as u64 == *size,
            (".size", Type::Range(from, to), Value::Text(text)) => {
                (*from..=*to).contains(&(text.len() as u64))
            }
            (".regexp", Type::Text(pattern), Value::Text(text)) => {
                let class = pattern.strip_prefix("[A-Za-z0-9._+-]{1,");
                let max = class.and_then(|rest| rest.strip_suffix('}')).unwrap();
                let named = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
                (1..=max.parse().unwrap()).contains(&text.len()) && text.chars().all(named)
            }
            (".cbor", of, Value::Bytes(bytes)) => {
                let mut decoder = Decoder::new(bytes);
                let inner = read(&mut decoder);
                decoder.position() == bytes.len() && self.matches(of, &inner).is_ok()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The next value, of those that bodies are made of.
fn read(from: &mut Decoder<'_>) -> Value {
    match from.datatype().unwrap() {
        Kind::Bytes => Value::Bytes(from.bytes().unwrap().to_vec()),
        Kind::String => Value::Text(from.str().unwrap().to_owned()),
        Kind::Array => {
            let items = from.array().unwrap().unwrap();
            Value::Array((0..items).map(|_| read(from)).collect())
        }
        Kind::Map => {
            let fields = from.map().unwrap().unwrap();
            let field = |_| (from.u64().unwrap(), read(from));
            Value::Map((0..fields).map(field).collect())
        }
        Kind::Bool => from.bool().map(|_| Value::Bool).unwrap(),
        Kind::Null => from.null().map(|()| Value::Nil).unwrap(),
        _ => Value::Number(from.u64().unwrap()),
    }
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            rest[1..].find('"').unwrap() + 2
        } else if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())
        } else if first.is_ascii_lowercase()
            || rest.starts_with(".size")
            || rest.starts_with(".re")
            || rest.starts_with(".cb")
        {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
            1 + rest[1..].find(|c| !word(c)).unwrap_or(rest.len() - 1)
        } else if ["=>", "//", ".."].iter().any(|two| rest.starts_with(two)) {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens.reverse();
    tokens
}

/// What is left to read, last first.
struct Tokens(Vec<String>);

impl Tokens {
    fn next(&mut self) -> Option<String> {
        self.0.pop()
    }

    fn peek(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    fn takes(&mut self, token: &str) -> bool {
        let is_next = self.peek() == token;
        if is_next {
            self.0.pop();
        }
        is_next
    }

    fn expect(&mut self, token: &str) {
        assert!(self.takes(token), "{token} expected, not {}", self.peek());
    }

    fn read_type(&mut self) -> Type {
        let mut options = vec![self.controlled()];
        while self.takes("/") {
            options.push(self.controlled());
        }
        match options.len() {
            1 => options.remove(0),
            _ => Type::Choice(options),
        }
    }

    fn controlled(&mut self) -> Type {
        let target = self.simple();
        if self.takes("..") {
            let (Type::Number(from), Type::Number(to)) = (target, self.simple()) else {
                panic!("ranges are of numbers");
            };
            return Type::Range(from, to);
        }
        match self.peek().starts_with('.') {
            true => {
                let control = self.next().unwrap();
                Type::Controlled(Box::new(target), control, Box::new(self.simple()))
            }
            false => target,
        }
    }

    fn simple(&mut self) -> Type {
        let token = self.next().unwrap();
        match token.as_str() {
            "(" => {
                let inner = self.read_type();
                self.expect(")");
                inner
            }
            "{" => Type::Map(self.entries()),
            "[" => Type::Array(self.items()),
            token if token.starts_with('"') => Type::Text(token.trim_matches('"').to_owned()),
            token => match token.parse() {
                Ok(number) => Type::Number(number),
                Err(_) => Type::Name(token.to_owned()),
            },
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        while !self.takes("}") {
            if self.takes("*") {
                for token in ["uint", "=>", "any"] {
                    self.expect(token);
                }
                entries.push(Entry::Rest);
            } else if self.takes("(") {
                let mut options = vec![self.field()];
                while self.takes("//") {
                    options.push(self.field());
                }
                self.expect(")");
                entries.push(Entry::OneOf(options));
            } else {
                let maybe = self.takes("?");
                let (key, of) = self.field();
                let occurs = if maybe { Occurs::Maybe } else { Occurs::Once };
                entries.push(Entry::Key(occurs, key, of));
            }
            self.takes(",");
        }
        entries
    }

    fn field(&mut self) -> (u64, Type) {
        let key = self.next().unwrap().parse().unwrap();
        self.expect("=>");
        (key, self.read_type())
    }

    fn items(&mut self) -> Vec<(Occurs, Type)> {
        let mut items = Vec::new();
        while !self.takes("]") {
            let occurs = match self.peek() {
                "?" => Occurs::Maybe,
                "*" => Occurs::Often,
                _ => Occurs::Once,
            };
            if occurs != Occurs::Once {
                self.next();
            }
            // A name for people may stand before the type.
            if self.0.iter().rev().nth(1).is_some_and(|token| token == ":") {
                self.next();
                self.next();
            }
            items.push((occurs, self.read_type()));
            self.takes(",");
        }
        items
    }
}
