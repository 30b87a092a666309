// The board: tiles by line, made once and changed where the figures change.
import { LOOK, clock, downloads, listen, make, percent, site, teller, words } from "/static/common.js";

const lines = document.getElementById("lines");
const tiles = new Map();
let zones = [];

function incident(tile, found, zone) {
  const quiet = found.muted || found.acknowledged !== null;
  const more = found.flags > 1 ? ` (${found.flags} flags)` : "";
  const seen = found.muted ? "muted" : `seen by ${found.acknowledged_by || "somebody"}`;
  const text = `${clock(found.first, zone)} ${found.severity}: ${found.message}${more}`;
  make("p", quiet ? "flag quiet" : `flag ${found.severity}`, tile, quiet ? `⚐ ${seen} · ${text}` : `⚑ ${text}`);
}

function fill(tile, row) {
  const { state, shift, timezone: zone } = row;
  const [look, sign] = row.stale ? LOOK.unknown : LOOK[state.state] ?? LOOK.unknown;
  tile.className = `${look}${row.stale ? " old" : ""}`;
  const focused = tile.contains(document.activeElement);
  tile.replaceChildren();
  const link = make("a", "", make("h3", "", tile), row.machine);
  link.href = `/machines/${encodeURIComponent(row.machine)}`;
  if (focused) link.focus({ preventScroll: true });
  const word = make("p", "state", tile);
  const why = make("p", "why", tile);
  if (row.stale) {
    word.textContent = `${sign} no news`;
    why.textContent = state ? `since ${clock(state.until, zone)}` : "for 26 hours";
    return;
  }
  word.textContent = `${sign} ${words(state.state)}`;
  why.textContent = [`since ${clock(state.since, zone)}`, state.reason, state.product].filter(Boolean).join(" · ");
  const oee = make("p", "oee", tile, shift ? percent(shift.oee) : "–");
  make("small", "", oee, row.oee_target === null ? " OEE" : ` OEE, target ${percent(row.oee_target)}`);
  if (shift) {
    const plan = shift.plan === null ? "" : ` of ${shift.plan} planned by now`;
    make("p", "", tile, `${shift.good} good${plan} · ${shift.shift} shift`);
  }
  if (row.incident) incident(tile, row.incident, zone);
}

function clear() {
  lines.replaceChildren();
  tiles.clear();
}

function whole(rows) {
  clear();
  zones = [...new Set(rows.map((row) => row.timezone))];
  const made = document.createDocumentFragment();
  let key = null;
  let list = null;
  for (const row of rows) {
    if (key !== `${row.site}/${row.line}`) {
      key = `${row.site}/${row.line}`;
      const section = make("section", "", made);
      make("h2", "", section, `${row.site} ${row.line ? `· line ${row.line}` : ""}`);
      list = make("ul", "", section);
    }
    const tile = make("li", "", list);
    tiles.set(row.machine, tile);
    fill(tile, row);
  }
  lines.append(made);
}

downloads("/api/board", { name: "machines" }, { site });
const EMPTY = "No factory file is applied yet: openoee factory apply factory.yaml";
const told = teller(clear);
const fine = (at) => told.fine(at, zones.length === 1 ? zones[0] : "UTC", tiles.size ? "" : EMPTY);

listen(`/api/live${location.search}`, told, {
  board(body) {
    whole(body.machines);
    fine(body.at);
  },
  changed(body) {
    if (body.machines.some((row) => !tiles.has(row.machine))) return location.reload();
    for (const row of body.machines) fill(tiles.get(row.machine), row);
    fine(body.at);
  },
  away: (body) => told.away(body.since, body.error),
});
