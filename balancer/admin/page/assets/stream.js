// The stream of boards. It is read with fetch rather than EventSource, since that
// one cannot send a token.

const key = "usher-token";
const quiet = 9000;    // ms without a board after which a stream is taken for dead
const longest = 15000; // ms between two tries at most

export const token = {
  get: () => sessionStorage.getItem(key) ?? "",
  set: (text) => sessionStorage.setItem(key, text),
  drop: () => sessionStorage.removeItem(key),
};

// authorized are the headers of a question.
export function authorized(more) {
  const headers = new Headers(more);
  if (token.get()) headers.set("Authorization", `Bearer ${token.get()}`);
  return headers;
}

// follow calls on.board with each board, on.lost(why, wait) when there is none, and
// on.stranger(again) when the server wants to know who asks. It returns a function
// that tries at once.
export function follow(on) {
  let wake = () => {};
  let tries = 0;
  const rest = (ms) => new Promise((done) => {
    const timer = setTimeout(done, ms);
    wake = () => { clearTimeout(timer); done(); };
  });
  const run = async () => {
    for (;;) {
      let why = "the stream has ended";
      try {
        const got = await once((board) => { tries = 0; on.board(board); });
        if (got === 401) {
          on.stranger(token.get() !== "");
          token.drop();
          await new Promise((done) => { wake = done; });
          continue;
        }
      } catch (e) {
        why = e.message;
      }
      // What ended in good order comes back at once, and then slower and slower.
      const wait = tries === 0 ? 500 : Math.min(longest, 1000 * 2 ** (tries - 1)) * (0.8 + 0.4 * Math.random());
      tries++;
      on.lost(why, wait);
      await rest(wait);
    }
  };
  run();
  return () => wake();
}

// once reads one stream to its end. It returns the status if that is 401.
async function once(board) {
  const abort = new AbortController();
  let watch = setTimeout(() => abort.abort(), quiet);
  try {
    const answer = await fetch("/v1/board", {
      headers: authorized({Accept: "text/event-stream"}), cache: "no-store", signal: abort.signal, redirect: "error",
    });
    if (answer.status === 401) return 401;
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Error(said.error ? `${said.error}; ${said.next}` : `the node answers ${answer.status}`);
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return 0;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0;) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        const data = event.split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
        if (!data) continue;
        clearTimeout(watch);
        watch = setTimeout(() => abort.abort(), quiet);
        board(JSON.parse(data));
      }
    }
  } catch (e) {
    throw abort.signal.aborted ? new Error("the node is silent") : e instanceof TypeError ? new Error("the node cannot be reached") : e;
  } finally {
    clearTimeout(watch);
    abort.abort();
  }
}

// order sends one, and returns the answer or throws what the server says.
export async function order(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST", headers: authorized({"Content-Type": "application/json"}), body: JSON.stringify(body), redirect: "error",
    });
  } catch {
    throw new Error("The node cannot be reached. Whether it took the order is not known: look before you repeat it.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ? `${said.error}. ${said.next}.` : `The node answers ${answer.status}.`);
  return said;
}
