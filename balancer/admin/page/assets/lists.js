// Certificates and events.

import {byId, each, el, mark, put, reshape} from "./dom.js";
import {day, span, when} from "./format.js";

function certState(c, now) {
  const ends = c.not_after ? new Date(c.not_after) : null;
  if (!ends) return ["warn", c.problem || "There is none yet"];
  if (ends < now) return ["bad", `Ended on ${day(ends)}`];
  const text = `Until ${day(ends)}, for ${span((ends - now) / 1000)}`;
  return [c.ending || c.problem ? "warn" : "good", c.ending ? `${text}; nothing replaces it` : text];
}

export function showCertificates(board) {
  const now = new Date(board.time);
  const key = (c) => [c.id, c.source, c.not_after, c.names.join(" "), c.problem ?? ""].join(" ");
  const serving = board.nodes.filter((n) => ["ready", "degraded", "draining", "unready"].includes(n.state)).length;
  const all = board.certificates.length ? board.certificates : [{none: true}];
  each(byId("certs"), all, (c) => (c.none ? "none" : key(c)),
    (c) => (c.none ? el("li", {class: "quiet"}, "No listener shows a certificate.")
      : el("li", {}, el("span", {class: "mark"}), el("div", {}, el("span", {class: "name"}), el("span", {class: "under"}), el("span", {class: "why"})))),
    (li, c) => {
      if (c.none) return;
      const [kind, text] = certState(c, now);
      reshape(li.firstChild, kind);
      const [name, under, why] = li.lastChild.children;
      put(name, c.names.join(", ") + (c.more ? ` and ${c.more} more` : ""));
      const where = c.nodes.length < serving ? ` · only on ${c.nodes.join(", ")}` : "";
      put(under, `${text} · ${c.source}${c.listeners.length ? ` · ${c.listeners.join(", ")}` : ""}${where}`);
      put(why, c.not_after ? c.problem ?? "" : "");
    });
}

// What the page has seen change itself, for as long as nobody keeps events.
const seen = [];
let before = null;

// changes compares two boards and says in words what has become otherwise.
export function changes(board) {
  const states = new Map();
  for (const n of board.nodes) states.set(`Node ${n.name}`, n.state === "votes" ? "there, to vote" : n.state);
  for (const b of board.backends) {
    const pool = board.pools.length > 1 ? ` (${b.pool})` : "";
    states.set(`Back end ${b.name}${pool}`, `${b.up ? "up" : "down"}, ${b.admin}`);
  }
  const found = [];
  if (before) {
    for (const [what, state] of states) {
      const was = before.get(what);
      if (was !== state) found.push(was === undefined ? `${what} is new: ${state}` : `${what} is ${state}; it was ${was}`);
    }
    for (const what of before.keys()) if (!states.has(what)) found.push(`${what} is no longer there`);
  }
  before = states;
  for (const text of found) {
    const bad = /is (absent|silent|unready|down)/.test(text);
    seen.unshift({time: board.time, level: bad ? "warning" : "notice", text, number: seen.length});
  }
  seen.length = Math.min(seen.length, 50);
  return found;
}

const kinds = {critical: "bad", warning: "warn", notice: "off"};

export function showEvents(board) {
  const events = board.events ?? seen;
  put(byId("events-note"), board.events ? (events.length ? "" : "Nothing has happened.")
    : events.length ? "Since this page was opened." : "Nothing has changed since this page was opened.");
  const times = new Map();
  each(byId("event-list"), events, (e) => {
    const k = `${e.time} ${e.node ?? ""} ${e.code ?? ""} ${e.text}`;
    times.set(k, (times.get(k) ?? 0) + 1);
    return `${k} ${times.get(k)}`;
  },
  (e) => el("li", {}, el("span", {class: "mark"}), el("div", {}, el("span", {class: "text"}), el("span", {class: "under"}, el("time", {datetime: e.time}), el("span")))),
  (li, e) => {
    reshape(li.firstChild, kinds[e.level] ?? "off");
    mark(li, "data-level", e.level);
    put(li.querySelector(".text"), e.text);
    put(li.querySelector("time"), when(new Date(e.time)));
    put(li.querySelector("time + span"), [e.node, e.code].filter(Boolean).map((w) => ` · ${w}`).join(""));
  });
}
