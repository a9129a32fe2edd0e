// One session: what was decided and why, and its events on a time line.

import { markForm } from "./marks.js";
import { reasons, score } from "./sessions.js";
import { copyButton, count, element, span, time, visible } from "./text.js";

const REASONS = {
  score: (session) => `the model scores it ${session.score.toFixed(3)}, threshold ${session.threshold.toFixed(3)}`,
  novel_counts: () => "this combination of events never occurred in normal training data",
  unknown_template: () => "it has a line of level WARN or worse that the model does not know",
};
const LEVELS = new Set(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);

// Shows `session`; `related` are the other sessions on its block; `filter`, `open`, `incident` and `close` are what its buttons
// do, `changed` is called when it was marked by `person`.
export function showSession(root, session, related, person, { filter, open, incident, close, changed }) {
  const scroll = root.dataset.id === session.id ? root.scrollTop : 0;
  root.dataset.id = session.id;
  const parts = [
    heading(session, close),
    element("ul", { class: "why" }, ...session.reasons.map((reason) => why(session, reason))),
    markForm(session, person, changed),
    facts(session, filter),
    relatedList(session, related, open, incident),
    strip(session),
    events(session),
  ];
  root.replaceChildren(...parts.filter((part) => part !== null));
  root.scrollTop = scroll;
}

// Shows a sentence in place of a session.
export function showNote(root, ...content) {
  delete root.dataset.id;
  root.replaceChildren(element("div", { class: "note" }, ...content));
}

function heading(session, close) {
  const back = element("button", { type: "button", class: "close", "aria-label": "close" }, "×");
  back.addEventListener("click", close);
  return element("div", { class: "heading" },
    score(session),
    element("h2", {}, visible(session.block || "node session")),
    copyButton("block id", session.block),
    element("span", { class: "at" }, "on ", element("b", {}, visible(session.node))),
    element("span", { class: "reasons" }, ...reasons(session)),
    back);
}

function why(session, reason) {
  const text = REASONS[reason]?.(session);
  return element("li", {}, text ?? visible(reason));
}

function facts(session, filter) {
  const length = Date.parse(session.end) - Date.parse(session.start);
  const list = element("dl", {});
  const add = (name, ...value) => list.append(element("div", {}, element("dt", {}, name), element("dd", {}, ...value)));
  add("first event", time(session.start));
  add("last event", time(session.end));
  add("length", span(length));
  add("events", count(session.events.length + session.events_dropped), session.events_dropped ? ` (${count(session.events_dropped)} not shown)` : null);
  add("model", visible(session.model));
  if (session.pool) add("pool", visible(session.pool));
  add("arrived", time(session.received).replace(/\.\d+$/, ""));
  add("revision", String(session.revision), ...history(session));
  const buttons = element("div", { class: "buttons" });
  for (const [label, changes] of [["only this block", { block: session.block }], ["only this node", { node: session.node }]]) {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => filter(changes));
    buttons.append(button);
  }
  buttons.append(copyButton("report as JSON", JSON.stringify(session, null, 1)));
  buttons.lastElementChild.before(element("span", { class: "dim" }, "report as JSON"));
  list.append(buttons);
  return list;
}

function history(session) {
  const older = session.revisions.filter((known) => known.revision !== session.revision);
  return older.map((known) => element("span", { class: "past", title: `arrived ${known.received}, model ${known.model}` },
    `${known.revision}: ${known.score.toFixed(2)} ${known.flagged ? "flagged" : "not flagged"}`));
}

function relatedList(session, related, open, incident) {
  if (!session.block) return null;
  const others = related.filter((other) => other.id !== session.id);
  const whole = element("button", { type: "button" }, "incident: all nodes on one time line");
  whole.addEventListener("click", incident);
  const list = element("p", { class: "related" }, whole, others.length > 0 ? "same block: " : null);
  for (const other of others) {
    const button = element("button", { type: "button" }, score(other), visible(other.node));
    button.addEventListener("click", () => open(other.id));
    list.append(button);
  }
  return list;
}

