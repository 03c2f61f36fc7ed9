//! The time line: waves, what happened when, and what became of devices, above one another.
use super::{
    super::story::{Line, Mark},
    Sample, WaveBar, class_of, escaped, grouped,
};

/// Width of the drawing, and its margins, in its own units.
const WIDTH: u64 = 1_080;
const LEFT: u64 = 116;
const RIGHT: u64 = 22;
/// A lane of a wave, and what is between two.
const LANE: u64 = 22;
const LANE_GAP: u64 = 5;
/// A row of labels for what happened.
const FLAG: u64 = 16;
/// Heights of the two panels: what went well, and what did not.
const TALL: u64 = 230;
const LOW: u64 = 90;
/// Room above a panel for its title.
const TITLE: u64 = 38;
/// About how wide a letter is.
const LETTER: u64 = 7;
/// Most columns that answer to the pointer.
const COLUMNS_MAX: usize = 240;

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) end_ms: u64,
    pub(super) samples: &'a [Sample],
    pub(super) waves: &'a [WaveBar],
    pub(super) story: &'a [Line],
}

/// A counter that is drawn as a line: its class, its name, and how to read it.
type Series = (&'static str, &'static str, fn(&Sample) -> u64);

const WELL: [Series; 2] = [
    ("offered", "offered", |s| s.offered),
    ("verified", "verified after boot", |s| s.verified),
];
const BADLY: [Series; 2] = [
    ("failed", "failed or reverted", |s| s.failed),
    ("returned", "went back", |s| s.returned),
];

impl Chart<'_> {
    /// The drawing as an SVG element.
    pub(super) fn to_svg(&self) -> String {
        let flags = self.flags();
        let flag_rows = flags.iter().map(|flag| flag.row + 1).max().unwrap_or(0);
        let lanes_top = flag_rows * FLAG + 12;
        let tall_top = lanes_top + self.waves.len() as u64 * (LANE + LANE_GAP) + TITLE;
        let low_top = tall_top + TALL + TITLE;
        let bottom = low_top + LOW;
        let height = bottom + 44;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Time line of waves, events and outcomes\">\n"
        );
        svg.push_str(&self.axis(bottom));
        for flag in &flags {
            svg.push_str(&flag.draw(bottom));
        }
        svg.push_str(&self.panel("devices, in all", &WELL, tall_top, TALL));
        svg.push_str(&self.panel("of these", &BADLY, low_top, LOW));
        svg.push_str(&self.lanes(lanes_top));
        svg.push_str(&self.pointer(lanes_top, bottom));
        svg + "</svg>\n"
    }

    fn x(&self, t_ms: u64) -> u64 {
        let width = WIDTH - LEFT - RIGHT;
        LEFT + width * t_ms.min(self.end_ms) / self.end_ms.max(1)
    }

    /// Seconds of the run, and log time under them.
    fn axis(&self, bottom: u64) -> String {
        let step = step(self.end_ms.div_ceil(1_000), 12);
        let mut axis = String::new();
        for second in (0..=self.end_ms / 1_000).step_by(step as usize) {
            let x = self.x(second * 1_000);
            let log_time = self
                .samples
                .iter()
                .min_by_key(|sample| sample.t_ms.abs_diff(second * 1_000))
                .map_or("", |sample| &sample.log_time);
            axis.push_str(&format!(
                "<text class=\"mid\" x=\"{x}\" y=\"{}\">{second} s</text>\n\
                 <text class=\"mid faint\" x=\"{x}\" y=\"{}\">{}</text>\n",
                bottom + 18,
                bottom + 34,
                escaped(log_time)
            ));
        }
        axis
    }

    /// A panel of lines over one scale.
    fn panel(&self, title: &str, series: &[Series], top: u64, height: u64) -> String {
        let values = self.samples.iter().flat_map(|sample| {
            let value = move |(_, _, read): &Series| read(sample);
            series.iter().map(value).collect::<Vec<_>>()
        });
        let most = values.max().unwrap_or(0).max(1);
        let step = step(most, height / 45);
        let ticks = most.div_ceil(step);
        let ceiling = step * ticks;
        let y = |value: u64| top + height - height * value.min(ceiling) / ceiling;
        let mut panel = format!(
            "<text class=\"over\" x=\"{LEFT}\" y=\"{}\">{}</text>\n",
            top - 12,
            escaped(title)
        );
        let mut x = LEFT + (title.len() as u64 + 2) * LETTER;
        for (class, name, _) in series {
            panel.push_str(&format!(
                "<rect class=\"fill {class}\" x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" rx=\"2\"/>\n\
                 <text class=\"over\" x=\"{}\" y=\"{}\">{name}</text>\n",
                top - 18,
                x + 20,
                top - 12
            ));
            x += 20 + (name.len() as u64 + 3) * LETTER;
        }
        for tick in 0..=ticks {
            let (value, at) = (tick * step, y(tick * step));
            panel.push_str(&format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/>\n\
                 <text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 10,
                at + 4,
                grouped(value)
            ));
        }
        for (class, _, read) in series {
            let point = |sample: &Sample| format!("{},{} ", self.x(sample.t_ms), y(read(sample)));
            let points: String = self.samples.iter().map(point).collect();
            let points = points.trim_end();
            panel.push_str(&format!(
                "<polyline class=\"stroke {class}\" points=\"{points}\"/>\n"
            ));
        }
        panel
    }

    /// A bar for each wave, with its rollout in the margin where one begins.
    fn lanes(&self, top: u64) -> String {
        let mut lanes = String::new();
        let mut rollout = None;
        for (at, wave) in (0_u64..).zip(self.waves) {
            let y = top + at * (LANE + LANE_GAP);
            if rollout != Some(&wave.rollout) {
                rollout = Some(&wave.rollout);
                lanes.push_str(&format!(
                    "<text class=\"end strong\" x=\"{}\" y=\"{}\">{}</text>\n",
                    LEFT - 10,
                    y + 15,
                    escaped(&wave.rollout)
                ));
            }
            lanes.push_str(&self.lane(wave, y));
        }
        lanes
    }

    fn lane(&self, wave: &WaveBar, y: u64) -> String {
        let from = self.x(wave.opened_ms);
        let to = self.x(wave.ended_ms.unwrap_or(self.end_ms));
        let width = to.saturating_sub(from).max(3);
        let label = match wave.ending {
            Some(ending) => format!("{} · {ending}", wave.name),
            None => format!("{} · open", wave.name),
        };
        let room = (label.chars().count() as u64 + 2) * LETTER;
        let (class, anchor, at) = if width > room {
            ("lane", "start", from + 8)
        } else if to + room < WIDTH {
            ("", "start", to + 7)
        } else {
            ("", "end", from.saturating_sub(7))
        };
        let ending = if wave.ending == Some("halted") {
            "halted"
        } else {
            ""
        };
        let seconds = |t_ms: u64| format!("{}.{} s", t_ms / 1_000, t_ms % 1_000 / 100);
        let until = wave.ended_ms.map_or_else(|| "the end".to_owned(), seconds);
        format!(
            "<g><title>{} of {}: from {} to {until}</title>\
             <rect class=\"wave {ending}\" x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"{LANE}\" rx=\"5\"/>\
             <text class=\"{class} {anchor}\" x=\"{at}\" y=\"{}\">{}</text></g>\n",
            escaped(&wave.name),
            escaped(&wave.rollout),
            seconds(wave.opened_ms),
            y + 15,
            escaped(&label)
        )
    }

    /// What happened, each label in the first row where it does not touch another.
    fn flags(&self) -> Vec<Flag<'_>> {
        let (mut flags, mut ends) = (Vec::new(), Vec::<u64>::new());
        for line in self.story {
            let (Some(mark), Some(short)) = (line.mark, line.short) else {
                continue;
            };
            let x = self.x(line.t_ms);
            let room = (short.len() as u64 + 2) * LETTER;
            let before = x + room > WIDTH - RIGHT;
            let (from, to) = if before { (x - room, x) } else { (x, x + room) };
            let free = ends.iter().position(|end| *end <= from);
            let row = free.unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(end) => *end = to,
                None => ends.push(to),
            }
            flags.push(Flag {
                x,
                row: row as u64,
                before,
                mark,
                short,
                text: &line.text,
            });
        }
        flags
    }

    /// Columns that show the numbers while the pointer is over them.
    fn pointer(&self, top: u64, bottom: u64) -> String {
        let every = self.samples.len().div_ceil(COLUMNS_MAX).max(1);
        let shown: Vec<&Sample> = self.samples.iter().step_by(every).collect();
        let mut columns = String::new();
        for (at, sample) in shown.iter().enumerate() {
            let x = self.x(sample.t_ms);
            let next = shown
                .get(at + 1)
                .map_or(WIDTH - RIGHT, |next| self.x(next.t_ms));
            let width = next.saturating_sub(x).max(1);
            let tip = if x > WIDTH / 2 { x - 196 } else { x + 12 };
            columns.push_str(&format!(
                "<g class=\"at\"><rect class=\"catch\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{}\"/>\
                 <g class=\"tip\"><line x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <rect x=\"{tip}\" y=\"{top}\" width=\"184\" height=\"124\" rx=\"7\"/>{}</g></g>\n",
                bottom - top,
                numbers(sample, tip + 12, top + 20)
            ));
        }
        columns
    }
}

