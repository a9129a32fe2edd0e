// One incident: a lane for each session on a common axis of time, and below it the events of all nodes in one list.

import { ask } from "./api.js";
import { culpritName } from "./incidents.js";
import { lanes } from "./lanes.js";
import { eventRows, mostContribution } from "./session.js";
import { reasons, score } from "./sessions.js";
import { copyButton, count, element, span, visible } from "./text.js";

const HEADS = ["time, UTC", "node", "after", "level", "logger", "contribution", "template and line"];

export class IncidentView {
  constructor(root, go) {
    this.root = root;
    this.go = go;
    this.evenly = false;
    this.shown = "";
    this.body = element("div", { class: "incident" });
    root.append(this.body);
    new ResizeObserver(() => this.drawn && this.drawLanes()).observe(this.body);
  }

  async refresh(state) {
    const answer = await ask(`/api/incidents/${encodeURIComponent(state.incident)}`);
    const version = JSON.stringify([state.incident, answer.incidents.map((incident) => [incident.end, incident.sessions.map((session) => [session.id, session.revision]), incident.nodes_asked])]);
    if (version === this.shown) return;
    this.shown = version;
    this.body.replaceChildren(...answer.incidents.flatMap((incident) => this.incident(incident)));
    if (answer.sessions_left_out > 0) {
      this.body.append(element("p", { class: "note" }, `${count(answer.sessions_left_out)} more sessions have no room here; find them under Sessions.`));
    }
    this.drawLanes();
  }

  incident(incident) {
    const name = incident.pool ? `${incident.pool}:${incident.block}` : incident.block;
    const place = element("div", { class: "lanes" });
    this.drawn = [...(this.drawn ?? []).filter((one) => one.place.isConnected), { place, incident }];
    const mode = element("button", { type: "button", title: "how events are placed: by their time, or evenly, in their order" }, "by time");
    mode.addEventListener("click", () => {
      this.evenly = !this.evenly;
      mode.textContent = this.evenly ? "in order" : "by time";
      this.drawLanes();
    });
    return [
      element("div", { class: "heading" }, score({ ...incident, flagged: true, threshold: 0 }), element("h2", {}, visible(incident.block)), copyButton("block id", incident.block),
        element("span", { class: "dim" }, `${count(incident.nodes)} node${incident.nodes === 1 ? "" : "s"}, ${count(incident.events.length)} events, ${span(Date.parse(incident.end) - Date.parse(incident.start))}`), mode,
        copyButton("incident as JSON", JSON.stringify(incident, null, 1)), element("span", { class: "dim" }, "as JSON")),
      incident.pool ? element("p", { class: "dim" }, visible(name)) : element("p", {}),
      this.together(incident),
      this.culprits(incident), place, this.events(incident)];
  }

  // What the model says of all nodes' events in one order, and who is still asked for more.
  together(incident) {
    const line = element("p", { class: "dim joint" });
    const { joint } = incident;
    if (joint) line.append("merged session: ", score({ score: joint.score, threshold: joint.threshold, flagged: joint.flagged }), ` over ${count(joint.events)} events of ${count(incident.nodes)} node${incident.nodes === 1 ? "" : "s"}`);
    if (incident.nodes_asked.length > 0) line.append(`${joint ? "; " : ""}asked for their part: `, visible(incident.nodes_asked.join(", ")));
    return line;
  }

  culprits(incident) {
    const list = element("p", { class: "pointing" });
    if (incident.culprits.length > 0) list.append(element("span", { class: "dim" }, "points at "));
    for (const culprit of incident.culprits) {
      const button = element("button", { type: "button", title: "incidents within half an hour that point at it" },
        element("span", { class: "kind" }, culprit.kind), culpritName(culprit), element("b", {}, ` ${count(culprit.incidents_around)}`));
      button.addEventListener("click", () => this.go({ view: "incidents", culprit_kind: culprit.kind, culprit: culprit.name }));
      list.append(button);
    }
    return list;
  }

  drawLanes() {
    for (const { place, incident } of this.drawn) if (place.isConnected) this.draw(place, incident);
  }

  draw(place, incident) {
    const width = Math.max(500, place.clientWidth);
    place.replaceChildren(lanes(incident, width, this.evenly, (index) => this.reveal(index, place)));
  }

  // Scrolls to an event of the list and puts the focus there.
  reveal(index, place) {
    const row = place.nextElementSibling.querySelectorAll("tbody.event")[index];
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  }

  events(incident) {
    const most = mostContribution(incident);
    let before = null;
    const rows = incident.events.map((event) => {
      const session = incident.sessions[event.session];
      const open = element("button", { type: "button", class: "link", title: "show its session" }, visible(session.node));
      open.addEventListener("click", () => this.go({ view: "sessions", id: session.id }));
      const body = eventRows({ ...session, block: incident.block }, event, before, most, element("td", { class: "name" }, open));
      before = event;
      return body;
    });
    const sessions = element("p", { class: "related" }, ...incident.sessions.flatMap((session) => {
      const open = element("button", { type: "button" }, score(session), visible(session.node), ...reasons(session));
      open.addEventListener("click", () => this.go({ view: "sessions", id: session.id }));
      return [open];
    }));
    return element("div", {}, sessions, element("table", { class: "events" },
      element("thead", {}, element("tr", {}, ...HEADS.map((name) => element("th", { scope: "col" }, name)))), ...rows));
  }
}
