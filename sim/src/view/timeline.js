// Draws the run that stands in #data: lanes over time. What moves it stands in controls.js.
"use strict";

const run = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const canvas = $("chart");
const pen = canvas.getContext("2d");

const COLOURS = {
  leads: "#2563a8",
  lease: "#7cc49a",
  down: "#3d4852",
  paused: "#b58b00",
  cut_off: "#d9822b",
  impaired: "#c9a6d8",
  fault: "#d9480f",
  offer: "#0b7285",
  other: "#adb5bd",
  good: "#2b8a3e",
  bad: "#c62828",
  halt: "#862e9c",
  violation: "#c62828",
  started: "#2b8a3e",
  stopped: "#3d4852",
  installed: "#5f3dc4",
};
const LEGEND = [
  ["leads", "leads"],
  ["lease", "lease runs"],
  ["down", "down"],
  ["paused", "paused"],
  ["cut_off", "cut off"],
  ["impaired", "impaired"],
  ["offer", "offers"],
  ["halt", "halt"],
  ["violation", "violation"],
];
const GUTTER = 92;
const AXIS = 26;
const FAULTS = 62;
const HALTS = 34;
const CHART = 70;
const LANE = 30;
const FONT = '12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

const end = Math.max(run.ended_us, 1);
const view = { from: Math.max(0, run.loaded_us - 2e6), until: end };
const rows = layout();
const blows = grouped();
let targets = [];
let hits = [];
let current = -1;

// The begin of the load, and not that of founding, is what people count from.
function seconds(us) {
  return ((us - run.loaded_us) / 1e6).toFixed(3);
}

function when(event) {
  return `${seconds(event.at_us)} s  ${event.lane}`;
}

function layout() {
  const list = [];
  let top = AXIS;
  const add = (name, kind, height, lane) => {
    list.push({ name, kind, height, top, lane });
    top += height;
  };
  add("faults", "faults", FAULTS);
  if (run.spans.some((span) => span.what === "barred")) add("halts", "halts", HALTS);
  add("commands", "commands", CHART);
  if (Object.keys(run.check_ins).length > 0) add("check-ins", "checkIns", CHART);
  for (const lane of run.lanes) add(lane.name, "lane", LANE, lane);
  return list;
}

const height = () => rows.at(-1).top + rows.at(-1).height + 4;
const width = () => canvas.clientWidth;
const scale = () => (width() - GUTTER - 14) / (view.until - view.from);
const x = (us) => GUTTER + (us - view.from) * scale();
const time = (px) => view.from + (px - GUTTER) / scale();
const visible = (from, until) => until >= view.from && from <= view.until;

function target(left, top, wide, high, text) {
  targets.push({ left, top, wide, high, text });
}

function text(words, left, base, colour, align) {
  pen.fillStyle = colour || "#1b2733";
  pen.textAlign = align || "left";
  pen.fillText(words, left, base);
}

function box(from, until, top, high, colour) {
  const left = Math.max(x(from), GUTTER);
  const right = Math.min(x(until), width());
  pen.fillStyle = colour;
  pen.fillRect(left, top, Math.max(right - left, 1.5), high);
  return [left, Math.max(right - left, 1.5)];
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = height() + "px";
  canvas.width = width() * ratio;
  canvas.height = height() * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = FONT;
  targets = [];
  axis();
  for (const row of rows) {
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, row.top, width() - GUTTER, row.height);
    pen.clip();
    ({ faults, halts, commands, checkIns, lane })[row.kind](row);
    pen.restore();
    label(row);
  }
  across();
}

function label(row) {
  const middle = row.top + row.height / 2 + 4;
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, row.top, GUTTER - 1, row.height);
  text(row.name, 20, middle);
  if (row.lane && row.lane.region) {
    text(row.lane.region, GUTTER - 12, middle, "#8a97a5", "right");
  }
  pen.fillStyle = "#dde3e9";
  pen.fillRect(0, row.top + row.height - 1, width(), 1);
}

function axis() {
  const span = (view.until - view.from) / 1e6;
  const wanted = span / Math.max(width() / 110, 1);
  const steps = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
  const step = (steps.find((one) => one >= wanted) || 3600) * 1e6;
  const first = Math.ceil((view.from - run.loaded_us) / step) * step + run.loaded_us;
  for (let at = first; at <= view.until; at += step) {
    pen.fillStyle = "#eef1f4";
    pen.fillRect(x(at), AXIS, 1, height() - AXIS);
    text(clock((at - run.loaded_us) / 1e6, step), x(at), 17, "#5c6b7a", "center");
  }
}

