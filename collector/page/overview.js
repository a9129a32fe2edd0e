// The overview: how it goes, what is worst, who may be at fault, what is new.

import { ask } from "./api.js";
import { Histogram, Timeline } from "./chart.js";
import { culpritName, incidentRows } from "./incidents.js";
import { rangeQuery, zoomed } from "./range.js";
import { count, element, percent, roughly, time, visible } from "./text.js";

export class Overview {
  constructor(root, go) {
    this.root = root;
    this.go = go;
    this.timeline = new Timeline((from, to) => go(zoomed(from, to)));
    this.histogram = new Histogram();
    this.facts = element("div", { class: "facts" });
    this.note = element("p", { class: "hint" });
    this.incidents = element("section", { class: "card wide" });
    this.culprits = element("section", { class: "card" });
    this.scores = element("section", { class: "card" });
    this.templates = element("section", { class: "card wide" });
    root.append(
      this.facts,
      element("section", { class: "card full" }, element("h2", {}, "Flagged sessions"), this.timeline.root, this.note),
      this.incidents, this.culprits, this.templates, this.scores);
  }

  async refresh(state) {
    const data = await ask(`/api/overview?${rangeQuery(state)}`);
    this.showFacts(data);
    this.timeline.show(data);
    this.hint(data);
    this.incidents.replaceChildren(element("h2", {}, "Worst incidents"), ...this.incidentTable(data));
    this.culprits.replaceChildren(element("h2", {}, "Most incidents point at"), ...this.culpritList(data));
    this.templates.replaceChildren(element("h2", {}, "New statements"), ...templateList(data.new_templates));
    this.scores.replaceChildren(element("h2", {}, "Scores"), ...this.scoreChart(data));
    return data;
  }

  showFacts(data) {
    const nodes = data.nodes;
    const fact = (value, words, kind = "") => element("div", { class: `fact ${kind}` }, element("b", {}, value), element("span", {}, words));
    const rate = data.sessions_scored > 0 ? percent(data.sessions_flagged / data.sessions_scored) : "–";
    this.facts.replaceChildren(
      fact(count(data.sessions_flagged), "sessions flagged", data.sessions_flagged > 0 ? "high" : ""),
      fact(rate, "of those scored"),
      fact(count(data.sessions_scored), "scored"),
      fact(count(nodes.reporting), nodes.reporting === 1 ? "node reports" : "nodes report", "fine"),
      ...(nodes.quiet > 0 ? [fact(count(nodes.quiet), "quiet for 2 min", "late")] : []),
      ...(nodes.lost > 0 ? [fact(count(nodes.lost), "quiet for 10 min", "high")] : []));
  }

  // Where nothing is in the range, something may be elsewhere.
  hint(data) {
    const outside = data.extent && data.sessions_flagged === 0;
    if (outside) {
      const button = element("button", { type: "button", class: "link" }, `show ${time(data.extent.from).slice(0, 16)} to ${time(data.extent.to).slice(0, 16)}`);
      button.addEventListener("click", () => this.go(zoomed(Date.parse(data.extent.from) - 60_000, Date.parse(data.extent.to) + 60_000)));
      this.note.replaceChildren("Nothing is flagged in this range, but at another time: ", button);
    } else if (!data.extent) {
      this.note.replaceChildren(data.nodes.reporting > 0 ? "Nothing was flagged yet. What is flagged appears here by itself." : noAgents());
    } else {
      this.note.replaceChildren(element("span", { class: "dim" }, "drag over the chart to zoom in, double click to zoom out · times are UTC"));
    }
  }

  incidentTable(data) {
    if (data.incidents.length === 0) return [element("p", { class: "dim" }, "none in this range")];
    return [element("table", {}, incidentRows(data.incidents, this.go))];
  }

  culpritList(data) {
    if (data.culprits.length === 0) return [element("p", { class: "dim" }, "none in this range")];
    const most = data.culprits[0].incidents;
    const list = element("ul", { class: "bars" });
    for (const culprit of data.culprits) {
      const bar = element("i", {});
      bar.style.width = `${(100 * culprit.incidents) / most}%`;
      const button = element("button", { type: "button", class: "link", title: "show its incidents" }, culpritName(culprit));
      button.addEventListener("click", () => this.go({ view: "incidents", culprit_kind: culprit.kind, culprit: culprit.name }));
      list.append(element("li", {}, bar, element("span", { class: "kind" }, culprit.kind), button, element("b", {}, count(culprit.incidents))));
    }
    return [list];
  }

  scoreChart(data) {
    if (data.scores.length === 0) return [element("p", { class: "dim" }, "agents have not said yet")];
    this.histogram.show(data.scores, data.threshold);
    return [this.histogram.root, element("p", { class: "dim" }, "sessions by score, logarithmic; red is above the threshold")];
  }
}

function noAgents() {
  return element("span", {}, "No agent has reported yet. Put this into the agent's configuration: ",
    element("code", {}, `[ship] endpoint = "${location.origin}"`), " — its node appears here within a minute.");
}

function templateList(templates) {
  if (templates.length === 0) return [element("p", { class: "dim" }, "none in this range")];
  const rows = templates.map((template) => element("tr", {},
    element("td", { class: "template" }, template.known ? null : element("span", { class: "reason unknown" }, "unknown"), visible(template.text)),
    element("td", { class: "name", title: "seen first on" }, visible(template.first_node)),
    element("td", { class: "number dim", title: template.first_seen }, `${roughly(Date.now() - Date.parse(template.first_seen))} ago`),
    element("td", { class: "number" }, count(template.events))));
  return [element("table", {}, element("tbody", {}, ...rows))];
}
