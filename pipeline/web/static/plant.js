// The plant: a tile per line with the OEE of its shift, what holds it back, what was lost, and its shifts of 7 days.
import * as chart from "/static/chart.js";
import { clock, downloads, listen, make, minutes, onlyZone, percent, site, teller, words } from "/static/common.js";

const lines = document.getElementById("lines");
const EMPTY = "No factory file with lines is applied yet: openoee factory apply factory.yaml";

downloads("/api/plant", { name: "lines" }, { site });

// Colour, sign and words for OEE against its target.
export function against(shift, target) {
  if (!shift || shift.oee === null || target === null) return ["rest", "○", shift?.oee_null ? words(shift.oee_null) : "no target"];
  return shift.oee >= target ? ["good", "▶", "at target"] : ["wait", "▼", "below target"];
}

function tile(row, list) {
  const { shift, timezone: zone, oee_target: target } = row;
  const [look, sign, word] = row.stale ? ["rest", "?", "no news"] : against(shift, target);
  const node = make("li", `${look}${row.stale ? " old" : ""}`, list);
  const way = new URLSearchParams({ site: row.site });
  make("a", "", make("h3", "", node), `Line ${row.line}`).href = `/lines/${encodeURIComponent(row.line)}?${way}`;
  make("p", "state", node, `${sign} ${word}`);
  if (row.stale) {
    make("p", "why", node, row.until === null ? "for 26 hours" : `since ${clock(row.until, zone)}`);
  } else if (!shift) {
    make("p", "why", node, "no shift in the last 26 h");
  } else {
    make("p", "why", node, `${shift.shift} shift, ${clock(shift.first, zone)} to ${clock(shift.last, zone)}`);
    const oee = make("p", "oee", node, percent(shift.oee));
    make("small", "", oee, target === null ? "OEE" : `OEE, target ${percent(target)}`);
    const ratios = `A ${percent(shift.a)} · P ${percent(shift.p)} · Q ${percent(shift.q)}`;
    make("p", "", node, shift.serial ? `held back by ${shift.constraint_machine || "nobody"}` : "all its machines summed");
    make("p", "why", node, shift.serial ? `its ${ratios}` : ratios);
    make("p", "", node, `${shift.good} good · ${percent(shift.coverage)} of the time known`);
    const lost = row.losses.map((one) => `${one.step} ${minutes(-one.us / 1000)} min`).join(" · ");
    make("p", "flag quiet", node, lost ? `lost: ${lost}` : "nothing lost");
  }
  make("p", "why", node, "OEE by shift, 7 days");
  chart.trend(make("div", "", node), row, true);
}

let shown = null;
function draw() {
  const focused = [...lines.querySelectorAll("a")].indexOf(document.activeElement);
  lines.replaceChildren();
  let list = null;
  let last = null;
  for (const row of shown.lines) {
    if (row.site !== last) {
      last = row.site;
      make("h2", "", lines, last);
      list = make("ul", "", lines);
    }
    tile(row, list);
  }
  if (focused >= 0) lines.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
}

const told = teller(() => {
  shown = null;
  lines.replaceChildren();
});
listen(`/api/live/plant${location.search}`, told, {
  all(body) {
    shown = body;
    draw();
    told.fine(body.at, onlyZone(body.lines), body.lines.length ? "" : EMPTY);
  },
  same: (body) => shown?.lines.length && told.fine(body.at),
  away: (body) => told.away(body.since, body.error),
});
