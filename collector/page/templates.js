// Templates: which statements occur, how often over time, and which no model knows.

import { ask, query } from "./api.js";
import { Sparkline } from "./chart.js";
import { rangeOf, rangeQuery } from "./range.js";
import { count, element, roughly, time, visible } from "./text.js";

const HOUR_MS = 3_600_000;
const BARS_MAX = 60;
const HEADS = [["statement", ""], ["over time", ""], ["events", "number"], ["first seen", "number"], ["on", ""], ["last seen", "number"]];
const KINDS = [["", "all"], ["false", "unknown to the model"], ["true", "known"]];

export class Templates {
  constructor(root, go) {
    this.go = go;
    // By template.
    this.sparklines = new Map();
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
    this.keep(new Set(templates.map((template) => template.template)));
    const head = element("thead", {}, element("tr", {}, ...HEADS.map(([name, kind]) => element("th", { scope: "col", class: kind }, name))));
    const rows = templates.map((template) => element("tr", {},
      element("td", { class: "template", title: `template ${template.template}` }, template.known ? null : element("span", { class: "reason unknown" }, "unknown"), visible(template.text)),
      element("td", {}, this.sparkline(template.template, bars(template.hours, rangeOf(state)))),
      element("td", { class: "number" }, count(template.events)),
      element("td", { class: "number time" }, time(template.first_seen).slice(0, 16)),
      element("td", { class: "name" }, visible(template.first_node)),
      element("td", { class: "number dim", title: template.last_seen }, `${roughly(Date.now() - Date.parse(template.last_seen))} ago`)));
    this.table.replaceChildren(head, element("tbody", {}, ...rows));
    this.table.hidden = templates.length === 0;
    this.empty.hidden = templates.length > 0;
  }

  sparkline(template, values) {
    const line = this.sparklines.get(template) ?? new Sparkline("events over time");
    this.sparklines.set(template, line);
    line.show(values);
    return line.root;
  }

  // Ends the sparklines of templates that are not shown any more.
  keep(templates) {
    for (const [template, line] of this.sparklines) {
      if (templates.has(template)) continue;
      line.end();
      this.sparklines.delete(template);
    }
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