// Events on an axis of time: a tick each, higher with its contribution.
function strip(session) {
  const times = session.events.map((event) => Date.parse(event.time));
  const first = Math.min(...times);
  const length = Math.max(...times) - first;
  if (!(length > 0)) return null;
  const most = mostContribution(session);
  const axis = element("div", { class: "strip", title: `${session.start} to ${session.end}` });
  session.events.forEach((event, index) => {
    const tick = element("i", { class: levelClass(event.level) });
    tick.style.left = `${(100 * (times[index] - first)) / length}%`;
    tick.style.height = `${20 + (80 * Math.max(0, event.contribution)) / most}%`;
    axis.append(tick);
  });
  return element("div", { class: "axis" }, axis,
    element("span", {}, time(session.start)), element("span", {}, span(length)), element("span", {}, time(session.end)));
}

export function mostContribution(session) {
  return Math.max(...session.events.map((event) => Math.abs(event.contribution)), 0.001);
}

export function levelClass(level) {
  return LEVELS.has(level) ? `level-${level}` : "level-INFO";
}

function events(session) {
  const table = element("table", { class: "events" },
    element("thead", {}, element("tr", {}, ...HEADS.map((name) => element("th", { scope: "col" }, name)))));
  const most = mostContribution(session);
  let before = null;
  for (const event of session.events) {
    if (before === null || day(before) !== day(event)) {
      table.append(element("tbody", { class: "day" }, element("tr", {}, element("th", { scope: "rowgroup", colspan: HEADS.length }, visible(day(event))))));
    }
    table.append(eventRows(session, event, before, most));
    before = event;
  }
  return table;
}

const HEADS = ["time, UTC", "after", "level", "logger", "contribution", "template and line"];

function day(event) {
  return event.time.slice(0, 10);
}

// Two rows: what it was taken for, and the line itself; `node` is a cell for it where several nodes are shown.
export function eventRows(session, event, before, most, node = null) {
  const gap = before === null ? 0 : Date.parse(event.time) - Date.parse(before.time);
  const facts = element("tr", {},
    element("td", { class: "time", title: event.time }, visible(time(event.time).slice(11) || event.time)),
    node,
    element("td", { class: gap >= 60_000 ? "number gap" : "number dim" }, gap > 0 ? `+${span(gap)}` : ""),
    element("td", { class: "level" }, visible(event.level)),
    element("td", { class: "logger", title: event.logger }, visible(event.logger.split(/[.$]/).pop())),
    element("td", {}, contribution(event, most)),
    element("td", { class: "template", title: `template ${event.template}` }, visible(event.text)));
  const line = element("tr", { class: "line" }, element("td", { colspan: HEADS.length + (node === null ? 0 : 1) }, rawLine(session, event)));
  return element("tbody", { class: `event ${levelClass(event.level)}`, tabindex: "-1" }, facts, line);
}

function rawLine(session, event) {
  const where = `${event.file}, offset ${event.offset}`;
  if (event.line === null) {
    return element("div", { class: "gone", title: where }, "the line is no longer in its file");
  }
  return element("div", { class: "raw" },
    element("code", { title: where }, visible(event.line, session.block)),
    copyButton("line", event.line));
}

// To the right: without this event the score would be lower. To the left: it would be higher.
function contribution(event, most) {
  const bar = element("i", { class: event.contribution < 0 ? "less" : "more" });
  bar.style.width = `${(50 * Math.abs(event.contribution)) / most}%`;
  const title = `without this event the score would be ${Math.abs(event.contribution).toFixed(3)} ${event.contribution < 0 ? "higher" : "lower"}`;
  return element("span", { class: "contribution", title },
    element("b", {}, event.contribution.toFixed(2)), element("span", {}, bar));
}
