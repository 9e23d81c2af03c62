// Tables that can be sorted, and become cards where there is no room. As cards they
// are no tables to browsers any more, so the roles are said.

import {byId, each, el, mark, put} from "./dom.js";
import {compare, none} from "./format.js";

// A column is {key, title, number, value(row), make(), show(cell, row)}; value is what
// it is sorted by; without it cannot be.
export class Table {
  constructor(place, caption, columns, key, options = {}) {
    this.columns = columns;
    this.key = key;
    this.by = options.by;
    this.down = false;
    this.rows = [];
    this.head = el("tr", {role: "row"});
    for (const c of columns) {
      const th = el("th", {scope: "col", role: "columnheader", class: c.number ? "number" : null, "data-col": c.key});
      if (c.value && options.by) {
        const b = el("button", {type: "button", class: "sort"}, c.title);
        b.addEventListener("click", () => this.sort(c.key, this.by === c.key ? !this.down : Boolean(c.number)));
        th.append(b);
      } else {
        th.append(c.title ? el("span", {}, c.title) : el("span", {class: "hidden"}, "Orders"));
      }
      this.head.append(th);
    }
    this.body = el("tbody", {role: "rowgroup"});
    place.append(el("table", {role: "table"},
      el("caption", {class: "hidden"}, caption), el("thead", {role: "rowgroup"}, this.head), this.body));
    this.select = options.select && byId(options.select);
    if (this.select) {
      for (const c of columns) if (c.value) this.select.append(el("option", {value: c.key}, c.title));
      this.select.addEventListener("change", () => this.sort(this.select.value, Boolean(columns.find((c) => c.key === this.select.value).number)));
    }
  }

  sort(key, down) {
    this.by = key;
    this.down = down;
    this.show(this.rows);
  }

  show(rows) {
    this.rows = rows;
    const by = this.columns.find((c) => c.key === this.by);
    if (by) {
      const sign = this.down ? -1 : 1;
      rows = rows.map((r, i) => [by.value(r), i, r]).sort(([a, i], [b, j]) => sign * compare(a, b) || i - j).map(([, , r]) => r);
      for (const th of this.head.children) mark(th, "aria-sort", th.dataset.col === this.by ? (this.down ? "descending" : "ascending") : null);
      if (this.select) this.select.value = this.by;
    }
    each(this.body, rows, this.key, () => this.row(), (tr, r) => {
      this.columns.forEach((c, i) => c.show(tr.children[i], r));
    });
  }

  row() {
    const tr = el("tr", {role: "row"});
    this.columns.forEach((c, i) => {
      const first = i === 0;
      const cell = el(first ? "th" : "td", {
        role: first ? "rowheader" : "cell", scope: first ? "row" : null, class: c.number ? "number" : null, "data-col": c.key, "data-title": c.title,
      });
      if (c.make) cell.append(...[c.make()].flat());
      tr.append(cell);
    });
    return tr;
  }
}

// plain is a column of one text.
export const plain = (key, title, value, text, number = true) => ({
  key, title, number, value, show(cell, row) {
    const t = text(row);
    put(cell, t);
    mark(cell, "data-none", t === none ? "" : null);
  },
});
