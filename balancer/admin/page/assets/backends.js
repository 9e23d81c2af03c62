// The back ends, and how users are placed on them.

import {byId, each, el, mark, put} from "./dom.js";
import {bounds, compare, none, number, percent, rate, span} from "./format.js";
import {showState, stateCell} from "./overview.js";
import {Table, plain} from "./table.js";

// health of a back end is for itself: what an administrator wants is another thing.
function health(b) {
  if (b.state === "removed") return ["off", "removed", "no longer configured; users are live on it"];
  if (b.up) return ["good", "up", b.errors.length ? `but not for all: ${b.errors.join("; ")}` : ""];
  const since = b.down_for == null ? "" : `for ${span(b.down_for)}`;
  return [b.damped ? "warn" : "bad", b.damped ? "kept out" : "down", [since, ...b.errors].filter(Boolean).join(" · ")];
}

const wanted = {active: "active", drain: "drain", evacuate: "evacuate", down: "down"};
const worst = {bad: 0, warn: 1, off: 2, good: 3};

function admin(b) {
  const since = b.since ? `${span(Date.now() / 1000 - b.since)} ago` : "";
  return b.admin === "active" ? "" : [b.by && `by ${b.by}`, since].filter(Boolean).join(", ");
}

export function backendTable(order, pools) {
  return new Table(byId("backends-table"), "Back ends, with health, what administrators want, and load over all nodes", [
    {
      key: "name", title: "Back end", value: (b) => `${b.pool}/${b.name}`,
      make: () => [el("span", {class: "name"}), el("span", {class: "under"})],
      show(cell, b) {
        put(cell.children[0], b.name);
        put(cell.children[1], pools() > 1 ? b.pool : (b.address ?? "").split(" ")[0]); // without its ports
      },
    },
    {
      key: "health", title: "Health", value: (b) => worst[health(b)[0]] ?? 9, make: stateCell,
      show(cell, b) { showState(cell, ...health(b)); },
    },
    {
      key: "admin", title: "State", value: (b) => (b.admin === "active" ? 1 : 0), make: stateCell,
      show(cell, b) { showState(cell, b.admin === "active" ? "plain" : "drain", b.changing ? `${wanted[b.admin]} …` : wanted[b.admin] ?? b.admin, admin(b)); },
    },
    plain("users", "Users", (b) => b.users, (b) => number(b.users)),
    plain("sessions", "Sessions", (b) => b.sessions, (b) => number(b.sessions)),
    plain("logins", "Logins/s", (b) => b.logins_per_second ?? -1, (b) => rate(b.logins_per_second)),
    plain("failures", "Faults/s", (b) => b.failures_per_second ?? -1, (b) => rate(b.failures_per_second)),
    plain("connect", "Connect p50, p95", (b) => b.connect_p95_ms ?? -1, (b) => bounds(b.connect_p50_ms, b.connect_p95_ms)),
    plain("weight", "Weight", (b) => b.weight, (b) => `${number(b.weight)}${b.override ? " *" : ""}`),
    {
      key: "orders", title: "", make: () => el("button", {type: "button", class: "order", hidden: true}),
      show(cell, b) { order(cell.firstChild, b); },
    },
  ], (b) => `${b.pool}/${b.name}`, {by: "name", select: "sort"});
}

// manyBackends is from how many on there is a filter, and placement is folded.
const manyBackends = 25;

export function showBackends(table, board) {
  const text = byId("filter").value.trim().toLowerCase();
  byId("filter-label").hidden = board.backends.length < 9 && !text;
  const rows = board.backends.filter((b) => [b.name, b.pool, b.admin, health(b)[1]].some((w) => w.toLowerCase().includes(text)));
  byId("filter-none").hidden = rows.length > 0 || board.backends.length === 0;
  table.show(rows);
}

export function showPlacement(board) {
  each(byId("pools"), board.pools, (p) => p.name,
    (p) => {
      const d = el("details", {class: "pool"}, el("summary", {}, el("h3"), el("span", {class: "quiet"})), el("ul"));
      d.open = board.backends.filter((b) => b.pool === p.name).length < manyBackends;
      return d;
    },
    (pool, p) => {
      const rows = board.backends.filter((b) => b.pool === p.name);
      const users = rows.reduce((n, b) => n + b.users, 0);
      put(pool.querySelector("h3"), p.name);
      put(pool.querySelector("summary span"), `${number(users)} users, ${p.storage} storage`);
      const most = Math.max(0.01, ...rows.map((b) => Math.max(b.share, b.due))) * 1.04;
      rows.sort((a, b) => compare(a.name, b.name));
      each(pool.querySelector("ul"), rows, (b) => b.name,
        () => el("li", {}, el("span", {class: "name"}), el("span", {class: "track", "aria-hidden": "true"}, el("i"), el("b")), el("span", {class: "share"})),
        (li, b) => {
          const [name, track, share] = li.children;
          put(name, b.name);
          mark(li, "data-state", b.state);
          track.firstChild.style.width = `${(100 * b.share) / most}%`;
          track.lastChild.style.left = `${(100 * b.due) / most}%`;
          put(share, `${users ? percent(b.share) : none}, due ${percent(b.due)}`);
          mark(share, "aria-label", `${percent(b.share)} of the users; its weight gives it ${percent(b.due)}`);
          mark(share, "role", "img");
        });
    });
}
