//! What came of a run: a table for people, and JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

/// One side of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Side {
    pub(crate) value: f64,
    pub(crate) cpu_us: Option<f64>,
    pub(crate) also: Vec<(String, f64)>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    pub(crate) unit: &'static str,
    pub(crate) ratio: Option<f64>,
    pub(crate) ours: Side,
    pub(crate) etcd: Option<Side>,
}

/// What was asked for and not measured, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// What etcd says of its version; `None` without one.
    pub(crate) etcd: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) missing: Vec<Missing>,
}

const HEADER: [&str; 9] = [
    "ROW",
    "CLIENTS",
    "OURS",
    "ETCD",
    "UNIT",
    "RATIO",
    "CPU µs OURS",
    "ETCD",
    "ALSO (OURS / ETCD)",
];

impl Report {
    pub(crate) fn to_json(&self) -> Json {
        let missing = |missing: &Missing| json!({ "name": missing.name, "why": missing.why });
        json!({
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "not_measured": self.missing.iter().map(missing).collect::<Vec<_>>(),
            "etcd": self.etcd,
            "seconds": self.seconds,
            "rounds": self.rounds,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![HEADER.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut text = aligned(&lines);
        let Self {
            seconds, rounds, ..
        } = self;
        let against = match &self.etcd {
            Some(version) => format!("{version}, in turns with ours"),
            None => "ours alone, since there is no etcd here".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "medians of {rounds} rounds of {seconds} s; {against}; a ratio above 1 says that ours is better"
        );
        for Missing { name, why } in &self.missing {
            let _ = writeln!(text, "not measured: {name}: {why}");
        }
        text
    }
}

impl Row {
    fn to_json(&self) -> Json {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Json| fields.insert(name.to_owned(), value);
        let etcd = self.etcd.as_ref();
        put("name", self.name.into());
        put("clients", self.clients.into());
        put("ours", self.ours.value.into());
        put("etcd", etcd.map(|side| side.value).into());
        put("unit", self.unit.into());
        put("ratio", self.ratio.into());
        put("cpu_us_ours", self.ours.cpu_us.into());
        put("cpu_us_etcd", etcd.and_then(|side| side.cpu_us).into());
        for (suffix, side) in [("ours", Some(&self.ours)), ("etcd", etcd)] {
            for (name, value) in side.map_or(&[][..], |side| &side.also) {
                put(&format!("{name}_{suffix}"), (*value).into());
            }
        }
        fields.into()
    }

    fn cells(&self) -> [String; 9] {
        let etcd = self.etcd.as_ref();
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let mut also = Vec::new();
        for (name, value) in &self.ours.also {
            let theirs = etcd.and_then(|side| side.also.iter().find(|(n, _)| n == name));
            let theirs = cell(theirs.map(|(_, value)| *value));
            also.push(format!("{name} {} / {theirs}", number(*value)));
        }
        [
            self.name.to_owned(),
            self.clients.to_string(),
            number(self.ours.value),
            cell(etcd.map(|side| side.value)),
            self.unit.to_owned(),
            cell(self.ratio),
            cell(self.ours.cpu_us),
            cell(etcd.and_then(|side| side.cpu_us)),
            also.join(", "),
        ]
    }
}

/// Three digits that count, without an exponent.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or_default());
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(etcd: Option<Side>) -> Report {
        Report {
            etcd: etcd.as_ref().map(|_| "etcd 3.4.23".to_owned()),
            seconds: 3.0,
            rounds: 3,
            rows: vec![Row {
                name: "write",
                clients: 64,
                unit: "ops/s",
                ratio: etcd.as_ref().map(|_| 0.25),
                ours: Side {
                    value: 1_000.0,
                    cpu_us: Some(800.0),
                    also: vec![("p99_ms".to_owned(), 90.5)],
                },
                etcd,
            }],
            missing: vec![Missing {
                name: "session_rows".to_owned(),
                why: "there are none".to_owned(),
            }],
        }
    }

    fn both() -> Report {
        report(Some(Side {
            value: 4_000.0,
            cpu_us: Some(200.0),
            also: vec![("p99_ms".to_owned(), 25.0)],
        }))
    }

    #[test]
    fn rows_have_the_fields_that_others_read() {
        let row = json!({
            "name": "write", "clients": 64, "ours": 1_000.0, "etcd": 4_000.0, "unit": "ops/s",
            "ratio": 0.25, "cpu_us_ours": 800.0, "cpu_us_etcd": 200.0,
            "p99_ms_ours": 90.5, "p99_ms_etcd": 25.0,
        });
        assert_eq!(both().to_json()["rows"], json!([row]));
    }

    #[test]
    fn without_etcd_its_fields_are_null_and_the_text_says_so() {
        let alone = report(None);
        let row = &alone.to_json()["rows"][0];
        for field in ["etcd", "ratio", "cpu_us_etcd"] {
            assert_eq!(row.get(field), Some(&Json::Null), "{field}");
        }
        assert_eq!(row["ours"], 1_000.0);
        assert!(alone.to_text().contains("ours alone"));
        assert!(!both().to_text().contains("ours alone"));
    }

    #[test]
    fn what_was_not_measured_is_no_row() {
        let json = both().to_json();
        assert_eq!(json["not_measured"][0]["name"], "session_rows");
        assert_eq!(json["rows"].as_array().unwrap().len(), 1);
        assert!(
            both()
                .to_text()
                .contains("not measured: session_rows: there are none")
        );
    }

    #[test]
    fn numbers_keep_what_counts() {
        let shown = [1_234.56, 56.78, 0.256].map(number);
        assert_eq!(shown, ["1235", "56.8", "0.26"]);
    }
}
