// What the pages share: signs of states, clocks of the site, dark and light, and how a page hears of new figures.
import { me } from "/static/me.js";

export const LOOK = {
  running: ["good", "▶"], setup: ["wait", "◆"], starved: ["wait", "◁"], blocked: ["wait", "▮"], idle: ["rest", "○"],
  off: ["rest", "○"], fault: ["bad", "✖"], stopped: ["bad", "■"], maintenance: ["wait", "▲"], planned_stop: ["rest", "❙❙"],
  unknown: ["rest", "?"],
};
const QUIET_MS = 15000;
const AGAIN_MS = 3000;

export function make(kind, name, inside, text) {
  const node = document.createElement(kind);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  if (inside) inside.append(node);
  return node;
}

const formats = new Map(); // making one takes longer than all that is done with it
function parts(ms, zone, wanted) {
  const key = `${zone} ${Object.keys(wanted)}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...wanted }));
  return formats.get(key).format(ms);
}
export const day = (ms, zone) => parts(ms, zone, { day: "2-digit", month: "short" });

// 14:02 on the site's clock; with its date when that is not today's there.
export function clock(ms, zone, now = Date.now()) {
  const time = parts(ms, zone, { hour: "2-digit", minute: "2-digit" });
  return day(ms, zone) === day(now, zone) ? time : `${day(ms, zone)} ${time}`;
}

export const seconds = (ms, zone) => parts(ms, zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(100 * ratio).toFixed(1)}\u00a0%`);
export const words = (name) => name.replaceAll("_", " ");

// Rows into the table body ID-rows: a cell is its text, or [text, look, address of a link].
export function table(id, rows, empty) {
  const body = document.getElementById(`${id}-rows`);
  const focused = [...body.querySelectorAll("a")].indexOf(document.activeElement);
  body.replaceChildren();
  if (!rows.length) make("td", "", make("tr", "", body), empty).colSpan = 9;
  for (const cells of rows) {
    const line = make("tr", "", body);
    for (const [text, look, way] of cells.map((cell) => (Array.isArray(cell) ? cell : [cell, ""]))) {
      if (way) make("a", "", make("td", look, line), text).href = way;
      else make("td", look, line, text ?? "–");
    }
  }
  if (focused >= 0) body.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
}

// What each figure is, and the figure, into a list of definitions.
export function figures(list, named) {
  list.replaceChildren();
  for (const [what, value] of Object.entries(named)) {
    const pair = make("div", "", list);
    make("dt", "", pair, what);
    make("dd", "", pair, value);
  }
}

export const minutes = (ms) => (ms / 60000).toFixed(1);
export const number = (text) => [text, "number"];

// Tables that the pages of a machine and of a line share.
export const NONE = "Nothing in this time.";
export function windowsTable({ windows, timezone: zone }) {
  table("windows", windows.map((row) => [
    clock(row.start, zone), number(row.oee === null ? words(row.oee_null) : percent(row.oee)), number(row.good),
    ...(row.reject === undefined ? [] : [number(row.reject)]), number(percent(row.coverage)),
  ]).reverse(), NONE);
}
export function lossTables({ waterfall, downtime }) {
  table("waterfall", waterfall.map((row) => [row.step, number((row.us / 60e6).toFixed(1)), number(percent(row.share_of_planned)), row.loss]), NONE);
  table("downtime", downtime.map((row) => [
    words(row.state), row.reason_name, row.loss, number(row.minutes), number(percent(row.share)), number(percent(row.cumulative_share)),
    number(row.stops), number(row.longest_min),
  ]), NONE);
}
export function trendTable({ trend, timezone: zone }) {
  table("trend", trend.map((row) => [
    day(row.first, zone), row.shift, number(row.oee === null ? words(row.oee_null) : percent(row.oee)), number(percent(row.coverage)), number(row.good),
    number(minutes(row.pbt_ms)),
  ]).reverse(), NONE);
}

