//! Every invariant has a row in `docs/INVARIANTS.md` that names code and tests which exist.

use std::collections::BTreeMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::Finding;
use super::tokens::{self, Token};
use super::tree::Tree;

const PATH: &str = "docs/INVARIANTS.md";

/// The invariants of the design. An ID is for ever: this list only grows.
const IDS: [&str; 25] = [
    "FLOOR-1", "FLOOR-2", "FLOOR-3", "EPOCH-1", "EPOCH-2", "WAVE-1", "WAVE-2", "WAVE-3", "HALT-1",
    "HALT-2", "VOTE-1", "COPY-1", "LOG-1", "LOG-2", "LOG-3", "LOG-4", "READ-1", "READ-2",
    "APPLY-1", "AUTH-1", "DEC-1", "DEC-2", "DEGR-1", "LIVE-1", "HEAD-1",
];
/// The columns that must name code, by the word with which their headings begin.
const ENFORCED: &str = "enforced";
const TEST: &str = "property test";
const ORACLE: &str = "simulator oracle";
/// How a cell begins that says why there is nothing to name; it goes on with the reason.
const NOT_YET: &str = "not yet: ";
/// The cells that may say so: ID, column, and what has to be built. The list only shrinks.
const MISSING: [(&str, &str, &str); 3] = [
    ("DEC-2", ENFORCED, "decision nodes write no journal"),
    ("DEC-2", TEST, "decision nodes write no journal"),
    ("DEC-2", ORACLE, "decision nodes write no journal"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.get(PATH) else {
        return vec![Finding::file(
            PATH,
            "there is no such file: every invariant has a row in it",
        )];
    };
    let rows = rows(text);
    let mut findings = Vec::new();
    for id in IDS {
        match rows.iter().filter(|row| row.id == id).count() {
            0 => findings.push(Finding::file(PATH, format!("{id} has no row"))),
            1 => {}
            n => findings.push(Finding::file(PATH, format!("{id} has {n} rows"))),
        }
    }
    findings.extend(rows.iter().flat_map(|row| faults(tree, row)));
    findings
}

/// One row of a table whose first cell is an ID.
struct Row {
    id: String,
    line: usize,
    /// By column heading in lower case.
    cells: BTreeMap<String, Cell>,
}

#[derive(Default)]
struct Cell {
    text: String,
    /// What stands in backticks.
    named: Vec<String>,
}

fn faults(tree: &Tree, row: &Row) -> Vec<Finding> {
    let at = |message: String| Finding::at(PATH, row.line, format!("{}: {message}", row.id));
    let mut findings = Vec::new();
    if !IDS.contains(&row.id.as_str()) {
        findings.push(at("not in IDS of xtask/src/tidy/invariants.rs".to_owned()));
    }
    for column in [ENFORCED, TEST, ORACLE] {
        findings.extend(column_fault(row, column).map(at));
    }
    for (heading, cell) in &row.cells {
        for name in cell.named.iter().filter(|name| name.contains(".rs")) {
            let fault = reference_fault(tree, name, heading.starts_with(TEST));
            findings.extend(fault.map(|why| at(format!("`{name}` {why}"))));
        }
    }
    findings
}

/// What is wrong with a column that must name code, or may say that there is none yet.
fn column_fault(row: &Row, column: &str) -> Option<String> {
    let mut cells = row
        .cells
        .iter()
        .filter_map(|(heading, cell)| heading.starts_with(column).then_some(cell));
    let names_code = |cell: &Cell| cell.named.iter().any(|name| name.contains(".rs::"));
    let says_why = |cell: &Cell| {
        let reason = cell.text.trim().strip_prefix(NOT_YET);
        reason.is_some_and(|reason| !reason.trim().is_empty())
    };
    let excused = MISSING
        .iter()
        .any(|(id, of, _)| *id == row.id && *of == column);
    if excused {
        return (!cells.any(says_why)).then(|| {
            format!("\"{column}\" does not say \"{NOT_YET}…\", as MISSING of xtask/src/tidy/invariants.rs has it: strike it there once there is code")
        });
    }
    (!cells.any(names_code)).then(|| format!("\"{column}\" names no `path.rs::name`"))
}

/// Why `path.rs::name` names nothing, if so; a test must also be one.
fn reference_fault(tree: &Tree, reference: &str, is_test: bool) -> Option<&'static str> {
    let (path, name) = match reference.split_once(".rs::") {
        Some((stem, name)) => (format!("{stem}.rs"), name.rsplit("::").next()),
        None => (reference.to_owned(), None),
    };
    let Some(source) = tree.get(&path) else {
        return Some("names a file that does not exist");
    };
    let Ok(tokens) = tokens::of(source) else {
        return Some("names a file that is not Rust");
    };
    let name = name?;
    if !is_defined(&tokens, name) {
        return Some("names nothing that is defined there");
    }
    (is_test && !is_test_function(&tokens, name)).then_some("is not a test")
}

