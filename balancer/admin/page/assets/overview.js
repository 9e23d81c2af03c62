// The first glance, and the nodes.

import {byId, each, el, line, mark, put, reshape} from "./dom.js";
import {clock, many, none, number, octets, rate, span} from "./format.js";
import {Table, plain} from "./table.js";

const levels = {critical: "bad", warning: "warn", notice: "drain"};

export function showVerdict(board) {
  const [worst, ...rest] = board.alarms;
  document.body.dataset.verdict = worst ? worst.level : "well";
  reshape(byId("verdict-mark"), worst ? levels[worst.level] : "good");
  put(byId("verdict"), worst ? worst.text : "All is well");
  const t = board.totals;
  put(byId("verdict-more"), rest.length > 0 ? `and ${many(rest.length, "more thing")} to know`
    : worst ? "Nothing else is wrong." : `${many(t.nodes_ready, "node")} ready, ${many(t.backends_up, "back end")} up.`);
  each(byId("alarms"), rest, (a) => a.level + a.text,
    () => {
      const m = el("span", {class: "mark"});
      return el("li", {}, m, el("a", {}));
    },
    (li, a) => {
      reshape(li.firstChild, levels[a.level]);
      mark(li, "data-level", a.level);
      mark(li.lastChild, "href", a.about === "fleet" ? "#status" : `#${a.about}`);
      put(li.lastChild, a.text);
    });
}

const history = [];

export function showTotals(board) {
  const t = board.totals;
  if (t.logins_per_second != null) {
    history.push(t.logins_per_second);
    if (history.length > 60) history.shift();
  }
  const tiles = [
    ["Nodes ready", `${t.nodes_ready} of ${t.nodes}`, t.nodes_ready < t.nodes],
    ["Back ends up", `${t.backends_up} of ${t.backends}`, t.backends_up < t.backends],
    ["Users", number(t.users)],
    ["Sessions", number(t.sessions)],
    ["Logins/s", rate(t.logins_per_second)],
    ["Refused or failed/s", rate(t.failures_per_second)],
  ];
  each(byId("totals"), tiles, ([name]) => name,
    ([name]) => el("div", {class: "tile"}, el("dt", {}, name), el("dd")),
    (tile, [name, text, off]) => {
      put(tile.querySelector("dd"), text);
      mark(tile, "data-off", off ? "" : null);
      if (name === "Logins/s" && history.length > 1) {
        tile.querySelector("svg")?.remove();
        tile.append(line(history, 120, 26));
      }
    });
}

export const nodeStates = {
  ready: ["good", "ready"], degraded: ["warn", "degraded"], draining: ["drain", "draining"], unready: ["bad", "not ready"],
  silent: ["warn", "no answer"], absent: ["bad", "gone"], votes: ["vote", "votes only"],
};

const here = (n) => n.state !== "absent" && n.state !== "silent" && n.state !== "votes";
const told = (n, text) => (n.age_seconds == null || n.state === "votes" ? none : text);

// stateCell is a mark, a word, and what more there is to say.
export const stateCell = () => [el("span", {class: "state"}, el("span", {class: "mark"}), el("span", {class: "word"})), el("span", {class: "why"})];

export function showState(cell, kind, word, why) {
  reshape(cell.querySelector(".mark"), kind);
  put(cell.querySelector(".word"), word);
  put(cell.querySelector(".why"), why);
  mark(cell, "data-state", kind);
}

export function nodeTable(order) {
  return new Table(byId("nodes-table"), "Nodes of the fleet, with their state and load", [
    {
      key: "name", title: "Node", value: (n) => n.name,
      make: () => [el("span", {class: "name"}), " ", el("span", {class: "tag"}), el("span", {class: "under"})],
      show(cell, n) {
        put(cell.children[0], n.name);
        put(cell.querySelector(".tag"), n.leads ? "leads" : "");
        put(cell.querySelector(".under"), [n.role === "voter" ? "" : n.role, n.version].filter(Boolean).join(" · "));
      },
    },
    {
      key: "state", title: "State", make: stateCell,
      show(cell, n) {
        const [kind, word] = nodeStates[n.state] ?? ["off", n.state];
        let why = n.reasons.join("; ");
        if (n.state === "absent" || n.state === "silent") {
          why += n.age_seconds == null ? "; it was never heard from here" : `; what is shown is ${span(n.age_seconds)} old`;
        }
        showState(cell, kind, word, why);
        mark(cell.parentElement, "data-old", n.state === "absent" || n.state === "silent" ? "" : null);
      },
    },
    plain("users", "Users", (n) => n.users, (n) => told(n, number(n.users))),
    plain("sessions", "Sessions", (n) => n.sessions, (n) => told(n, number(n.sessions))),
    plain("logins", "Logins/s", (n) => n.logins_per_second, (n) => rate(n.logins_per_second)),
    plain("failures", "Failed/s", (n) => n.failures_per_second, (n) => rate(n.failures_per_second)),
    plain("cpu", "CPU", (n) => n.cpu, (n) => (n.cpu == null ? none : `${Math.round(n.cpu * 100)} %`)),
    plain("memory", "Memory", (n) => n.memory, (n) => told(n, octets(n.memory))),
    plain("files", "Files", (n) => n.files, (n) => told(n, n.files ? number(n.files) : none)),
    plain("uptime", "Up for", (n) => n.uptime_seconds, (n) => (here(n) ? span(n.uptime_seconds) : none)),
    {
      key: "orders", title: "", make: () => el("button", {type: "button", class: "order", hidden: true}),
      show(cell, n) { order(cell.firstChild, n); },
    },
  ], (n) => n.name);
}

export function showFoot(board) {
  put(byId("fleet"), board.fleet.name);
  const led = board.fleet.leader && board.fleet.name ? ` · led by ${board.fleet.leader}` : "";
  const pins = board.fleet.pins ? ` · ${many(board.fleet.pins, "pin")}` : "";
  put(byId("foot"), `As node ${board.node} sees it${led}${pins} · usher ${board.version} · ${clock(new Date(board.time))}`);
}
