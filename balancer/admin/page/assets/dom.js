// What the views are built with. Text from outside comes in by textContent only.

const svg = "http://www.w3.org/2000/svg";

// el makes an element: attributes, then children, which are nodes or text.
export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) e.setAttribute(key, "");
    else if (value !== false && value != null) e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}

export const byId = (id) => document.getElementById(id);

// put sets a text if it has changed, so that nothing flickers, a selection stays,
// and a screen reader is told of changes only.
export function put(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

// mark sets an attribute if it has changed; null takes it away.
export function mark(e, name, value) {
  if (value == null || value === false) {
    if (e.hasAttribute(name)) e.removeAttribute(name);
  } else if (e.getAttribute(name) !== String(value)) {
    e.setAttribute(name, value);
  }
}

// Shapes of states: what they mean must not hang on colour alone.
const shapes = {
  good: ["M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z", "M4.8 8.3 7 10.5l4.3-4.7"],
  warn: ["M8 1.2 15.4 14.4H.6Z", "M8 6v4M8 12.2v.2"],
  bad: ["M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1Z", "m5.4 5.4 5.2 5.2m0-5.2-5.2 5.2"],
  drain: ["M2.5 1h11A1.5 1.5 0 0 1 15 2.5v11a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 1 13.5v-11A1.5 1.5 0 0 1 2.5 1Z", "M8 4.2v7M5 8.4l3 3 3-3"],
  off: ["M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z", "M4.8 8h6.4"],
  vote: ["M8 .8 15.2 8 8 15.2.8 8Z", "M8 6.5v3"],
};

// shape draws one; the words beside it say the same.
export function shape(kind) {
  const s = document.createElementNS(svg, "svg");
  s.setAttribute("viewBox", "0 0 16 16");
  s.setAttribute("aria-hidden", "true");
  s.setAttribute("class", "shape " + kind);
  const [body, sign] = shapes[kind] ?? shapes.off;
  for (const [d, c] of [[body, "body"], [sign, "sign"]]) {
    const p = document.createElementNS(svg, "path");
    p.setAttribute("d", d);
    p.setAttribute("class", c);
    s.append(p);
  }
  return s;
}

// reshape puts a shape into an element unless it is there.
export function reshape(e, kind) {
  if (e.dataset.shape === kind) return;
  e.dataset.shape = kind;
  e.replaceChildren(...(kind === "plain" ? [] : [shape(kind)])); // plain: nothing to see
  e.hidden = kind === "plain";
}

// each keeps one child of a list for each item, by key: those that stay are changed
// in place, so that the focus is not lost.
export function each(list, items, key, make, change) {
  const kept = new Map([...list.children].map((e) => [e.dataset.key, e]));
  const focused = document.activeElement;
  let at = list.firstElementChild;
  for (const item of items) {
    const k = key(item);
    let e = kept.get(k);
    if (!e) {
      e = make(item);
      e.dataset.key = k;
    }
    kept.delete(k);
    change(e, item);
    if (e === at) at = at.nextElementSibling;
    else list.insertBefore(e, at);
  }
  for (const e of kept.values()) e.remove();
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({preventScroll: true}); // it was moved
}

// line draws the way of a number in time.
export function line(values, width, height) {
  const s = document.createElementNS(svg, "svg");
  s.setAttribute("viewBox", `0 0 ${width} ${height}`);
  s.setAttribute("preserveAspectRatio", "none");
  s.setAttribute("aria-hidden", "true");
  s.setAttribute("class", "spark");
  const most = Math.max(1, ...values);
  const x = (i) => (values.length < 2 ? width : (i * width) / (values.length - 1)).toFixed(1);
  const y = (v) => (height - 1.5 - (v / most) * (height - 3)).toFixed(1);
  const d = values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("");
  for (const [path, c] of [[`${d}L${width} ${height}L0 ${height}Z`, "area"], [d, "stroke"]]) {
    const p = document.createElementNS(svg, "path");
    p.setAttribute("d", path);
    p.setAttribute("class", c);
    s.append(p);
  }
  return s;
}
