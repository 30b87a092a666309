// How far the figures can be trusted.
import { clock, downloads, figures, listen, make, onlyZone, percent, site, table, teller, words } from "/static/common.js";

const all = document.getElementById("all");
const number = (text, look = "") => [text, `number ${look}`];

downloads("/api/data", { "h-machines": "machines", "h-letters": "letters", "h-restated": "restated" }, { site });

// 4 s, 12 min, 5 h, 3 days: how far behind the newest data are.
function lasting(ms) {
  if (ms < 120000) return `${Math.max(0, Math.round(ms / 1000))} s`;
  if (ms < 7200000) return `${Math.round(ms / 60000)} min`;
  return ms < 172800000 ? `${Math.round(ms / 3600000)} h` : `${Math.round(ms / 86400000)} days`;
}

function machine(row, at) {
  const zone = row.timezone;
  const low = row.coverage !== null && row.coverage < 0.95;
  return [
    [row.machine, "", `/machines/${encodeURIComponent(row.machine)}`], row.line || "–",
    row.until === null ? "none in 26 h" : clock(row.until, zone),
    number(row.until === null ? "–" : `${row.stale ? "✖ " : ""}${lasting(at - row.until)}`, row.stale ? "bad" : ""),
    number(`${low ? "▲ " : ""}${percent(row.coverage)}`, low ? "wait" : ""), number((row.unknown_ms / 60000).toFixed(1)),
    number(row.provisional), number(row.restated), row.flags.map(words).join(", ") || "–",
  ];
}

function sums(body) {
  const rows = body.machines;
  const planned = rows.reduce((sum, row) => sum + row.pbt_ms, 0);
  const unknown = rows.reduce((sum, row) => sum + row.unknown_ms, 0);
  figures(document.getElementById("sums"), {
    "of planned time known": planned ? percent(1 - unknown / planned) : "–",
    "machines without news": `${rows.filter((row) => row.stale).length} of ${rows.length}`,
    "records not used": body.records, "of these too late": body.late,
    "provisional windows": rows.reduce((sum, row) => sum + row.provisional, 0),
    "restated windows": rows.reduce((sum, row) => sum + row.restated, 0),
  });
}

function draw(body) {
  const zone = onlyZone(body.machines);
  all.hidden = false;
  sums(body);
  table("machines", body.machines.map((row) => machine(row, body.at)), "No factory file is applied yet: openoee factory apply factory.yaml");
  table("letters", body.letters.map((row) => [
    clock(row.newest, row.timezone ?? "UTC"), row.machine || "not readable", row.topic, [words(row.reason), "bad"], number(row.records),
    number(row.entries || "–"), row.detail,
  ]), "None.");
  table("restated", body.restated.map((row) => [
    row.machine, words(row.reason), number(row.windows), clock(row.first, row.timezone ?? "UTC"), clock(row.last, row.timezone ?? "UTC"),
    clock(row.newest, row.timezone ?? "UTC"),
  ]), "None.");
  told.fine(body.at, zone);
  return body;
}

let shown = null;
const told = teller(() => {
  shown = null;
  all.hidden = true;
});
listen(`/api/live/data${location.search}`, told, {
  all(body) { shown = draw(body); },
  same(body) { if (shown) shown = draw({ ...shown, at: body.at }); },
  away: (body) => told.away(body.since, body.error),
});
