// One machine's page: its shift, redrawn when it has changed or the window is made wider.
import * as chart from "/static/chart.js";
import { signals, signalsTold } from "/static/signals.js";
import { LOOK, NONE, clock, downloads, figures, listen, lossTables, make, minutes, number, percent, redraw, seconds, table, teller, trendTable, windowsTable, words } from "/static/common.js";

const name = decodeURIComponent(location.pathname.replace("/machines/", ""));
const all = document.getElementById("all");
const at = (id) => document.getElementById(id);
const before = Number(new URLSearchParams(location.search).get("before")) || 0;
let shown = null;
at("name").textContent = document.title = name;

const figure = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());

function shifts(box) {
  const line = make("nav", "", box);
  line.setAttribute("aria-label", "Shifts");
  ["this shift", "the one before", "the one before that"].forEach((text, number) => {
    const link = make("a", "", line, text);
    link.href = `?before=${number}`;
    if (number === before) link.setAttribute("aria-current", "page");
  });
}

function now({ state, stale, shift, start, until, timezone: zone, oee_target: target }) {
  const box = at("now");
  box.replaceChildren();
  const [look, sign] = stale ? LOOK.unknown : LOOK[state.state] ?? LOOK.unknown;
  const is = make("div", `is ${look}`, box);
  make("p", "state", is, stale ? `${sign} no news` : `${sign} ${words(state.state)}`);
  const old = state ? `since ${clock(state.until, zone)}: what follows is what was known then` : "for 26 hours";
  const why = stale ? [old] : [`since ${clock(state.start, zone)}`, state.reason, state.product, state.order];
  make("p", "why", is, why.filter(Boolean).join(" · "));
  const range = `${clock(start, zone)} to ${clock(until, zone)}`;
  make("h2", "", box, shift ? `${shift.shift} shift, ${range}` : `No such shift in the last 26 h, so no OEE; ${range}`);
  shifts(box);
  make("a", "", make("p", "why", box), "Give stops their reasons").href = `/corrections?${new URLSearchParams({ machine: name })}`;
  if (!shift) return;
  const plan = shift.plan === null ? "" : ` of ${shift.plan} planned`;
  figures(make("dl", "", box), {
    [target === null ? "OEE" : `OEE, target ${percent(target)}`]: shift.oee === null ? words(shift.oee_null) : percent(shift.oee),
    Availability: percent(shift.a), Performance: percent(shift.p), Quality: percent(shift.q),
    [`good${plan}`]: shift.good, rejects: shift.reject, "of the time known": percent(shift.coverage),
  });
}

function status(row, zone) {
  if (row.status === "closed") return `over ${clock(row.last, zone)}`;
  if (row.muted) return "muted";
  return row.acknowledged === null ? "open" : `seen by ${row.acknowledged_by || "somebody"}${row.note && `: ${row.note}`}`;
}

function expected(row) {
  if (row.expected_low === null && row.expected_high === null) return figure(row.expected);
  if (row.expected_low === null) return `up to ${figure(row.expected_high)}`;
  return row.expected_high === null ? `${figure(row.expected_low)} or more` : `${figure(row.expected_low)} to ${figure(row.expected_high)}`;
}

// A stop leads to where its reason is given.
function why(row) {
  if (row.element !== "adet") return row.reason;
  const way = new URLSearchParams({ machine: name, at: row.stop ?? row.start, every: true });
  return [row.reason || "give reason", "", `/corrections?${way}`];
}

function tables(body) {
  const zone = body.timezone;
  table("timeline", body.timeline.map((row) => [
    seconds(row.start, zone), seconds(row.until, zone), number(minutes(row.until - row.start)), words(row.state), why(row), row.product,
  ]).reverse(), NONE);
  windowsTable(body);
  lossTables(body);
  trendTable(body);
  table("incidents", body.incidents.map((row) => [
    clock(row.first, zone), status(row, zone), [row.severity, row.severity], number(row.flags), row.signals.filter(Boolean).join(", "), row.message,
  ]), "None.");
  table("flags", body.flags.map((row) => [
    clock(row.first, zone), row.signal || "the machine", row.kind, [row.severity, row.severity], number(figure(row.value)), expected(row), row.message,
  ]), "None.");
}

function draw() {
  if (!shown) return;
  chart.timeline(at("timeline"), shown);
  chart.windows(at("windows"), shown);
  chart.waterfall(at("waterfall"), shown.waterfall);
  chart.downtime(at("downtime"), shown.downtime);
  chart.trend(at("trend"), shown);
}

const FILES = ["timeline", "windows", "waterfall", "downtime", "trend", "incidents", "flags"];
downloads(`/api/machines/${encodeURIComponent(name)}`, Object.fromEntries(FILES.map((one) => [`h-${one}`, one])), { before });
downloads(`/api/signals/${encodeURIComponent(name)}`, { "h-signals": "values" }, { before });

// Signals cost more than the rest: asked for on their own, every half minute while somebody looks.
let kept = null;
async function ask() {
  if (document.hidden || !shown) return;
  const answer = await fetch(`/api/signals/${encodeURIComponent(name)}?before=${before}`).catch(() => null);
  kept = answer?.ok ? await answer.json() : null;
  at("signals-told").textContent = kept ? signalsTold(kept, shown.timezone) : "No answer: no signals are shown";
  signals(at("signals"), kept, shown?.timezone ?? "UTC");
}
setInterval(ask, 30000);

const told = teller(() => {
  shown = null;
  all.hidden = true;
});

listen(`/api/live/machines/${encodeURIComponent(name)}?before=${before}`, told, {
  all(body) {
    if (body.machine === null) return told.fine(body.at, "", `No factory file names a machine ${name}`);
    const first = shown === null;
    shown = body;
    all.hidden = false;
    if (first) ask();
    const focused = [...at("now").querySelectorAll("a")].indexOf(document.activeElement);
    now(body);
    if (focused >= 0) at("now").querySelectorAll("a")[focused].focus({ preventScroll: true });
    draw();
    tables(body);
    told.fine(body.at, body.timezone);
  },
  same: (body) => shown && told.fine(body.at, shown.timezone),
  away: (body) => told.away(body.since, body.error),
});
redraw(() => {
  draw();
  if (kept && shown) signals(at("signals"), kept, shown.timezone);
});