// The time zone of rows that share one, else UTC.
export function onlyZone(rows) {
  const zones = new Set(rows.map((row) => row.timezone));
  return zones.size === 1 ? [...zones][0] ?? "UTC" : "UTC";
}

// `told.fine(at, zone, empty)` and `told.away(text)` say how old the page's figures are; `clear` empties the page.
export function teller(clear) {
  const line = document.getElementById("told");
  let zone = "UTC";
  const away = (since, text) => {
    line.className = "away";
    line.textContent = `${text} since ${clock(since, zone)} (${zone})`;
    clear();
  };
  return {
    fine(at, where, empty = "") {
      zone = where || zone;
      line.className = "";
      line.textContent = empty || `as of ${seconds(at, zone)} (${zone})`;
    },
    away: (since, error) => away(since, `${error}. No figures`),
    quiet: (since) => away(since, "No answer from the board's server"),
  };
}

// Events of the server; `hear` names what is done with the body of each. Silence of 15 s is told as absence, and the
// server is asked for the whole again: the page is empty then. Where it refuses, the browser itself would ask no more:
// somebody has to log in again, or what stands before the server is ill.
export function listen(address, told, hear) {
  let heard = Date.now();
  let quiet = false;
  let source = null;
  const connect = () => {
    const asked = new EventSource(address);
    source = asked;
    for (const [name, use] of Object.entries(hear)) {
      asked.addEventListener(name, (event) => {
        heard = Date.now();
        quiet = false;
        use(JSON.parse(event.data));
      });
    }
    asked.addEventListener("error", () => {
      if (asked.readyState !== EventSource.CLOSED) return;
      me().catch(() => null).then(() => setTimeout(() => asked === source && !document.hidden && connect(), AGAIN_MS));
    });
  };
  if (!document.hidden) connect();
  // A browser opens six connections to one place, so tabs that nobody sees leave theirs to the others.
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (document.hidden) return;
    heard = Date.now();
    quiet = false;
    connect();
  });
  setInterval(() => {
    if (document.hidden || quiet || Date.now() - heard <= QUIET_MS) return;
    quiet = true;
    told.quiet(heard);
    source.close();
    connect();
  }, 1000);
}

// Charts are drawn to the width that there is, and again when it is another.
export function redraw(draw) {
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (wide === innerWidth) return;
    wide = innerWidth;
    draw();
  });
}

// Links to the tables as files, after the headings that they belong to: `tables` by the heading's id.
export function downloads(address, tables, asked = {}) {
  for (const [id, name] of Object.entries(tables)) {
    const heading = document.getElementById(id);
    const place = make("p", "get");
    heading.after(place);
    for (const [kind, text] of [["csv", "CSV"], ["parquet", "Parquet"]]) {
      const link = make("a", "", place, text);
      link.href = `${address}?${new URLSearchParams({ ...asked, table: name, format: kind })}`;
      link.setAttribute("aria-label", `${heading.textContent} as ${text}`);
    }
  }
}

// The way to the other pages; the site that is looked at stays.
const PAGES = { "/": "Board", "/plant": "Plant", "/incidents": "Incidents", "/corrections": "Corrections", "/data": "Data health", "/api/docs": "API" };
const pages = document.getElementById("pages");
export const site = new URLSearchParams(location.search).get("site") ?? "";
for (const [address, name] of pages ? Object.entries(PAGES) : []) {
  const link = make("a", "", pages, name);
  link.href = site ? `${address}?${new URLSearchParams({ site })}` : address;
  if (address === location.pathname) link.setAttribute("aria-current", "page");
}

const root = document.documentElement;
if (localStorage.light) root.dataset.light = localStorage.light;
document.getElementById("light").addEventListener("click", () => {
  const dark = root.dataset.light ? root.dataset.light === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.light = root.dataset.light = dark ? "light" : "dark";
});
