//! YAML as a tree of nodes that remember where they stand.
//!
//! Only what a signed file needs is accepted: one document, plain maps, lists and scalars. Anchors,
//! aliases and tags are refused, so that a file says what it says where it says it, and cannot grow
//! when it is read.
use super::{
    number::{Decimal, NotANumber},
    problem::{Place, Problem},
};
use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Longest file, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 256 << 10;
/// Most nodes in a file.
const NODES_MAX: usize = 20_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 16;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text as written, quotes and escapes resolved.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood in quotes or a block: then it is never a number.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, keys unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Node {
    /// What the node is, for messages.
    pub(crate) fn kind(&self) -> String {
        match &self.value {
            Value::Scalar { text, quoted: true } => format!("the text {text:?}"),
            Value::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// Whether YAML readers take the node for text, and not for a number, a truth value or nothing.
    pub(crate) fn is_text(&self) -> bool {
        match &self.value {
            Value::Scalar { quoted: true, .. } => true,
            Value::Scalar { text, .. } => {
                let based = text.starts_with("0x") || text.starts_with("0o");
                let truth = matches!(text.to_ascii_lowercase().as_str(), "true" | "false");
                let number = Decimal::parse(text) != Err(NotANumber::Malformed);
                !(self.is_null() || truth || number || based)
            }
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// Whether there is no value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads the one document of a YAML text.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes", text.len());
        return Err(Problem::new(TOP, message).expected(format!("at most {FILE_BYTES_MAX}")));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            let marker = error.marker();
            let place = Place {
                line: marker.line().max(1),
                column: marker.col() + 1,
                length: 1,
            };
            Problem::new(place, format!("this is not YAML: {}", error.info()))
        })?;
        builder.take(event, place(&span))?;
    }
    builder
        .root
        .ok_or_else(|| Problem::new(TOP, "the file is empty").expected("a map with `rollout`"))
}

const TOP: Place = Place {
    line: 1,
    column: 1,
    length: 1,
};

fn place(span: &Span) -> Place {
    let one_line = span.start.line() == span.end.line();
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
        length: if one_line {
            span.end.col().saturating_sub(span.start.col()).max(1)
        } else {
            1
        },
    }
}

/// Builds the tree from events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

/// A collection whose end has not come yet.
struct Open {
    place: Place,
    value: Value,
    /// The key whose value comes next.
    key: Option<Key>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), Problem> {
        let (anchored, tagged) = (event.anchor_id().is_some(), event.tag().is_some());
        if event.is_alias() || anchored {
            return Err(
                Problem::new(at, "anchors and aliases (`&`, `*`) are not accepted")
                    .help("write the value out where it belongs"),
            );
        }
        if tagged {
            return Err(Problem::new(at, "tags (`!`) are not accepted").help("leave the tag out"));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(at, "a second document begins here")
                        .expected("one rollout in one file"));
                }
            }
            Event::Scalar(text, style, ..) => {
                let quoted = !matches!(style, ScalarStyle::Plain);
                let text = text.into_owned();
                self.put(at, Value::Scalar { text, quoted })?;
            }
            Event::SequenceStart(..) => self.begin(at, Value::List(Vec::new()))?,
            Event::MappingStart(..) => self.begin(at, Value::Map(Vec::new()))?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { place, value, .. }) = self.open.pop() {
                    self.put(place, value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, value: Value) -> Result<(), Problem> {
        let is_key = matches!(self.open.last(), Some(open)
            if matches!(open.value, Value::Map(_)) && open.key.is_none());
        if is_key {
            return Err(not_a_key(place));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Problem::new(
                place,
                format!("nested more than {DEPTH_MAX} deep"),
            ));
        }
        self.open.push(Open {
            place,
            value,
            key: None,
        });
        Ok(())
    }

    fn put(&mut self, place: Place, value: Value) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Problem::new(place, format!("more than {NODES_MAX} values")));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(Node { place, value });
            return Ok(());
        };
        match &mut open.value {
            Value::List(items) => items.push(Node { place, value }),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, Node { place, value })),
                None => {
                    let Value::Scalar { text, .. } = value else {
                        return Err(not_a_key(place));
                    };
                    if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                        let message = format!("`{text}` stands twice");
                        return Err(Problem::new(place, message)
                            .help(format!("it stands in line {} too", first.place.line)));
                    }
                    open.key = Some(Key { place, text });
                }
            },
            Value::Scalar { .. } => unreachable!("only collections are open"),
        }
        Ok(())
    }
}

fn not_a_key(place: Place) -> Problem {
    Problem::new(place, "a key must be a plain word").expected("`key: value`")
}