fn is_defined(tokens: &[Token], name: &str) -> bool {
    let keywords = [
        "fn", "struct", "enum", "trait", "type", "const", "static", "mod",
    ];
    keywords
        .iter()
        .any(|keyword| tokens::find(tokens, &[keyword, name]).next().is_some())
}

/// Whether a function of that name carries an attribute with `test` in it, `cfg(test)` aside.
fn is_test_function(tokens: &[Token], name: &str) -> bool {
    let says = |place: usize, text: &str| tokens.get(place).is_some_and(|t| t.text == text);
    let attributed = |place: &usize| {
        let starts = |at: &usize| ["{", "}", ";"].iter().any(|end| says(*at, end));
        let start = (0..*place).rev().find(starts).unwrap_or(0);
        (start..*place).any(|at| says(at, "test") && !(at >= 2 && says(at - 2, "cfg")))
    };
    tokens::find(tokens, &["fn", name]).any(|place| attributed(&place))
}

fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut headings: Vec<String> = Vec::new();
    let mut cells: Vec<Cell> = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::TableHead | Tag::TableRow) => cells.clear(),
            Event::Start(Tag::TableCell) => cells.push(Default::default()),
            Event::Text(part) => {
                if let Some(cell) = cells.last_mut() {
                    cell.text.push_str(&part);
                }
            }
            Event::Code(code) => {
                if let Some(cell) = cells.last_mut() {
                    cell.text.push_str(&code);
                    cell.named.push(code.into_string());
                }
            }
            Event::End(TagEnd::TableHead) => {
                headings = cells
                    .iter()
                    .map(|cell| cell.text.trim().to_lowercase())
                    .collect();
            }
            Event::End(TagEnd::TableRow) => {
                let id = cells
                    .first()
                    .map(|cell| cell.text.trim().to_owned())
                    .unwrap_or_default();
                if is_id(&id) {
                    let line = text[..range.start].matches('\n').count() + 1;
                    rows.push(Row {
                        id,
                        line,
                        cells: headings.iter().cloned().zip(cells.drain(..)).collect(),
                    });
                }
            }
            _ => {}
        }
    }
    rows
}

