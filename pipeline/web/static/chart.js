// Charts as SVG: as much as the machine's page needs. Each is redrawn whole into its holder, as wide as that is.
import { LOOK, clock, day, make, percent, words } from "/static/common.js";

const SVG = "http://www.w3.org/2000/svg";
const HOUR = 3600000;
const MOST_OEE = 1.25; // a window of which seconds are planned can have any: its bar ends here, its figure is told
const NAME = 190;
const ROW = 26;
const NONE = "Nothing in this time.";

export function shape(kind, values, inside, text) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  inside.append(node);
  return node;
}

export function hint(node, text) {
  shape("title", {}, node, text);
}

export function sheet(holder, height, label) {
  holder.replaceChildren();
  const width = Math.max(320, holder.clientWidth);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, holder);
  return { svg, width };
}

// Full hours of UTC that are no closer than 60 pixels: they are full or half hours on the site's clock.
export function hours(svg, { start, until, zone, left, right, top, bottom }) {
  const x = (ms) => left + ((ms - start) / Math.max(1, until - start)) * (right - left);
  const step = HOUR * Math.max(1, Math.ceil((60 * (until - start)) / HOUR / Math.max(1, right - left)));
  for (let at = Math.ceil(start / HOUR) * HOUR; at <= until; at += step) {
    shape("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, class: "axis" }, svg);
    const anchor = x(at) < left + 20 ? "start" : x(at) > right - 20 ? "end" : "middle";
    shape("text", { x: x(at), y: bottom + 18, "text-anchor": anchor, class: "soft" }, svg, clock(at, zone, at));
  }
  return x;
}

export function timeline(holder, { timeline: spans, start, until, timezone: zone }) {
  if (!spans.length) return holder.replaceChildren(NONE);
  const kept = new Map();
  for (const span of spans) kept.set(span.state, (kept.get(span.state) ?? 0) + span.until - span.start);
  const ranked = [...kept].sort((a, b) => b[1] - a[1]);
  const told = ranked.map(([state, ms]) => `${words(state)} ${Math.round(ms / 60000)} min`);
  const { svg, width } = sheet(holder, 84, `States from ${clock(start, zone)} to ${clock(until, zone)}: ${told.join(", ")}`);
  const x = hours(svg, { start, until, zone, left: 0, right: width, top: 0, bottom: 62 });
  for (const span of spans) {
    const [look] = LOOK[span.state] ?? LOOK.unknown;
    const low = look === "good" ? 0 : 14; // the height says it, too
    const box = { x: x(span.start), y: low, width: Math.max(0.5, x(span.until) - x(span.start)), height: 58 - low };
    const what = [`${words(span.state)} ${clock(span.start, zone)} to ${clock(span.until, zone)}`, span.reason, span.product];
    hint(shape("rect", { ...box, class: span.state === "unknown" ? "none" : look }, svg), what.filter(Boolean).join(" · "));
  }
  const legend = make("p", "legend", holder);
  ranked.forEach(([state], number) => {
    const [look, sign] = LOOK[state] ?? LOOK.unknown;
    make("span", look, legend, `${sign} ${told[number]}`);
  });
}

// OEE of the hour before each window's end: the sums of its windows, divided.
function lastHour(rows) {
  let [first, good, busy] = [0, 0, 0];
  return rows.map((row) => {
    good += row.ideal_good_us;
    busy += row.busy_ms;
    for (; rows[first].start < row.until - HOUR; first += 1) {
      good -= rows[first].ideal_good_us;
      busy -= rows[first].busy_ms;
    }
    return [row.until, good / (1000 * busy)];
  });
}

export function windows(holder, { windows: rows, start, until, timezone: zone, oee_target: target, shift }) {
  if (!rows.length) return holder.replaceChildren(NONE);
  const known = rows.filter((row) => row.oee !== null);
  const above = target === null ? "" : `, ${known.filter((row) => row.oee >= target).length} of ${known.length} at target or above`;
  const label = `OEE of ${rows.length} windows${above}; of the shift ${percent(shift?.oee)}, target ${percent(target)}`;
  const { svg, width } = sheet(holder, 206, label);
  const [left, right, top, bottom] = [52, width - 4, 8, 180];
  const y = (ratio) => bottom - (Math.min(ratio, MOST_OEE) / MOST_OEE) * (bottom - top);
  for (const ratio of [0, 0.5, 1]) {
    shape("line", { x1: left, x2: right, y1: y(ratio), y2: y(ratio), class: "axis" }, svg);
    shape("text", { x: left - 6, y: y(ratio) + 5, "text-anchor": "end", class: "soft" }, svg, `${100 * ratio} %`);
  }
  const x = hours(svg, { start, until, zone, left, right, top, bottom });
  for (const row of rows) {
    const box = { x: x(row.start), width: Math.max(0.5, x(row.until) - x(row.start)) };
    const why = row.oee === null ? words(row.oee_null) : percent(row.oee);
    const look = row.oee === null ? "none" : target !== null && row.oee >= target ? "good" : "wait";
    const high = row.oee === null ? { y: bottom - 3, height: 3 } : { y: y(row.oee), height: bottom - y(row.oee) };
    hint(shape("rect", { ...box, ...high, class: look }, svg), `${clock(row.start, zone)} ${why}, ${row.good} good`);
  }
  const d = lastHour(known).map(([at, oee], number) => `${number ? "L" : "M"}${x(at)} ${y(oee)}`).join("");
  for (const _ of ["halo", "line"]) shape("path", { d, class: "mean" }, svg);
  make("p", "legend", holder, "Bars: each window. Line: the hour before.");
  if (target === null) return;
  shape("line", { x1: left, x2: right, y1: y(target), y2: y(target), class: "target" }, svg);
  shape("text", { x: right, y: y(target) - 5, "text-anchor": "end" }, svg, `target ${percent(target)}`);
}

// OEE shift by shift: a bar each, as high as its OEE, against the target. `small`: no words, for a tile.
export function trend(holder, { trend: shifts, timezone: zone, oee_target: target }, small = false) {
  if (!shifts.length) return holder.replaceChildren(NONE);
  const told = shifts.map((row) => `${day(row.first, zone)} ${row.shift} ${row.oee === null ? words(row.oee_null) : percent(row.oee)}`);
  const high = small ? 56 : 190;
  const { svg, width } = sheet(holder, high, `OEE of ${shifts.length} shifts: ${told.join("; ")}`);
  const [left, right, top, bottom] = small ? [0, width, 2, high - 2] : [52, width - 4, 8, high - 46];
  const most = Math.max(1, ...shifts.map((row) => Math.min(row.oee ?? 0, MOST_OEE)));
  const y = (ratio) => bottom - (Math.min(ratio, MOST_OEE) / most) * (bottom - top);
  for (const ratio of small ? [] : [0, 0.5, 1]) {
    shape("line", { x1: left, x2: right, y1: y(ratio), y2: y(ratio), class: "axis" }, svg);
    shape("text", { x: left - 6, y: y(ratio) + 5, "text-anchor": "end", class: "soft" }, svg, `${100 * ratio} %`);
  }
  const room = Math.min((right - left) / shifts.length, small ? 24 : 90);
  shifts.forEach((row, number) => {
    const x = left + number * room;
    const look = row.oee === null ? "none" : target !== null && row.oee >= target ? "good" : "wait";
    const box = row.oee === null ? { y: bottom - 3, height: 3 } : { y: y(row.oee), height: Math.max(1, bottom - y(row.oee)) };
    hint(shape("rect", { ...box, x: x + room * 0.1, width: room * 0.8, class: look }, svg), told[number]);
    if (small || room < 26) return;
    const middle = { x: x + room / 2, "text-anchor": "middle" };
    if (room >= 44) shape("text", { ...middle, y: bottom + 16, class: "soft" }, svg, row.shift);
    if (!number || day(row.first, zone) !== day(shifts[number - 1].first, zone)) shape("text", { ...middle, y: bottom + 34 }, svg, day(row.first, zone));
  });
  if (target === null) return;
  shape("line", { x1: left, x2: right, y1: y(target), y2: y(target), class: "target" }, svg);
  if (!small) shape("text", { x: right, y: y(target) - 5, "text-anchor": "end" }, svg, `target ${percent(target)}`);
}

function bars(holder, label, rows) {
  if (!rows.length) return holder.replaceChildren(NONE);
  const { svg, width } = sheet(holder, rows.length * ROW, label);
  const room = width - NAME - 150;
  const most = Math.max(1e-9, ...rows.map((row) => row.to));
  const least = Math.min(0, ...rows.map((row) => row.from));
  const x = (value) => NAME + ((value - least) / (most - least)) * room;
  rows.forEach((row, number) => {
    const top = number * ROW;
    shape("text", { x: NAME - 8, y: top + 18, "text-anchor": "end" }, svg, row.name);
    const box = { x: x(row.from), width: Math.max(1, x(row.to) - x(row.from)), y: top + 4, height: ROW - 8, class: row.look };
    hint(shape("rect", box, svg), `${row.name}: ${row.text}`);
    shape("text", { x: x(row.to) + 6, y: top + 18, class: "soft" }, svg, row.text);
  });
}

export function waterfall(holder, steps) {
  let left = 0;
  const rows = steps.map((step) => {
    const before = step.is_total ? 0 : left;
    left = before + step.us;
    const text = `${(step.us / 60e6).toFixed(1).replace(/^-(?!0\.0$)/, "−").replace("-0.0", "0.0")} min`;
    return { name: step.step, from: Math.min(before, left), to: Math.max(before, left), text, look: step.is_total ? "good" : "wait" };
  });
  const told = steps.filter((step) => step.us !== 0).map((step) => `${step.step} ${(step.us / 60e6).toFixed(1)} min`);
  bars(holder, `From all time to fully productive: ${told.join(", ")}`, rows);
}

export function downtime(holder, causes) {
  const rows = causes.map((cause) => ({
    name: `${cause.reason_name || words(cause.state)}${cause.micro ? " (micro)" : ""}`, from: 0, to: cause.minutes,
    text: `${cause.minutes} min, ${cause.stops} ×`, look: LOOK[cause.state]?.[0] ?? "rest",
  }));
  bars(holder, `Down time: ${rows.map((row) => `${row.name} ${row.text}`).join("; ") || "none"}`, rows);
}
