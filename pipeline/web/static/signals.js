// A small chart per signal: its mean, lowest and highest value over time, the band that flags expected, and the flags.
import { hint, hours, shape, sheet } from "/static/chart.js";
import { clock, make } from "/static/common.js";

const HIGH = 130;
const figure = (value) => Number(value.toPrecision(4)).toString();

export function signalsTold({ start, until, signals }, zone) {
  if (!signals.length) return "The store has no values of this time.";
  return `${clock(start, zone)} to ${clock(until, zone)}. Line: mean; grey: lowest to highest; green: what a flag expected; ⚑: a flag.`;
}

function one(holder, { signal, unit, points, flags }, { start, until, step }, zone) {
  make("h3", "", holder, `${signal}${unit ? ` [${unit}]` : ""}`);
  const box = make("div", "", holder);
  const bands = flags.flatMap((flag) => [flag.expected_low, flag.expected_high]).filter((value) => value !== null);
  const low = Math.min(...points.map((point) => point[2]), ...bands);
  const high = Math.max(...points.map((point) => point[3]), ...bands);
  const means = points.map((point) => point[1]);
  const told = `${signal}: mean values from ${figure(Math.min(...means))} to ${figure(Math.max(...means))} ${unit}, last ${figure(means.at(-1))}`;
  const { svg, width } = sheet(box, HIGH, `${told}; ${flags.length ? flags.map((flag) => flag.message).join(" ") : "no flags"}`);
  const [left, right, top, bottom] = [60, width - 4, 14, HIGH - 24];
  const y = (value) => bottom - ((value - low) / (high - low || 1)) * (bottom - top);
  const x = hours(svg, { start, until, zone, left, right, top, bottom });
  for (const value of low === high ? [low] : [low, high]) shape("text", { x: left - 6, y: y(value) + 5, "text-anchor": "end", class: "soft" }, svg, figure(value));
  for (const flag of flags) {
    const from = Math.max(left, x(flag.first));
    const to = Math.max(from + 4, Math.min(right, x(flag.last)));
    const ends = [flag.expected_high ?? high, flag.expected_low ?? low].map(y);
    if (bands.length) shape("rect", { x: from, width: to - from, y: ends[0], height: Math.max(1, ends[1] - ends[0]), class: "band" }, svg);
  }
  // A gap of more than two stretches is no line.
  const line = points.map(([at, mean], number) => `${number && at - points[number - 1][0] <= 2 * step ? "L" : "M"}${x(at + step / 2)} ${y(mean)}`);
  for (const [at, , least, most] of points) {
    shape("rect", { x: x(at), width: Math.max(1, x(at + step) - x(at)), y: y(most), height: Math.max(1, y(least) - y(most)), class: "spread" }, svg);
  }
  shape("path", { d: line.join(""), class: "value" }, svg);
  for (const flag of flags) {
    const mark = shape("text", { x: Math.max(left, x(flag.first)), y: top - 2, "text-anchor": "middle" }, svg, "⚑");
    hint(mark, flag.message);
  }
}

export function signals(holder, found, zone) {
  holder.replaceChildren();
  for (const row of found?.signals ?? []) one(make("div", "", holder), row, found, zone);
}
