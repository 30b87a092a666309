// Incidents as `openoee incidents list` has them: the worst first, with what was lost meanwhile.
import { clock, downloads, listen, make, onlyZone, site, teller } from "/static/common.js";
import { field, note, noted, say } from "/static/say.js";

const all = document.getElementById("all");
const body = document.getElementById("rows");

downloads("/api/incidents", { name: "incidents" }, { site });

function status(row) {
  if (row.muted) return `${row.status}, muted`;
  return row.acknowledged === null ? row.status : `${row.status}, seen by ${row.acknowledged_by || "somebody"}${row.note && `: ${row.note}`}`;
}

function seen(row) {
  say("I have seen it", `${row.machine}: ${row.message}`, () => {
    const text = field("input", "What is known of it", { maxLength: 1000 });
    return () => ["/api/incidents/acknowledge", { id: row.id, note: text.value }];
  }, () => note(`Sent: ${row.id} is seen; the list shows it once a worker has read it`));
}

function mute(row) {
  say("No messages for a while", `${row.machine}: its flags go on, marked as muted`, () => {
    const hours = field("input", "Hours from now", { type: "number", min: 0.25, max: 8784, step: 0.25, value: 8, required: true });
    const signal = field("input", "Only flags of this signal (empty: any)", { maxLength: 200 });
    const why = field("input", "Why", { maxLength: 1000, required: true });
    return () => ["/api/incidents/mute", { machine: row.machine, hours: Number(hours.value), signal: signal.value, why: why.value }];
  }, (told) => note(`Sent: ${told.machine} is muted (${told.id})`));
}

function button(place, text, row, act) {
  const node = make("button", "", place, text);
  node.type = "button";
  node.setAttribute("aria-label", `${text}: ${row.machine}, ${row.message}`);
  node.addEventListener("click", () => act(row));
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
  const place = make("td", "row", node);
  if (row.acknowledged === null) button(place, "Seen", row, seen);
  if (!row.muted) button(place, "Mute", row, mute);
}

let zone = "UTC";
const told = teller(() => { all.hidden = true; });
listen(`/api/live/incidents${location.search}`, told, {
  all(found) {
    zone = onlyZone(found.incidents);
    const focused = [...body.querySelectorAll("a, button")].indexOf(document.activeElement);
    body.replaceChildren();
    found.incidents.forEach(line);
    if (focused >= 0) body.querySelectorAll("a, button")[focused]?.focus({ preventScroll: true });
    all.hidden = found.incidents.length === 0;
    told.fine(found.at, zone, all.hidden ? "None" : noted());
  },
  same: (found) => !all.hidden && told.fine(found.at, zone, noted()),
  away: (found) => told.away(found.since, found.error),
});
