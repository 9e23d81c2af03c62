// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const tenth = new Intl.NumberFormat("en", {minimumFractionDigits: 1, maximumFractionDigits: 1});

export const none = "–";

const natural = new Intl.Collator("en", {numeric: true});

// compare puts mail10 behind mail9.
export const compare = (a, b) => (typeof a === "string" ? natural.compare(a, b) : (a ?? -1) - (b ?? -1));

export const number = (n) => whole.format(n);

// rate is of something per second; null: not known yet.
export function rate(r) {
  if (r == null) return none;
  if (r === 0) return "0";
  if (r < 0.05) return "<0.1";
  return r < 100 ? tenth.format(r) : whole.format(r);
}

export const many = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;

export const percent = (part) => `${whole.format(part * 100)} %`;

export function octets(n) {
  if (!n) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${n < 10 && i > 0 ? tenth.format(n) : whole.format(n)} ${units[i]}`;
}

// span is a length of time in its largest units.
export function span(seconds) {
  if (seconds == null) return none;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h${m % 60 && h < 10 ? ` ${m % 60} min` : ""}`;
  return `${Math.floor(h / 24)} days`;
}

const clockTime = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const dayTime = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"});
const date = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", year: "numeric"});

export const clock = (t) => clockTime.format(t);
export const day = (t) => date.format(t);
export const when = (t, now = new Date()) => (now - t < 20 * 3600e3 ? clockTime : dayTime).format(t);

// bounds are upper ones of a histogram's buckets, in milliseconds.
export function bounds(a, b) {
  if (a == null || b == null) return none;
  const text = (ms) => (ms < 1000 ? `${number(ms)} ms` : `${ms % 1000 ? tenth.format(ms / 1000) : number(ms / 1000)} s`);
  if (a === b) return `≤ ${text(a)}`;
  return `≤ ${a < 1000 && b < 1000 ? number(a) : text(a)}, ${text(b)}`;
}
