// Templates: which statements occur, how often over time, and which no model knows.

import { ask, query } from "./api.js";
import { sparkline } from "./chart.js";
import { rangeOf, rangeQuery } from "./range.js";
import { count, element, roughly, time, visible } from "./text.js";

const HOUR_MS = 3_600_000;
const BARS_MAX = 60;
const KINDS = [["", "all"], ["false", "unknown to the model"], ["true", "known"]];

export class Templates {
  constructor(root, go) {
    this.go = go;
    this.choices = element("p", { class: "filter" });
    this.table = element("table", { class: "templates" });
    this.empty = element("p", { class: "note" }, "No statement was counted in this range.");
    root.append(element("section", { class: "card full" }, this.choices, this.table, this.empty));
  }

  async refresh(state) {
    const { templates } = await ask(`/api/templates?${rangeQuery(state)}&${query({ known: state.known, limit: 300 })}`);
    this.choices.replaceChildren(...KINDS.map(([known, words]) => {
      const button = element("button", { type: "button", "aria-pressed": String(state.known === known) }, words);
      button.addEventListener("click", () => this.go({ known }));
      return button;
    }));
    const names = ["statement", "over time", "events", "first seen", "on", "last seen"];
    const head = element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
    const rows = templates.map((template) => element("tr", {},
      element("td", { class: "template", title: `template ${template.template}` }, template.known ? null : element("span", { class: "reason unknown" }, "unknown"), visible(template.text)),
      element("td", {}, sparkline(bars(template.hours, rangeOf(state)), "events over time")),
      element("td", { class: "number" }, count(template.events)),
      element("td", { class: "number time" }, time(template.first_seen).slice(0, 16)),
      element("td", { class: "name" }, visible(template.first_node)),
      element("td", { class: "number dim", title: template.last_seen }, `${roughly(Date.now() - Date.parse(template.last_seen))} ago`)));
    this.table.replaceChildren(head, element("tbody", {}, ...rows));
    this.table.hidden = templates.length === 0;
    this.empty.hidden = templates.length > 0;
  }
}

// Events by the hour, several hours to a bar where there are many.
function bars(hours, { from, to }) {
  const first = Math.floor(from / HOUR_MS);
  const each = Math.max(1, Math.ceil((Math.ceil(to / HOUR_MS) - first) / BARS_MAX));
  const sums = new Array(Math.ceil((Math.ceil(to / HOUR_MS) - first) / each)).fill(0);
  for (const { time: at, events } of hours) {
    const bar = Math.floor((Date.parse(at) / HOUR_MS - first) / each);
    if (bar >= 0 && bar < sums.length) sums[bar] += events;
  }
  return sums;
}