/// `WAVE-3`: capitals, a hyphen, a number.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(word, number)| {
        let capitals = !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
        capitals && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "pub fn raise() {}\nmod tests { proptest! { #[test] fn rises(x in 0..9) {} } fn plain() {} #[cfg(test)] fn aid() {} }";
    const GOOD: &str = "| `domain/a.rs::raise` | `domain/a.rs::tests::rises` |";

    /// What a row goes on with: code and a test, or why there is none where `MISSING` allows it.
    fn due(id: &str) -> String {
        let cell = |column: &str, code: &str| {
            let missing = MISSING
                .iter()
                .find(|(of, at, _)| *of == id && *at == column);
            missing.map_or(code.to_owned(), |(.., why)| format!("{NOT_YET}{why}"))
        };
        let enforced = cell(ENFORCED, "`domain/a.rs::raise`");
        let test = cell(TEST, "`domain/a.rs::tests::rises`");
        let oracle = cell(ORACLE, "`domain/a.rs::raise`");
        format!("| {enforced} | {test} | {oracle} |")
    }

    /// These rows with an oracle each.
    fn watched(rows: &str) -> String {
        let rows = rows
            .lines()
            .map(|row| format!("{row} `domain/a.rs::raise` |"));
        rows.collect::<Vec<_>>().join("\n")
    }

    /// A page with a good row for each invariant, but `row` for FLOOR-1.
    fn found(row: &str) -> Vec<String> {
        let mut page =
            "# Invariants\n\n| ID | Enforced at | Property test | Simulator oracle |\n|---|---|---|---|\n"
                .to_owned();
        page.push_str(&watched(row));
        for id in &IDS[1..] {
            page.push_str(&format!("\n| {id} {}", due(id)));
        }
        let tree = Tree::made_up(&[(PATH, &page), ("domain/a.rs", CODE)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    fn finds_one(row: &str, message: &str) {
        let found = found(row);
        assert!(
            matches!(&found[..], [one] if one.contains(message)),
            "{row}: {found:#?}"
        );
    }

    #[test]
    fn a_full_page_passes() {
        assert_eq!(found(&format!("| FLOOR-1 {GOOD}")), [""; 0]);
        assert_eq!(found(&format!("| **FLOOR-1** {GOOD}")), [""; 0]);
    }

    #[test]
    fn each_invariant_has_exactly_one_row() {
        finds_one("| FLOOR-9 x | y |", "FLOOR-1 has no row");
        finds_one(
            &format!("| FLOOR-1 {GOOD}\n| FLOOR-1 {GOOD}"),
            "FLOOR-1 has 2 rows",
        );
        finds_one(
            &format!("| FLOOR-1 {GOOD}\n| FLOOR-4 {GOOD}"),
            "FLOOR-4: not in IDS",
        );
        assert!(
            check(&Tree::made_up(&[]))[0]
                .message
                .contains("no such file")
        );
    }

    #[test]
    fn what_a_row_names_exists() {
        let test = "`domain/a.rs::rises` |";
        finds_one(
            &format!("| FLOOR-1 | apply | {test}"),
            "\"enforced\" names no",
        );
        finds_one(
            &format!("| FLOOR-1 | `domain/b.rs::raise` | {test}"),
            "file that does not exist",
        );
        finds_one(
            &format!("| FLOOR-1 | `domain/a.rs::lower` | {test}"),
            "nothing that is defined",
        );
        let code = "| FLOOR-1 | `domain/a.rs::raise` |";
        finds_one(&format!("{code} none yet |"), "\"property test\" names no");
        finds_one(
            &format!("{code} `domain/a.rs::tests::falls` |"),
            "nothing that is defined",
        );
        finds_one(&format!("{code} `domain/a.rs::plain` |"), "is not a test");
        finds_one(&format!("{code} `domain/a.rs::aid` |"), "is not a test");
    }
    #[test]
    fn what_is_not_built_is_said_where_the_list_has_it() {
        finds_one(
            "| FLOOR-1 | `domain/a.rs::raise` | not yet: too hard |",
            "\"property test\" names no",
        );
        let good = |id: &str| format!("{id} {}", due(id));
        let page = |of: &str, row: &str| {
            let head =
                "| ID | Enforced at | Property test | Simulator oracle |\n|---|---|---|---|\n";
            let row = |id: &str| if id == of { row.to_owned() } else { good(id) };
            let rows: Vec<String> = IDS.iter().map(|id| format!("| {}", row(id))).collect();
            let page = format!("{head}{}", rows.join("\n"));
            let tree = Tree::made_up(&[(PATH, &page), ("domain/a.rs", CODE)]);
            check(&tree).len()
        };
        for (id, column, _) in MISSING {
            assert_eq!(page(id, &good(id)), 0);
            let due = due(id);
            let mut cells: Vec<&str> = due.split('|').collect();
            let place = match column {
                ENFORCED => 1,
                TEST => 2,
                _ => 3,
            };
            for silent in [" ", "not yet:  ", "`domain/a.rs::rises`"] {
                cells[place] = silent;
                assert_eq!(
                    page(id, &format!("{id} {}", cells.join("|"))),
                    1,
                    "{silent}"
                );
            }
        }
    }
}
