// Stops and the reasons that people give them; what came of it.
import { clock, downloads, listen, make, onlyZone, teller, words } from "/static/common.js";
import { field, note, noted, say } from "/static/say.js";

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const every = asked.get("every") === "true";
const chosen = Number(asked.get("at"));
let shown = null;
let opened = false;

const minutes = (ms) => (ms / 60000).toFixed(1);

function cell(line, text, look = "") {
  return make("td", look, line, text);
}

function machine(line, row) {
  make("a", "", cell(line), row.machine).href = `/machines/${encodeURIComponent(row.machine)}`;
}

function named(code, site) {
  return shown.reasons.find((one) => one.code === code && one.site === site)?.name ?? code;
}

function button(line, text, what, key, act) {
  const node = make("button", "", cell(line), text);
  node.type = "button";
  node.dataset.key = key;
  node.setAttribute("aria-label", what);
  node.addEventListener("click", act);
}

// The factory's reasons below their topmost one; a code that is in use but in no tree; any other.
function choice(row) {
  const list = field("select", "Reason", { required: true });
  make("option", "", list, "choose").value = "";
  const groups = new Map();
  for (const one of shown.reasons.filter((one) => one.site === row.site)) {
    const top = one.path.length > 1 ? named(one.path[0], one.site) : one.path.length ? "Reasons" : "In use, not in the factory file";
    if (!groups.has(top)) groups.set(top, Object.assign(make("optgroup", "", list), { label: top }));
    const loss = one.loss ? ` (${one.loss})` : "";
    make("option", "", groups.get(top), `${one.path.slice(1, -1).map((code) => `${named(code, one.site)} › `).join("")}${one.name}${loss}`).value = one.code;
  }
  const another = make("option", "", list, "another code");
  const other = field("input", "Code", { maxLength: 200 });
  const show = () => {
    other.required = another.selected;
    other.parentElement.hidden = !other.required;
  };
  list.addEventListener("change", show);
  show();
  return () => (another.selected ? other.value : list.value);
}

function give(row) {
  const zone = row.timezone ?? "UTC";
  const goes = row.going_on ? " It goes on: the reason holds up to now." : "";
  const where = `${row.machine}, ${words(row.state)}, ${clock(row.start, zone)} to ${clock(row.until, zone)}, ${minutes(row.ms)} min.${goes}`;
  say("Why did it stop?", where, () => {
    const reason = choice(row);
    const note = field("input", "Comment", { maxLength: 1000 });
    return () => ["/api/corrections", { machine: row.machine, at: row.start, reason: reason(), note: note.value }];
  }, (told) => note(`Sent: ${told.reason} for ${told.machine}`));
}

function back(row) {
  say("Take this correction back?", `${row.machine}: ${what(row)}`, () => {
    const note = field("input", "Comment", { maxLength: 1000 });
    return () => ["/api/corrections/withdraw", { id: row.id, note: note.value }];
  },
    (told) => note(`Sent: ${told.id} is taken back`));
}

function stops() {
  const body = at("stops-rows");
  body.replaceChildren();
  for (const row of shown.stops) {
    const zone = row.timezone ?? "UTC";
    const line = make("tr", row.start === chosen && asked.get("machine") === row.machine ? "chosen" : "", body);
    machine(line, row);
    cell(line, clock(row.start, zone));
    cell(line, row.going_on ? "goes on" : clock(row.until, zone));
    cell(line, minutes(row.ms), "number");
    cell(line, `${words(row.state)}${row.micro ? " (micro)" : ""}`);
    const without = row.without_ms && row.reasons.length ? ["none in part"] : [];
    cell(line, [...row.reasons.map((code) => named(code, row.site)), ...without].join(", ") || "–");
    const text = row.reasons.length ? "Another reason" : "Give reason";
    button(line, text, `${text}: ${row.machine}, ${clock(row.start, zone)}`, `${row.machine}/${row.start}`, () => give(row));
  }
  const of = asked.get("machine") ? ` of ${asked.get("machine")}` : "";
  const more = shown.found > shown.stops.length ? `; the longest ${shown.stops.length} are shown` : "";
  const kind = every ? "stops" : "stops without a reason, micro-stops, starved and blocked left out";
  at("found").textContent = `${shown.found} ${kind}${of} in the last 3 days, ${minutes(shown.found_ms)} min, the longest first${more}.`;
}

const PARTS = ["good", "reject", "rework"];
function what(row) {
  const told = ["state", "calendar", "product", "order"].filter((name) => row[name] !== null).map((name) => `${name} ${words(row[name])}`);
  if (row.reason !== null) told.unshift(row.reason ? `reason ${named(row.reason, row.site)}` : "no reason");
  for (const name of PARTS) if (row[name] !== null) told.push(`${name} ${row[name] > 0 ? "+" : "−"}${Math.abs(row[name])}`);
  if (row.ideal_cycle_us !== null) told.push(`ideal cycle ${row.ideal_cycle_us / 1e6} s`);
  return row.withdrawn ? "taken back" : told.join(", ");
}

const CAME = { sent: ["wait", "sent, not in the store yet"], stored: ["wait", "in the store; nothing is restated by it yet"], done: ["good", "✓ restated"], refused: ["bad", "✖ refused"] };
function made() {
  const body = at("made-rows");
  body.replaceChildren();
  for (const row of shown.corrections) {
    const zone = row.timezone ?? "UTC";
    const line = make("tr", "", body);
    cell(line, clock(row.issued, zone));
    cell(line, row.issued_by);
    machine(line, row);
    cell(line, clock(row.start, zone));
    cell(line, clock(row.end, zone));
    cell(line, row.note ? `${what(row)}: ${row.note}` : what(row));
    const [look, text] = CAME[row.status];
    cell(line, row.why ? `${text}: ${row.why}` : text, look);
    if (row.status === "sent") cell(line, "");
    else button(line, "Take back", `Take back: ${row.machine}, ${what(row)}`, row.id, () => back(row));
  }
  if (!shown.corrections.length) cell(make("tr", "", body), "None.").colSpan = 8;
}

function which() {
  for (const [text, value] of [["Without a reason", "false"], ["All stops", "true"]]) {
    const link = make("a", "", at("which"), text);
    link.href = `?${new URLSearchParams({ ...Object.fromEntries(asked), every: value })}`;
    if (every === (value === "true")) link.setAttribute("aria-current", "page");
  }
}

const told = teller(() => {
  shown = null;
  at("all").hidden = true;
});
which();
const only = { site: asked.get("site") ?? "", machine: asked.get("machine") ?? "", every };
downloads("/api/corrections", { "h-stops": "stops", "h-made": "corrections" }, only);

listen(`/api/live/corrections?${new URLSearchParams(only)}`, told, {
  all(body) {
    shown = body;
    at("all").hidden = false;
    const key = document.activeElement?.dataset?.key;
    stops();
    made();
    if (key) [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key)?.focus({ preventScroll: true });
    told.fine(body.at, onlyZone([...body.stops, ...body.corrections]), noted());
    const row = body.stops.find((one) => one.start === chosen && one.machine === asked.get("machine"));
    if (row && !opened) give(row);
    opened = true;
  },
  same: (body) => shown && told.fine(body.at, "", noted()),
  away: (body) => told.away(body.since, body.error),
});
