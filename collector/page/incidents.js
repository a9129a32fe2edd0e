// The list of incidents, by the hour, worst first in it.

import { ask, query } from "./api.js";
import { rangeQuery } from "./range.js";
import { count, element, span, time, visible } from "./text.js";

const PAGE = 100;

export class Incidents {
  constructor(root, go) {
    this.root = root;
    this.go = go;
    this.filter = element("p", { class: "filter" });
    this.table = element("table", { class: "incidents" });
    this.more = element("button", { type: "button" }, "show more");
    this.more.addEventListener("click", () => this.showMore());
    this.empty = element("p", { class: "note" }, "No incident in this range.");
    // Until the first answer nobody knows.
    this.empty.hidden = this.more.hidden = true;
    root.append(element("section", { class: "card full" }, this.filter, this.table, this.empty, this.more));
  }

  async refresh(state) {
    const base = `${rangeQuery(state)}&${query({ culprit_kind: state.culprit_kind, culprit: state.culprit, min_nodes: state.min_nodes })}`;
    const page = await ask(`/api/incidents?${base}&limit=${PAGE}`);
    // Further pages that somebody asked for stay until the filter changes.
    if (this.base !== filterOf(state)) this.older = [];
    this.base = filterOf(state);
    this.asked = base;
    this.first = page.incidents;
    if (this.older.length === 0) this.next = page.next;
    this.render(state);
  }

  async showMore() {
    const page = await ask(`/api/incidents?${this.asked}&limit=${PAGE}&before=${encodeURIComponent(this.next)}`);
    this.older.push(...page.incidents);
    this.next = page.next;
    this.render(this.state);
  }

  render(state) {
    this.state = state;
    const seen = new Set(this.first.map(keyOf));
    const all = [...this.first, ...this.older.filter((incident) => !seen.has(keyOf(incident)))];
    this.table.replaceChildren(head(), ...byHour(all, this.go));
    this.table.hidden = all.length === 0;
    this.empty.hidden = all.length > 0;
    this.more.hidden = this.next === null;
    this.filter.hidden = !state.culprit;
    if (state.culprit) {
      const clear = element("button", { type: "button" }, "show all");
      clear.addEventListener("click", () => this.go({ culprit: "", culprit_kind: "" }));
      this.filter.replaceChildren(`pointing at ${state.culprit_kind} `, element("b", {}, visible(state.culprit)), " ", clear);
    }
  }
}

const filterOf = (state) => JSON.stringify([state.range, state.from, state.to, state.culprit, state.culprit_kind, state.min_nodes]);
const keyOf = (incident) => `${incident.pool}:${incident.block}`;

function head() {
  const names = ["score", "block", "nodes", "sessions", "last event, UTC", "length", "points at"];
  return element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
}

function byHour(incidents, go) {
  const groups = new Map();
  for (const incident of incidents) {
    const hour = incident.end.slice(0, 13);
    groups.set(hour, [...(groups.get(hour) ?? []), incident]);
  }
  return [...groups].flatMap(([hour, group]) => [
    element("tbody", { class: "day" }, element("tr", {}, element("th", { scope: "rowgroup", colspan: 7 }, `${hour.replace("T", " ")}:00`, element("span", { class: "dim" }, `  ${count(group.length)}`)))),
    incidentRows(group, go)]);
}

// Rows that open their incident.
export function incidentRows(incidents, go) {
  return element("tbody", { class: "rows" }, ...incidents.map((incident) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${100 * incident.score}%`;
    const named = incident.node_names.slice(0, 3);
    const rest = incident.nodes > named.length ? ` +${incident.nodes - named.length}` : "";
    const row = element("tr", {},
      element("td", { class: "number" }, element("span", { class: "score high" }, bar, element("b", {}, incident.score.toFixed(2)))),
      element("td", { class: "block", title: incident.pool }, blockLink(incident, go)),
      element("td", { class: "name", title: incident.node_names.join(", ") }, visible(named.join(", ")), rest),
      element("td", { class: "number" }, count(incident.sessions_flagged)),
      element("td", { class: "number time", title: incident.end }, time(incident.end).replace(/\.\d+$/, "")),
      element("td", { class: "number dim" }, span(Date.parse(incident.end) - Date.parse(incident.start))),
      element("td", { class: "culprit" }, ...mostSpecific(incident.culprits)));
    row.addEventListener("click", (event) => event.target.closest("button") || go({ view: "incident", incident: keyOf(incident) }));
    return row;
  }));
}

// A button, so that the keyboard reaches it.
export function blockLink(incident, go) {
  const button = element("button", { type: "button", class: "link" }, visible(incident.block));
  button.addEventListener("click", () => go({ view: "incident", incident: keyOf(incident) }));
  return button;
}

function mostSpecific(culprits) {
  const order = ["volume", "link", "node"];
  const [first] = [...culprits].sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
  return first ? [element("span", { class: "kind" }, first.kind), culpritName(first)] : [];
}

export function culpritName(culprit) {
  return visible(culprit.name);
}
