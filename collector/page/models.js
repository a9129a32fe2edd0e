// Models: which one runs where, and whether it still fits what comes.

import { ask } from "./api.js";
import { count, element, percent, roughly, visible } from "./text.js";

// A population stability index from which on another model is called for.
const SHIFT_LIMIT = 0.25;
const UNKNOWN_LIMIT = 0.05;

export class Models {
  constructor(root) {
    this.list = element("section", { class: "card full" });
    root.append(this.list);
  }

  async refresh() {
    const { models } = await ask("/api/models");
    const names = ["model", "nodes", "scored", "flagged", "unknown statements, mean", "worst", "score shift, mean", "worst", "last seen", "runs on"];
    const head = element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
    const rows = models.map((model) => element("tr", {},
      element("td", { class: "name" }, visible(model.model || "(not said)")),
      element("td", { class: "number" }, count(model.nodes)),
      element("td", { class: "number" }, count(model.sessions_scored)),
      element("td", { class: "number" }, count(model.sessions_flagged)),
      ...drift(model.events_unknown_share, UNKNOWN_LIMIT, percent),
      ...drift(model.score_shift, SHIFT_LIMIT, (value) => value.toFixed(2)),
      element("td", { class: "number dim", title: model.last_seen }, `${roughly(Date.now() - Date.parse(model.last_seen))} ago`),
      element("td", { class: "names" }, visible(model.node_names.slice(0, 12).join(", ")), model.nodes > 12 ? ` and ${count(model.nodes - 12)} more` : null)));
    this.list.replaceChildren(models.length > 0 ? element("table", { class: "models" }, head, element("tbody", {}, ...rows)) : element("p", { class: "note" }, "No agent has reported yet."),
      element("p", { class: "dim hint" }, `Above ${SHIFT_LIMIT} of score shift (a population stability index), or ${percent(UNKNOWN_LIMIT)} of unknown statements, another model is called for.`));
  }
}

function drift(spread, limit, shown) {
  if (!spread) return [element("td", { class: "number dim" }, "–"), element("td", {})];
  const kind = (value) => (value >= limit ? "state lost" : "state fine");
  return [element("td", { class: "number" }, element("span", { class: kind(spread.mean) }, shown(spread.mean))),
    element("td", {}, element("span", { class: kind(spread.max) }, shown(spread.max)), " ", element("span", { class: "dim" }, visible(spread.max_node)))];
}
