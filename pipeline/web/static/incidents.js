// Incidents as `openoee incidents list` has them: the worst first, with what was lost meanwhile.
import { clock, listen, make, teller } from "/static/common.js";

const all = document.getElementById("all");
const body = document.getElementById("rows");
document.getElementById("board").href = `/${location.search}`;

function status(row) {
  if (row.muted) return `${row.status}, muted`;
  return row.acknowledged === null ? row.status : `${row.status}, seen by ${row.acknowledged_by || "somebody"}${row.note && `: ${row.note}`}`;
}

function line(row) {
  const node = make("tr", "", body);
  make("td", row.severity, node, row.severity);
  make("td", "", node, status(row));
  make("td", "", node, clock(row.first, row.timezone ?? "UTC"));
  const link = make("a", "", make("td", "", node), row.machine);
  link.href = `/machines/${encodeURIComponent(row.machine)}`;
  make("td", "", node, row.signals.filter(Boolean).join(", "));
  for (const number of [row.flags, row.minutes, row.lost_minutes, row.lost_parts]) make("td", "number", node, number ?? "–");
  make("td", "", node, row.message);
}

let zone = "UTC";
const told = teller(() => { all.hidden = true; });
listen(`/api/live/incidents${location.search}`, told, {
  all(found) {
    const zones = new Set(found.incidents.map((row) => row.timezone));
    zone = zones.size === 1 ? [...zones][0] ?? "UTC" : "UTC";
    const focused = [...body.querySelectorAll("a")].indexOf(document.activeElement);
    body.replaceChildren();
    found.incidents.forEach(line);
    if (focused >= 0) body.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
    all.hidden = found.incidents.length === 0;
    told.fine(found.at, zone, all.hidden ? "None" : "");
  },
  same: (found) => !all.hidden && told.fine(found.at, zone),
  away: (found) => told.away(found.since, found.error),
});