function clock(total, step) {
  const sign = total < -1e-9 ? "-" : "";
  const all = Math.abs(total);
  const minutes = Math.floor(all / 60 + 1e-9);
  const digits = step >= 1e6 ? 0 : 3;
  const rest = (all - minutes * 60).toFixed(digits).padStart(digits ? 6 : 2, "0");
  return `${sign}${minutes}:${rest}`;
}

// Faults as flags; those that would cover one another go to the next line.
function faults(row) {
  const free = [0, 0, 0];
  for (const span of run.spans) {
    if (span.lane === "world" && visible(span.from_us, span.until_us)) {
      box(span.from_us, span.until_us, row.top, row.height - 1, "#f7effa");
    }
  }
  for (const { at_us, kind, words, told } of blows) {
    if (!visible(at_us, at_us)) continue;
    const left = x(at_us);
    const line = free.findIndex((taken) => taken <= left);
    const colour = kind === "fault" ? COLOURS.fault : COLOURS[kind] || COLOURS.good;
    pen.fillStyle = colour;
    pen.fillRect(left, row.top, 1.5, row.height);
    if (line >= 0) {
      text(words, left + 5, row.top + 16 + line * 18, colour);
      free[line] = left + pen.measureText(words).width + 14;
    }
    target(left - 3, row.top, 8, row.height, told);
  }
}

// Faults of one kind that strike together, such as a region's, are one blow.
function grouped() {
  const list = [];
  for (const event of run.events) {
    if (!["fault", "healed", "violation"].includes(event.kind)) continue;
    const words = event.text
      .replace(/^FAULT /, "")
      .replace(/^VIOLATION ([^:]*):.*/s, "$1 broken")
      .replace(/(\d+)000 ms/, "$1 s");
    const parts = words.match(/^(.*?) ([sd]\d+)( for .*)?$/);
    const shape = parts && `${parts[1]} ${parts[3] || ""}`;
    const last = list.at(-1);
    if (last && parts && last.shape === shape && event.at_us - last.at_us < 2e4) {
      last.nodes.push(parts[2]);
      last.words = `${parts[1]} ${last.nodes.join(", ")}${parts[3] || ""}`;
      last.told += "\n" + event.text;
      continue;
    }
    const told = when(event) + "\n" + event.text;
    list.push({ at_us: event.at_us, kind: event.kind, words, told, shape, nodes: parts && [parts[2]] });
  }
  return list;
}

// How long each rollout was halted or region stopped; what overlaps goes to the next line.
function halts(row) {
  const free = [0, 0, 0];
  for (const span of run.spans.filter((span) => span.what === "barred")) {
    const line = free.findIndex((taken) => taken <= span.from_us);
    if (line >= 0) free[line] = span.until_us;
    if (!visible(span.from_us, span.until_us)) continue;
    const top = row.top + 3 + (line < 0 ? 2 : line) * 10;
    const [left, wide] = box(span.from_us, span.until_us, top, 8, line < 0 ? "#5b1a6e" : COLOURS.halt);
    const lasted = ((span.until_us - span.from_us) / 1e6).toFixed(3);
    target(left, top, wide, 8, `${seconds(span.from_us)} s  ${span.text} barred for ${lasted} s`);
  }
}

// Every command at the moment of the question, as high as its answer took, on a log scale.
function commands(row) {
  const low = Math.log10(8e3);
  const high = Math.log10(1e7);
  const y = (us) => {
    const part = (Math.log10(Math.max(us, 8e3)) - low) / (high - low);
    return row.top + row.height - 6 - Math.min(part, 1) * (row.height - 16);
  };
  const marks = [[1e4, "10 ms"], [1e5, "100 ms"], [1e6, "1 s"], [1e7, "10 s"]];
  for (const [us] of marks) {
    pen.fillStyle = "#eef1f4";
    pen.fillRect(GUTTER, y(us), width(), 1);
  }
  for (const call of run.calls) {
    if (!visible(call.asked_us, call.asked_us)) continue;
    const took = call.answered_us === null ? null : call.answered_us - call.asked_us;
    const left = x(call.asked_us);
    const at = took === null ? row.top + 6 : y(took);
    const refused = call.outcome.startsWith("rejected");
    pen.fillStyle = took === null ? COLOURS.bad : refused ? "#868e96" : COLOURS.leads;
    pen.fillRect(left - 1.5, at - 2, 4, 4);
    const told = took === null ? call.outcome : `${call.outcome}, after ${(took / 1e3).toFixed(0)} ms`;
    target(left - 4, at - 4, 9, 9, `${seconds(call.asked_us)} s  ${call.lane} ${call.what}\n${told}`);
  }
  // On top, since commands may lie where the marks are read.
  for (const [us, name] of marks) {
    const wide = pen.measureText(name).width;
    pen.fillStyle = "rgba(255, 255, 255, 0.85)";
    pen.fillRect(width() - 10 - wide, y(us) - 6, wide + 4, 12);
    text(name, width() - 8, y(us) + 4, "#66727f", "right");
  }
}