/// The numbers of a sample, a line each.
fn numbers(sample: &Sample, x: u64, y: u64) -> String {
    let mut lines = vec![
        format!(
            "{}.{} s · {}",
            sample.t_ms / 1_000,
            sample.t_ms % 1_000 / 100,
            sample.log_time
        ),
        format!("check-ins: {}", grouped(sample.check_ins)),
    ];
    for (_, name, read) in WELL.iter().chain(&BADLY) {
        lines.push(format!("{name}: {}", grouped(read(sample))));
    }
    let line = |(at, line): (u64, &String)| {
        format!(
            "<text x=\"{x}\" y=\"{}\">{}</text>",
            y + at * 18,
            escaped(line)
        )
    };
    (0_u64..).zip(&lines).map(line).collect()
}

/// Something that happened.
struct Flag<'a> {
    x: u64,
    row: u64,
    /// Whether its label stands before its line.
    before: bool,
    mark: Mark,
    short: &'static str,
    text: &'a str,
}

impl Flag<'_> {
    fn draw(&self, bottom: u64) -> String {
        let Self {
            x,
            row,
            before,
            mark,
            short,
            text,
        } = self;
        let class = class_of(*mark);
        let y = (row + 1) * FLAG;
        let (anchor, at) = if *before {
            ("end", x - 4)
        } else {
            ("start", x + 4)
        };
        format!(
            "<g><title>{}</title><line class=\"flag {class}\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{bottom}\"/>\
             <text class=\"strong fill {class} {anchor}\" x=\"{at}\" y=\"{}\">{short}</text></g>\n",
            escaped(text),
            y - 12,
            y - 2
        )
    }
}

/// The least round step of which `count` reach `most`.
fn step(most: u64, count: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            if factor * power * count.max(1) >= most {
                return factor * power;
            }
        }
        power *= 10;
    }
}
