//! Drawing over what was drawn before, on a terminal of any size.
use std::io::Write;

/// A picture on standard output that is drawn again and again in the same place.
#[derive(Debug)]
pub(crate) struct Live {
    terminal: console::Term,
    /// How wide each line of the last picture was, in columns.
    drawn: Vec<usize>,
}

impl Live {
    /// Nothing is drawn yet.
    pub(super) fn new() -> Self {
        Self {
            terminal: console::Term::stdout(),
            drawn: Vec::new(),
        }
    }

    /// Draws a picture in the place of the last one. The cursor stays on the line below it, so that
    /// whatever ends this process leaves the terminal as it should be.
    pub(crate) fn draw(&mut self, picture: &str) {
        let (rows, columns) = self.terminal.size();
        let (frame, drawn) = frame(picture, &self.drawn, rows.into(), columns.into());
        self.drawn = drawn;
        // Whoever looks may have gone away; that is no fault.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
    }
}

/// What to write, and how wide its lines are.
fn frame(picture: &str, before: &[usize], rows: usize, columns: usize) -> (String, Vec<usize>) {
    let columns = columns.max(1);
    // If the terminal became narrower, it has wrapped what stands there.
    let taken = |width: &usize| width.div_ceil(columns).max(1);
    let up: usize = before.iter().map(taken).sum();
    let mut frame = match up {
        0 => String::new(),
        up => format!("\r\u{1b}[{up}A"),
    };
    let mut widths = Vec::new();
    for line in visible(picture, rows) {
        let line = console::truncate_str(&line, columns, "…").into_owned();
        widths.push(console::measure_text_width(&line));
        // Cleared first: at the end of a full line that would take its last letter.
        frame.push_str("\u{1b}[2K");
        frame.push_str(&line);
        frame.push('\n');
    }
    frame.push_str("\u{1b}[J");
    (frame, widths)
}

/// The lines that fit, the cursor's own left out: what scrolled away can't be drawn over.
fn visible(picture: &str, rows: usize) -> Vec<String> {
    let lines: Vec<String> = picture.lines().map(str::to_owned).collect();
    let fit = rows.saturating_sub(1).max(2);
    if lines.len() <= fit {
        return lines;
    }
    let shown = fit - 1;
    let hidden = lines.len() - shown;
    let mut lines: Vec<String> = lines.into_iter().take(shown).collect();
    lines.push(format!("… {hidden} more lines"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal as far as these frames use one: what stands on its rows after some output.
    struct Screen {
        columns: usize,
        rows: Vec<String>,
        at: usize,
    }

    impl Screen {
        fn new(columns: usize) -> Self {
            Self {
                columns,
                rows: vec![String::new()],
                at: 0,
            }
        }

        fn write(&mut self, frame: &str) {
            let mut rest = frame;
            while let Some(c) = rest.chars().next() {
                if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
                    let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    self.control(&sequence[..end], &sequence[end..=end]);
                    rest = &sequence[end + 1..];
                    continue;
                }
                rest = &rest[c.len_utf8()..];
                match c {
                    '\r' => {}
                    '\n' => self.down(),
                    c => {
                        if self.rows[self.at].chars().count() == self.columns {
                            self.down();
                        }
                        self.rows[self.at].push(c);
                    }
                }
            }
        }

        fn down(&mut self) {
            self.at += 1;
            if self.rows.len() == self.at {
                self.rows.push(String::new());
            }
            self.rows[self.at].clear();
        }

        fn control(&mut self, number: &str, what: &str) {
            match what {
                "A" => {
                    self.at -= number.parse::<usize>().unwrap();
                    self.rows[self.at].clear();
                }
                "K" => {}
                "J" => self.rows.truncate(self.at + 1),
                "m" => {}
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_picture_replaces_the_one_before_it_whatever_its_width() {
        let mut screen = Screen::new(20);
        screen.write("$ watch\n");
        let long = format!("{}\nb", "a".repeat(50));
        let mut drawn = Vec::new();
        for picture in [long.as_str(), "one\ntwo\nthree", "a\nb\nc\nd", "last"] {
            let (frame, widths) = frame(picture, &drawn, 24, 20);
            screen.write(&frame);
            drawn = widths;
        }
        assert_eq!(screen.rows, ["$ watch", "last", ""]);
        assert_eq!(screen.at, 2, "the cursor is below the picture");
    }

    #[test]
    fn lines_end_where_the_terminal_does_and_colours_take_no_room() {
        let (frame, widths) = frame("\u{1b}[32mgreen\u{1b}[0m and long", &[], 24, 10);
        assert_eq!(widths, [10]);
        assert!(frame.contains('…'), "{frame:?}");
    }

    #[test]
    fn a_terminal_that_became_narrower_has_wrapped_the_last_picture() {
        let (frame, _) = frame("x", &[40, 10, 0], 24, 20);
        assert!(frame.starts_with("\r\u{1b}[4A"), "{frame:?}");
    }

    #[test]
    fn a_low_terminal_shows_the_beginning_and_says_so() {
        let picture: String = (0..30).map(|n| format!("{n}\n")).collect();
        let lines = visible(&picture, 10);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines.last().unwrap(), "… 22 more lines");
    }
}