// A bar for each second: what was answered, and on top of it what was not.
function checkIns(row) {
  const all = Object.entries(run.check_ins);
  const most = Math.max(...all.map(([, [asked]]) => asked), 1);
  const high = row.height - 14;
  for (const [second, [asked, answered]] of all) {
    const from = Number(second);
    if (!visible(from, from + 1e6)) continue;
    const full = (asked / most) * high;
    const good = (answered / most) * high;
    const bottom = row.top + row.height - 4;
    const wide = Math.max(scale() * 1e6 - 1, 1);
    pen.fillStyle = "#9ecbdc";
    pen.fillRect(x(from), bottom - good, wide, good);
    pen.fillStyle = COLOURS.bad;
    pen.fillRect(x(from), bottom - full, wide, full - good);
    target(x(from), row.top, wide + 1, row.height, `${seconds(from)} s\n${answered} of ${asked} check-ins answered`);
  }
}

function lane(row) {
  const top = row.top + 5;
  const high = row.height - 11;
  const order = ["lease", "leads", "impaired", "cut_off", "paused", "down"];
  const own = run.spans.filter((s) => s.lane === row.name && visible(s.from_us, s.until_us));
  own.sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what));
  for (const span of own) {
    const [at, tall] = span.what === "impaired" ? [top + high - 5, 5] : [top, high];
    pen.globalAlpha = span.what === "cut_off" ? 0.75 : 1;
    const [left, wide] = box(span.from_us, span.until_us, at, tall, COLOURS[span.what]);
    pen.globalAlpha = 1;
    if (wide > pen.measureText(span.text).width + 12 && span.what !== "lease" && tall > 10) {
      text(span.text, left + 6, top + high - 5, "#ffffff");
    }
    const lasted = ((span.until_us - span.from_us) / 1e6).toFixed(3);
    const what = span.what.replace("_", " ");
    target(left, at, wide, tall, `${seconds(span.from_us)} s  ${row.name} ${what} for ${lasted} s\n${span.text}`);
  }
  decisions(row);
  for (const event of run.events) {
    const mark = ["started", "installed", "stopped"].includes(event.kind);
    if (event.lane !== row.name || !mark || !visible(event.at_us, event.at_us)) continue;
    pen.fillStyle = COLOURS[event.kind];
    pen.beginPath();
    pen.arc(x(event.at_us), row.top + row.height - 5, 3, 0, 7);
    pen.fill();
    target(x(event.at_us) - 4, row.top + row.height - 10, 9, 10, when(event) + "\n" + event.text);
  }
}

// How many devices heard something new in each second.
function decisions(row) {
  for (const [second, [offers, others]] of Object.entries(run.told[row.name] || {})) {
    const from = Number(second);
    if (!visible(from, from + 1e6)) continue;
    const high = (count) => (count ? Math.min(4 + Math.log2(count) * 2, row.height - 6) : 0);
    const wide = Math.max(scale() * 1e6 * 0.4, 2);
    const bottom = row.top + row.height - 1;
    pen.fillStyle = COLOURS.offer;
    pen.fillRect(x(from), bottom - high(offers), wide, high(offers));
    pen.fillStyle = COLOURS.other;
    pen.fillRect(x(from) + wide, bottom - high(others), wide, high(others));
    target(x(from), row.top, wide * 2, row.height, `${seconds(from)} s  ${row.name}\n${offers} devices newly offered something, ${others} newly told otherwise`);
  }
}

// What concerns everyone: faults faintly, healing, violations, hits of the search.
function across() {
  const line = (event, colour, wide) => {
    if (!visible(event.at_us, event.at_us) || x(event.at_us) < GUTTER) return;
    pen.fillStyle = colour;
    pen.fillRect(x(event.at_us), AXIS, wide, height() - AXIS);
  };
  for (const event of run.events) {
    if (event.kind === "fault") line(event, "rgba(217, 72, 15, 0.18)", 1);
    if (event.kind === "healed") line(event, "rgba(43, 138, 62, 0.6)", 1.5);
    if (event.kind === "violation") line(event, COLOURS.violation, 2.5);
  }
  hits.forEach((event, at) => {
    line(event, at === current ? "#f0b429" : "rgba(240, 180, 41, 0.45)", at === current ? 4 : 2);
  });
}
