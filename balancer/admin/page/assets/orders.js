// Orders, each with a dialog that says what will happen.

import {byId, el, mark, put} from "./dom.js";
import {many} from "./format.js";
import {order} from "./stream.js";

const dialog = byId("confirm");
let run = null;

// ask opens the dialog. The work begins with the second button, and errors are shown
// where the operator looks.
function ask(title, lines, yes, work) {
  put(byId("confirm-title"), title);
  byId("confirm-text").replaceChildren(...lines.map((l) => el("p", {}, l)));
  byId("confirm-error").hidden = true;
  put(byId("confirm-yes"), yes);
  byId("confirm-yes").disabled = false;
  put(byId("confirm-no"), "Cancel");
  run = work;
  dialog.showModal();
  byId("confirm-no").focus();
}

export function ready(say) {
  byId("confirm-yes").addEventListener("click", async () => {
    const yes = byId("confirm-yes");
    const work = run;
    yes.disabled = true;
    byId("confirm-error").hidden = true;
    try {
      const done = await work();
      if (run !== work) return; // closed meanwhile, and perhaps opened for another order
      say(done.done ? `${byId("confirm-title").textContent.replace(/\?$/, "")}: done.` : `The order goes on: ${done.pending}`);
      dialog.close();
    } catch (e) {
      if (run !== work) return;
      put(byId("confirm-error"), e.message);
      byId("confirm-error").hidden = false;
      put(byId("confirm-no"), "Close");
      yes.disabled = false;
    }
  });
  dialog.addEventListener("close", () => { run = null; });
}

const live = (what) => `${many(what.users, "user")} with ${many(what.sessions, "session")}`;

function drainBackend(b) {
  ask(`Drain ${b.name}?`, [
    `It takes no new users from now on. ${b.users ? `${live(b)} ${b.users === 1 ? "stays" : "stay"} on it until they leave by themselves.` : "Nobody is on it now."}`,
    "Users whose place it was go to another back end of the pool when they next log in. Nobody is disconnected.",
  ], "Drain", () => order("/v1/backend/state", {pool: b.pool, backend: b.name, state: "drain", by: "dashboard"}));
}

function activateBackend(b) {
  ask(`Activate ${b.name}?`, [
    "It takes users again, by its weight.",
    `Users who belong there come with their next login, once they are live nowhere else.${b.up ? "" : " It is down now, so that begins when its health is good."}`,
  ], "Activate", () => order("/v1/backend/state", {pool: b.pool, backend: b.name, state: "active", by: "dashboard"}));
}

function drainNode(n, others) {
  ask(`Drain ${n.name}?`, [
    `It says on /readyz that it is not ready, so that whoever sends clients stops. ${live(n)} ${n.users === 1 ? "stays" : "stay"} until they leave by themselves.`,
    others > 0 ? `${many(others, "other node")} ${others === 1 ? "is" : "are"} ready to take new clients.` : "No other node is ready: new clients may find nobody.",
  ], "Drain", () => order("/v1/node/drain", {node: n.name}));
}

function resumeNode(n) {
  ask(`Resume ${n.name}?`, ["It says that it is ready again, and gets new clients."], "Resume",
    () => order("/v1/node/drain", {node: n.name, undo: true}));
}

function offer(button, may, text, name, act) {
  button.hidden = !may;
  put(button, text);
  mark(button, "aria-label", `${text} ${name}`);
  mark(button, "aria-haspopup", "dialog");
  button.onclick = act;
}

// forBackend and forNode make a row's button do what can be done with it now.
export function forBackend(may) {
  return (button, b) => {
    const active = b.admin === "active";
    offer(button, may() && b.state !== "removed", active ? "Drain" : "Activate", b.name, () => (active ? drainBackend(b) : activateBackend(b)));
  };
}

export function forNode(may, board) {
  return (button, n) => {
    const there = ["ready", "degraded", "unready", "draining"].includes(n.state) && board().fleet.name !== "";
    const others = board().nodes.filter((o) => o.name !== n.name && (o.state === "ready" || o.state === "degraded")).length;
    offer(button, may() && there, n.drained ? "Resume" : "Drain", n.name, () => (n.drained ? resumeNode(n) : drainNode(n, others)));
  };
}
