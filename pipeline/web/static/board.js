// The board: tiles by line, made once and changed where the figures change.
const LOOK = {
  running: ["good", "▶"], setup: ["wait", "◆"], starved: ["wait", "◁"], blocked: ["wait", "▮"], idle: ["rest", "○"],
  off: ["rest", "○"], fault: ["bad", "✖"], stopped: ["bad", "■"], maintenance: ["wait", "▲"], planned_stop: ["rest", "❙❙"],
  unknown: ["rest", "?"],
};
const QUIET_MS = 15000;
const told = document.getElementById("told");
const lines = document.getElementById("lines");
const tiles = new Map();
let heard = Date.now();

function make(kind, name, inside) {
  const node = document.createElement(kind);
  if (name) node.className = name;
  if (inside) inside.append(node);
  return node;
}

function clock(ms, zone) {
  return new Date(ms).toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
}

const percent = (ratio) => (ratio === null ? "–" : `${(100 * ratio).toFixed(1)} %`);

function fill(tile, row) {
  const { state, shift, flag, timezone: zone } = row;
  const [look, sign] = row.stale ? LOOK.unknown : LOOK[state.state] ?? LOOK.unknown;
  tile.className = `${look}${row.stale ? " old" : ""}`;
  tile.replaceChildren();
  make("h3", "", tile).textContent = row.machine;
  const word = make("p", "state", tile);
  const why = make("p", "why", tile);
  if (row.stale) {
    word.textContent = `${sign} no news`;
    why.textContent = state ? `since ${new Date(state.until).toLocaleString("en-GB", { timeZone: zone })}` : "for 26 hours";
    return;
  }
  word.textContent = `${sign} ${state.state.replace("_", " ")}`;
  why.textContent = [`since ${clock(state.since, zone)}`, state.reason, state.product].filter(Boolean).join(" · ");
  const oee = make("p", "oee", tile);
  oee.textContent = shift ? percent(shift.oee) : "–";
  make("small", "", oee).textContent = row.oee_target === null ? " OEE" : ` OEE, target ${percent(row.oee_target)}`;
  if (shift) {
    const plan = shift.plan === null ? "" : ` of ${shift.plan} planned by now`;
    make("p", "", tile).textContent = `${shift.good} good${plan} · ${shift.shift} shift`;
  }
  if (flag) make("p", "flag", tile).textContent = `⚑ ${clock(flag.first, zone)} ${flag.severity}: ${flag.message}`;
}

function whole(rows) {
  lines.replaceChildren();
  tiles.clear();
  let key = null;
  let list = null;
  for (const row of rows) {
    if (key !== `${row.site}/${row.line}`) {
      key = `${row.site}/${row.line}`;
      make("h2", "", lines).textContent = `${row.site} ${row.line ? `· line ${row.line}` : ""}`;
      list = make("ul", "", lines);
    }
    const tile = make("li", "", list);
    tiles.set(row.machine, tile);
    fill(tile, row);
  }
}

function away(text) {
  told.className = "away";
  told.textContent = text;
  lines.replaceChildren();
  tiles.clear();
}

function fine(at, empty) {
  heard = Date.now();
  told.className = "";
  told.textContent = empty ? "No factory file is applied yet: openoee factory apply factory.yaml" : `as of ${new Date(at).toLocaleTimeString("en-GB")}`;
}

const source = new EventSource(`/api/live${location.search}`);
source.addEventListener("board", (event) => {
  const body = JSON.parse(event.data);
  whole(body.machines);
  fine(body.at, body.machines.length === 0);
});
source.addEventListener("changed", (event) => {
  const body = JSON.parse(event.data);
  if (body.machines.some((row) => !tiles.has(row.machine))) return location.reload();
  for (const row of body.machines) fill(tiles.get(row.machine), row);
  fine(body.at, tiles.size === 0);
});
source.addEventListener("away", (event) => {
  const body = JSON.parse(event.data);
  heard = Date.now();
  away(`No figures since ${new Date(body.since).toLocaleTimeString("en-GB")}: ${body.error}`);
});
setInterval(() => {
  if (Date.now() - heard > QUIET_MS) away(`No answer from the board's server since ${new Date(heard).toLocaleTimeString("en-GB")}`);
}, 1000);

const root = document.documentElement;
if (localStorage.light) root.dataset.light = localStorage.light;
document.getElementById("light").addEventListener("click", () => {
  const dark = root.dataset.light ? root.dataset.light === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.light = root.dataset.light = dark ? "light" : "dark";
});
