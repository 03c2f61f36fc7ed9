// Zoom, hover, search and the list of events. The drawing stands in timeline.js.
"use strict";

// Rows of the list: more than anyone would scroll through.
const LISTED = 2000;

let pinned = false;

// Whatever can be searched for: events, and commands with what came of them.
const told = [...run.events, ...run.calls.map(command)].sort((a, b) => a.at_us - b.at_us);

function command(call) {
  const text = `${call.what}: ${call.outcome}`;
  return { at_us: call.asked_us, lane: call.lane, kind: "command", text };
}

function show(from, until) {
  const least = 2e3;
  const span = Math.min(Math.max(until - from, least), end);
  view.from = Math.min(Math.max(from, 0), end - span);
  view.until = view.from + span;
  draw();
}

function zoom(factor, about) {
  show(about - (about - view.from) * factor, about + (view.until - about) * factor);
}

function hover(left, top) {
  const under = targets.filter(
    (t) => left >= t.left && left <= t.left + t.wide && top >= t.top && top <= t.top + t.high,
  );
  const tip = $("tip");
  tip.hidden = under.length === 0;
  if (tip.hidden) return false;
  // The smallest is what was meant.
  under.sort((a, b) => a.wide * a.high - b.wide * b.high);
  tip.textContent = under.slice(0, 4).map((t) => t.text).join("\n\n");
  tip.style.left = Math.min(left + 14, width() - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(top + 14, height() - tip.offsetHeight) + "px";
  return true;
}

function search(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = (event) => {
    const words = `${event.lane} ${event.kind} ${event.text}`.toLowerCase();
    return wanted.every((word) => words.includes(word));
  };
  hits = wanted.length === 0 ? [] : told.filter(found);
  $("hits").textContent = wanted.length === 0 ? "" : `${hits.length} found`;
  current = -1;
  list();
  if (hits.length > 0) go(0);
  else draw();
}

function go(number) {
  if (hits.length === 0) return;
  current = (number + hits.length) % hits.length;
  $("hits").textContent = `${current + 1} of ${hits.length}`;
  reach(hits[current]);
  list();
}

function reach(event) {
  const span = view.until - view.from;
  if (event.at_us < view.from + span * 0.05 || event.at_us > view.until - span * 0.05) {
    show(event.at_us - span / 2, event.at_us + span / 2);
  } else {
    draw();
  }
}

// The hits or, without any, what happened beside halts and answers to devices.
function list() {
  const table = $("events");
  table.textContent = "";
  const quiet = run.events.filter((event) => !["told", "halt"].includes(event.kind));
  const all = hits.length > 0 ? hits : quiet;
  for (const event of all.slice(0, LISTED)) {
    const row = table.insertRow();
    row.className = event.kind + (event === hits[current] ? " current" : "");
    for (const cell of [seconds(event.at_us), event.lane, event.text]) {
      row.insertCell().textContent = cell;
    }
    row.onclick = () => show(event.at_us - 5e6, event.at_us + 5e6);
    if (event === hits[current]) row.scrollIntoView({ block: "nearest" });
  }
  const left = [];
  if (all.length > LISTED) left.push(`${all.length - LISTED} more are not listed: search for them`);
  if (run.untold > 0) left.push(`${run.untold} answers to devices are counted only`);
  $("left").textContent = left.join(" \u00b7 ");
}

function head() {
  $("about").textContent = run.about;
  const table = $("rows");
  const titles = table.insertRow();
  for (const title of ["expected", "measured", ""]) {
    titles.appendChild(document.createElement("th")).textContent = title;
  }
  // What was missed comes first: the rest may have to be scrolled to.
  for (const { expected, measured, held } of [...run.rows].sort((a, b) => a.held - b.held)) {
    const row = table.insertRow();
    row.insertCell().textContent = expected;
    row.insertCell().textContent = measured;
    const verdict = row.insertCell();
    verdict.textContent = held ? "held" : "NOT held";
    verdict.className = held ? "held" : "missed";
  }
  for (const [colour, name] of LEGEND) {
    const item = $("legend").appendChild(document.createElement("span"));
    item.appendChild(document.createElement("i")).style.background = COLOURS[colour];
    item.append(name);
  }
}

function listen() {
  let dragged = null;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const by = (event.deltaX / width()) * (view.until - view.from);
    if (sideways) show(view.from + by, view.until + by);
    else zoom(Math.exp(event.deltaY * 0.0015), time(event.offsetX));
  }, { passive: false });
  canvas.addEventListener("mousedown", (event) => {
    dragged = { at: event.clientX, from: view.from, until: view.until, moved: false };
  });
  window.addEventListener("mousemove", (event) => {
    if (!dragged) return;
    const by = (dragged.at - event.clientX) / scale();
    dragged.moved ||= Math.abs(dragged.at - event.clientX) > 3;
    if (dragged.moved) show(dragged.from + by, dragged.until + by);
  });
  window.addEventListener("mouseup", (event) => {
    const clicked = dragged && !dragged.moved && event.target === canvas;
    dragged = null;
    if (!clicked) return;
    pinned = false;
    pinned = hover(event.offsetX, event.offsetY);
    $("tip").classList.toggle("pinned", pinned);
  });
  canvas.addEventListener("mousemove", (event) => {
    if (!pinned && !dragged) hover(event.offsetX, event.offsetY);
  });
  canvas.addEventListener("mouseleave", () => {
    if (!pinned) $("tip").hidden = true;
  });
  canvas.addEventListener("dblclick", (event) => zoom(0.4, time(event.offsetX)));
  $("search").addEventListener("input", (event) => search(event.target.value));
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(current + (event.shiftKey ? -1 : 1));
  });
  $("before").onclick = () => go(current - 1);
  $("after").onclick = () => go(current + 1);
  $("whole").onclick = () => show(0, end);
  window.addEventListener("keydown", (event) => {
    if (event.target === $("search")) return;
    const by = (view.until - view.from) * 0.15;
    const keys = {
      "/": () => $("search").focus(),
      "0": () => show(0, end),
      "+": () => zoom(0.7, (view.from + view.until) / 2),
      "-": () => zoom(1.4, (view.from + view.until) / 2),
      ArrowLeft: () => show(view.from - by, view.until - by),
      ArrowRight: () => show(view.from + by, view.until + by),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("resize", draw);
}

head();
list();
listen();
draw();
