// The page: it follows the stream and shows what comes.

import {backendTable, showBackends, showPlacement} from "./backends.js";
import {byId, mark, put} from "./dom.js";
import {clock, compare, span} from "./format.js";
import {changes, showCertificates, showEvents} from "./lists.js";
import {forBackend, forNode, ready} from "./orders.js";
import {nodeTable, showFoot, showTotals, showVerdict} from "./overview.js";
import {authorized, follow, token} from "./stream.js";

let board = null;    // the last
let verdict = null;  // that was said
let lost = null;     // since when nothing comes, and when it is tried again

const operate = () => board?.role === "operate" && !lost;
const nodes = nodeTable(forNode(operate, () => board));
const backends = backendTable(forBackend(operate), () => board.pools.length);

// say tells a screen reader.
let saying = 0;
function say(text) {
  const e = byId("say");
  e.textContent = "";
  clearTimeout(saying);
  saying = setTimeout(() => { e.textContent = text; }, 50); // the same words twice are news too
}
ready(say);

function show() {
  mark(document.body, "data-role", operate() ? "operate" : "read");
  showVerdict(board);
  showTotals(board);
  nodes.show(board.nodes.toSorted((a, b) => compare(a.name, b.name)));
  showBackends(backends, board);
  showPlacement(board);
  showCertificates(board);
  showEvents(board);
  showFoot(board);
}

function title() {
  const name = board?.fleet.name || board?.node || "";
  const first = board?.alarms[0];
  const head = lost ? "no data" : !first ? "well" : first.level === "notice" ? "see" : first.level;
  document.title = `${board ? `${head} · ` : ""}usher ${name}`.trim();
}

function alive(state, text) {
  mark(byId("live"), "data-live", state);
  put(byId("live-text"), text);
}

const retry = follow({
  board(b) {
    const back = lost;
    board = b;
    lost = null;
    byId("lost").hidden = true;
    byId("token-form").hidden = true;
    byId("forget-token").hidden = token.get() === "";
    byId("board").hidden = false;
    mark(document.body, "data-stale", null);
    alive("yes", "Live");
    const found = changes(board);
    show();
    title();
    const first = board.alarms[0]?.text ?? "All is well";
    const news = found.slice(0, 3);
    if (first !== verdict) news.unshift(first);
    if (back) news.unshift("Data comes again");
    if (verdict !== null && news.length) say(news.join(". "));
    verdict = first;
  },
  lost(why, wait) {
    lost = {since: lost?.since ?? Date.now(), why, until: Date.now() + wait};
    waiting();
  },
  stranger(again) {
    lost = null;
    mark(document.body, "data-stale", board ? "" : null);
    alive("no", "Signed out");
    byId("lost").hidden = true;
    byId("token-form").hidden = false;
    byId("forget-token").hidden = true;
    put(byId("who"), "");
    if (again) put(byId("token-text"), "That token is not known here, or not any more. Ask for another: usher admin token --help.");
    byId("token").focus();
  },
});

// waiting shows how old the data is while none comes. A stream that ends in good
// order is back within a second, of which nobody need be told.
function waiting() {
  if (!lost) return;
  const age = Date.now() - (board ? Date.parse(board.time) : lost.since);
  if (board && Date.now() - lost.since < 1500) return;
  if (byId("lost").hidden) {
    say(`No data: ${lost.why}`);
    byId("lost").hidden = false;
    mark(document.body, "data-stale", "");
    alive("no", "No data");
    title();
    if (board) show(); // without orders
  }
  put(byId("lost-text"), board ? `No data for ${span(age / 1000)}: ${lost.why}. What you see is of ${clock(new Date(board.time))}.` : `No data: ${lost.why}.`);
  const left = Math.ceil((lost.until - Date.now()) / 1000);
  put(byId("lost-next"), left > 0 ? `Next try in ${left} s.` : "Trying …");
}
setInterval(waiting, 500);

byId("retry").addEventListener("click", () => retry());

byId("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const said = byId("token").value.trim();
  byId("token").value = "";
  if (!/^[\x20-\x7e]+$/.test(said)) { // a header cannot have it
    put(byId("token-text"), "That is no token: it has letters and digits, and begins with usher_. Copy it anew.");
    byId("token").focus();
    return;
  }
  token.set(said);
  retry();
  whoami();
});

byId("forget-token").addEventListener("click", () => {
  token.drop();
  location.reload();
});

// whoami shows under which name orders will be signed.
async function whoami() {
  const answer = await fetch("/v1/whoami", {headers: authorized()}).catch(() => null);
  if (!answer?.ok) return;
  const me = await answer.json();
  put(byId("who"), `${me.name}, may ${me.role}`);
}
if (token.get()) whoami();

byId("filter").addEventListener("input", () => { if (board) showBackends(backends, board); });
