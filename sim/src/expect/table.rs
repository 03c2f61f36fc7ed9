//! What was expected and measured, as a table.

use super::Row;

/// Milliseconds below ten seconds, tenths of a second above.
pub(super) fn shown(us: u64) -> String {
    if us < 10_000_000 {
        return format!("{} ms", us / 1_000);
    }
    format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000)
}

/// The rows as a table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let width = |cell: fn(&Row) -> &str, title: &str| {
        let cells = rows.iter().map(|row| cell(row).chars().count());
        cells.chain([title.len()]).max().unwrap_or(0)
    };
    let first = width(|row| &row.expected, "expected");
    let second = width(|row| &row.measured, "measured");
    let mut table = format!("  {:first$}  {:second$}  held\n", "expected", "measured");
    for row in rows {
        let held = if row.held { "yes" } else { "NO" };
        let line = format!(
            "  {:first$}  {:second$}  {held}\n",
            row.expected, row.measured
        );
        table.push_str(&line);
    }
    table
}
