//! Rust source as a flat list of tokens, so that rules see code and never comments or strings.

use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// An identifier, a literal as written, `::`, one punctuation character or one bracket.
    pub(super) text: String,
    pub(super) line: usize,
}

/// The tokens of a file, or the line at which it stops being Rust.
pub(super) fn of(source: &str) -> Result<Vec<Token>, usize> {
    let stream = TokenStream::from_str(source).map_err(|error| error.span().start().line)?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

/// The places at which the texts of `pattern` follow each other.
pub(super) fn find<'a>(
    tokens: &'a [Token],
    pattern: &'a [&str],
) -> impl Iterator<Item = usize> + 'a {
    let here = |window: &[Token]| {
        window
            .iter()
            .map(|t| t.text.as_str())
            .eq(pattern.iter().copied())
    };
    tokens
        .windows(pattern.len())
        .enumerate()
        .filter(move |(_, window)| here(window))
        .map(|(place, _)| place)
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    // Whether the last token is a `:` with another directly behind it.
    let mut half_path = false;
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let end = group.span_close().end().line;
                into.push(Token {
                    text: open.to_owned(),
                    line,
                });
                flatten(group.stream(), into);
                into.push(Token {
                    text: close.to_owned(),
                    line: end,
                });
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                match into.last_mut() {
                    Some(last) if half_path => last.text.push(':'),
                    _ => into.push(Token {
                        text: ":".to_owned(),
                        line,
                    }),
                }
                half_path = !half_path && punct.spacing() == Spacing::Joint;
            }
            other => into.push(Token {
                text: other.to_string(),
                line,
            }),
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(source: &str, pattern: &[&str]) -> Vec<usize> {
        let tokens = of(source).unwrap();
        find(&tokens, pattern)
            .map(|place| tokens[place].line)
            .collect()
    }

    #[test]
    fn sees_code_but_neither_comments_nor_strings() {
        let source = "// a::b\nfn f() {\n  g(\"a::b\");\n  /* a::b */ a :: b();\n}\n";
        assert_eq!(places(source, &["a", "::", "b"]), [4]);
        assert_eq!(
            places("let x: ::a::b = c;", &[":", "::", "a", "::", "b"]),
            [1]
        );
    }

    #[test]
    fn sees_into_macros_and_brackets() {
        assert_eq!(places("m! {\n x => [ { todo!() } ] }", &["todo", "!"]), [2]);
    }

    #[test]
    fn reports_the_line_that_does_not_lex() {
        assert_eq!(of("fn f() {}\n\"open\n").unwrap_err(), 2);
    }
}
