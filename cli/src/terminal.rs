//! What a command shows: text for people or JSON for programs, colour only where people look.
mod live;

pub(crate) use live::Live;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value as Json;
use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    time::Duration,
};

/// Where and how results are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Results are one JSON document on standard output.
    pub(crate) json: bool,
    /// Standard output takes colour.
    pub(crate) colour: bool,
    /// Standard error is a terminal: progress may be drawn there.
    progress: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Needs a look.
    Warning,
    /// Wrong, or stopped.
    Bad,
    /// Of less interest.
    Faint,
    /// What one looks for first.
    Strong,
}

impl Terminal {
    /// Looks at what standard output and error are.
    pub(crate) fn new(json: bool) -> Self {
        let asked_not_to =
            std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
        Self {
            json,
            colour: !json && !asked_not_to && std::io::stdout().is_terminal(),
            progress: !json && std::io::stderr().is_terminal() && !is_dumb(),
        }
    }

    /// Shows the result of a command.
    pub(crate) fn show(self, text: impl Display, json: Json) {
        let text = if self.json {
            format!("{json:#}")
        } else {
            text.to_string()
        };
        self.line(text);
    }

    /// Writes one line to standard output. Whoever reads it may have gone away; that is no fault.
    pub(crate) fn line(self, text: impl Display) {
        let text = text.to_string();
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
    }

    /// Says something beside the result, on standard error.
    pub(crate) fn note(self, text: impl Display) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A place to draw over and over, where standard output is a terminal that can be drawn on.
    pub(crate) fn live(self) -> Option<Live> {
        (!self.json && std::io::stdout().is_terminal() && !is_dumb()).then(Live::new)
    }

    /// How many columns a picture should fit into.
    pub(crate) fn columns(self) -> usize {
        /// Where nobody draws, lines may be longer than most terminals are wide, but not endless.
        const ELSEWHERE: usize = 100;
        let size = console::Term::stdout().size_checked();
        size.map_or(ELSEWHERE, |(_, columns)| columns.into())
    }

    /// Colours a text by what it says.
    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let style = match tone {
            Tone::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Tone::Warning => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Tone::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        format!("{style}{text}{style:#}")
    }

    /// A spinner for work of unknown length; shows nothing unless standard error is a terminal.
    pub(crate) fn spinner(self, what: impl Into<String>) -> indicatif::ProgressBar {
        if !self.progress {
            return indicatif::ProgressBar::hidden();
        }
        let spinner = indicatif::ProgressBar::new_spinner().with_message(what.into());
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    }

    /// A bar for work of so many units; shows nothing unless standard error is a terminal.
    pub(crate) fn bar(self, what: &str, length: u64, unit: &str) -> indicatif::ProgressBar {
        if !self.progress {
            return indicatif::ProgressBar::hidden();
        }
        let style =
            format!("{{msg}}  {{wide_bar}}  {{human_pos}} of {{human_len}} {unit}, {{eta}} left");
        let style = indicatif::ProgressStyle::with_template(&style)
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
        indicatif::ProgressBar::new(length)
            .with_style(style)
            .with_message(what.to_owned())
    }
}

/// Lines up rows of cells under a header.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells
            .map(|cell| console::measure_text_width(cell))
            .max()
            .unwrap_or(0);
        widest.max(header.get(column).map_or(0, |title| title.len()))
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            let padding = " ".repeat(width.saturating_sub(console::measure_text_width(cell)));
            line.push_str(&format!("{cell}{padding}  "));
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Whether the terminal shows text only.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
