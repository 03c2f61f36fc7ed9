//! The telling: what the demo says on the terminal, and what the report shows of it later.
use std::{io::Write, sync::Mutex, time::Instant};
use tidegate_runtime::Clock;

/// How a line is marked on the report's time line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A node was killed or came back.
    Kill,
    /// A rollout was halted.
    Halt,
    /// A floor rose.
    Floor,
    /// Something else worth a line.
    Info,
}

/// One line of the story.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) t_ms: u64,
    pub(super) log_time: String,
    pub(super) act: String,
    pub(super) text: String,
    pub(super) mark: Option<Mark>,
    /// The label on the time line, for marked lines.
    pub(super) short: Option<&'static str>,
}

/// Something that had to hold, and whether it did.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) what: String,
    pub(super) seen: String,
    pub(super) held: bool,
}

/// The story so far. Told as it goes, kept for the report.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    log_began: u64,
    clock: super::clock::FastClock,
    quiet: bool,
    colour: bool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    act: String,
    lines: Vec<Line>,
    expectations: Vec<Expectation>,
}

impl Story {
    /// Begins a story. `quiet` keeps it off the terminal.
    #[allow(clippy::disallowed_methods, reason = "the demo runs on real time only")]
    pub(super) fn begin(clock: super::clock::FastClock, quiet: bool, colour: bool) -> Self {
        let log_began = clock.wall().0;
        Self {
            began: Instant::now(),
            log_began,
            clock,
            quiet,
            colour,
            told: Mutex::default(),
        }
    }

    /// When it began.
    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    /// Log time now, as days and hours since the demo began.
    pub(super) fn log_time(&self) -> String {
        const MINUTE_MS: u64 = 60_000;
        let minutes = self.clock.wall().0.saturating_sub(self.log_began) / MINUTE_MS;
        format!(
            "day {} {:02}:{:02}",
            minutes / 1_440,
            minutes / 60 % 24,
            minutes % 60
        )
    }

    /// Begins the next act.
    pub(super) fn act(&self, title: &str) {
        self.with(|told| title.clone_into(&mut told.act));
        if self.colour {
            self.print(&format!("\n\x1b[1m{title}\x1b[0m"));
        } else {
            self.print(&format!("\n{title}\n{}", "-".repeat(title.chars().count())));
        }
    }

    /// Tells one line.
    pub(super) fn tell(&self, text: impl Into<String>) {
        self.push(text.into(), None, None);
    }

    /// Tells one line and marks it on the report's time line as `short`.
    pub(super) fn mark(&self, mark: Mark, short: &'static str, text: impl Into<String>) {
        self.push(text.into(), Some(mark), Some(short));
    }

    /// Notes an expectation and whether it held; tells it if it did not.
    pub(super) fn expect(&self, what: impl Into<String>, seen: impl Into<String>, held: bool) {
        let (what, seen) = (what.into(), seen.into());
        if !held {
            self.tell(format!("NOT AS EXPECTED: {what}; seen: {seen}"));
        }
        self.with(|told| told.expectations.push(Expectation { what, seen, held }));
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.with(|told| told.lines.clone())
    }

    /// All expectations so far.
    pub(super) fn expectations(&self) -> Vec<Expectation> {
        self.with(|told| told.expectations.clone())
    }

    fn push(&self, text: String, mark: Option<Mark>, short: Option<&'static str>) {
        let (t_ms, log_time) = (self.elapsed_ms(), self.log_time());
        self.print(&format!(
            "{:>6.1} s  {log_time:<12}  {text}",
            t_ms as f64 / 1_000.0
        ));
        self.with(|told| {
            let act = told.act.clone();
            told.lines.push(Line {
                t_ms,
                log_time,
                act,
                text,
                mark,
                short,
            });
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut Told) -> R) -> R {
        work(
            &mut self
                .told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn print(&self, text: &str) {
        if !self.quiet {
            // A closed pipe must not end the run: the report is still worth having.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }
}
