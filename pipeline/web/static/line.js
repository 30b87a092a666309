// One line's page: its shift by window and loss, its machines, its shifts of 7 days.
import * as chart from "/static/chart.js";
import { LOOK, clock, downloads, figures, listen, lossTables, make, minutes, percent, redraw, site, teller, trendTable, windowsTable, words } from "/static/common.js";

const name = decodeURIComponent(location.pathname.replace("/lines/", ""));
const all = document.getElementById("all");
const at = (id) => document.getElementById(id);
let shown = null;
at("name").textContent = document.title = `Line ${name}`;

function now({ site, stale, until, shift, timezone: zone, oee_target: target, stations }) {
  const box = at("now");
  box.replaceChildren();
  make("p", "why", box, `${site} · ${stations} machines`);
  if (stale) make("p", "away", box, until === null ? "No news for 26 hours" : `No news since ${clock(until, zone)}: what follows is what was known then`);
  if (!shift) return make("h2", "", box, "No shift in the last 26 h, so no OEE");
  make("h2", "", box, `${shift.shift} shift, ${clock(shift.first, zone)} to ${clock(shift.last, zone)}`);
  const of = shift.serial ? ` of ${shift.constraint_machine || "nobody"}` : ", all machines";
  figures(make("dl", "", box), {
    [target === null ? "OEE" : `OEE, target ${percent(target)}`]: shift.oee === null ? words(shift.oee_null) : percent(shift.oee),
    [`Availability${of}`]: percent(shift.a), [`Performance${of}`]: percent(shift.p), [`Quality${of}`]: percent(shift.q),
    good: shift.good, "starved or blocked": `${minutes(shift.external_ms)} min`, "of the time known": percent(shift.coverage),
  });
  if (shift.serial) make("p", "why", box, `${shift.constraint_machine || "No station"} holds the line back; OEE is of what left the line, at the pace of its slowest station.`);
}

function machines(rows, held) {
  const list = at("machines");
  const focused = [...list.querySelectorAll("a")].indexOf(document.activeElement);
  list.replaceChildren();
  for (const row of rows) {
    const [look, sign] = row.stale ? LOOK.unknown : LOOK[row.state.state] ?? LOOK.unknown;
    const node = make("li", `${look}${row.stale ? " old" : ""}`, list);
    make("a", "", make("h3", "", node), row.machine).href = `/machines/${encodeURIComponent(row.machine)}`;
    make("p", "state", node, row.stale ? `${sign} no news` : `${sign} ${words(row.state.state)}`);
    const since = row.state ? `since ${clock(row.stale ? row.state.until : row.state.since, row.timezone)}` : "for 26 hours";
    make("p", "why", node, [since, row.stale ? "" : row.state.reason, row.machine === held ? "holds the line back" : ""].filter(Boolean).join(" · "));
    if (!row.stale && row.shift) make("p", "", node, `OEE ${percent(row.shift.oee)} · ${row.shift.good} good`);
  }
  if (focused >= 0) list.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
}

function draw() {
  if (!shown) return;
  chart.windows(at("windows"), shown);
  chart.waterfall(at("waterfall"), shown.waterfall);
  chart.downtime(at("downtime"), shown.downtime);
  chart.trend(at("trend"), shown);
}

const FILES = ["machines", "windows", "waterfall", "downtime", "trend"];
downloads(`/api/lines/${encodeURIComponent(name)}`, Object.fromEntries(FILES.map((one) => [`h-${one}`, one])), { site });

const told = teller(() => {
  shown = null;
  all.hidden = true;
});
listen(`/api/live/lines/${encodeURIComponent(name)}${location.search}`, told, {
  all(body) {
    if (body.line === null) {
      const several = `Several sites have a line ${name}: add ?site=${body.sites[0]} to the address, or choose it on the page of the plant`;
      return told.fine(body.at, "", body.sites.length ? several : `No factory file names a line ${name}`);
    }
    shown = { ...body, start: body.shift?.first ?? 0, until: body.shift?.last ?? 0 };
    all.hidden = false;
    now(body);
    machines(body.machines, body.shift?.constraint_machine);
    draw();
    windowsTable(body);
    lossTables(body);
    trendTable(body);
    told.fine(body.at, body.timezone);
  },
  same: (body) => shown && told.fine(body.at, shown.timezone),
  away: (body) => told.away(body.since, body.error),
});
redraw(draw);
