// The events of an incident as SVG: a lane for each session, all on one axis of time. Colours are classes of the style sheet.

import { levelClass, mostContribution } from "./session.js";
import { span, time } from "./text.js";

const LANE = 34;
const LABEL = 190;
const AXIS = 24;
const RIGHT = 8;
const NAMES = new Set(["x", "y", "x1", "x2", "y1", "y2", "width", "height", "class", "viewBox", "text-anchor", "rx", "role", "aria-label"]);
const STEPS_MS = [1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 43200, 525600].map((minutes) => minutes * 60_000);

// `width` in pixels; `inOrder` places events evenly, one after the other, instead of by their time, as it is also done where all
// have the same; `reveal` gets the index of one that is clicked.
export function lanes(incident, width, inOrder, reveal) {
  const evenly = inOrder || incident.events.every((event) => event.time === incident.events[0].time);
  const height = incident.sessions.length * LANE + AXIS;
  const x = places(incident.events, LABEL + 6, width - 2 * RIGHT - LABEL, evenly);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "events of each node over time" },
    ...rows(incident, width),
    ...(evenly ? [] : axis(width, height, x)),
    ...ticksOf(incident, x, reveal));
}

// Where along the axis a time is, or an event by its index.
function places(events, left, inner, evenly) {
  const times = events.map((event) => Date.parse(event.time));
  const first = Math.min(...times);
  const last = Math.max(...times, first + 1);
  const at = (moment) => left + (inner * (moment - first)) / (last - first);
  const of = (index) => (evenly ? left + (inner * index) / Math.max(1, times.length - 1) : at(times[index]));
  return { first, last, inner, at, of };
}

function rows(incident, width) {
  return incident.sessions.flatMap((session, lane) => [
    svg("line", { class: "grid", x1: LABEL, x2: width - RIGHT, y1: (lane + 1) * LANE, y2: (lane + 1) * LANE }),
    svg("text", { class: session.flagged ? "lane high" : "lane", x: 4, y: lane * LANE + 22 }, shortened(session.node)),
    svg("text", { class: "lane", x: LABEL - 10, y: lane * LANE + 22, "text-anchor": "end" }, session.score.toFixed(2))]);
}

// Round times; where none is between the first event and the last, the one and how much later the other is.
function axis(width, height, { first, last, inner, at }) {
  const most = Math.max(2, Math.floor(inner / 110));
  const step = STEPS_MS.find((candidate) => (last - first) / candidate <= most) ?? (last - first) / most;
  const parts = [];
  for (let moment = Math.ceil(first / step) * step; moment < last; moment += step) {
    parts.push(svg("line", { class: "grid", x1: at(moment), x2: at(moment), y1: 0, y2: height - 20 }),
      svg("text", { x: at(moment), y: height - 6, "text-anchor": "middle" }, label(moment, step)));
  }
  if (parts.length > 0) return parts;
  return [svg("text", { x: LABEL + 6, y: height - 6 }, time(new Date(first).toISOString())),
    svg("text", { x: width - RIGHT, y: height - 6, "text-anchor": "end" }, `+${span(last - first)}`)];
}

// The day where it begins, else the time of day.
function label(moment, step) {
  const text = new Date(moment).toISOString();
  if (step >= 86_400_000 || text.slice(11, 16) === "00:00") return text.slice(step >= 31_536_000_000 ? 0 : 5, 10);
  return text.slice(11, 16);
}

// An event is the taller the more it raised the score.
function ticksOf(incident, x, reveal) {
  const most = mostContribution(incident);
  return incident.events.map((event, index) => {
    const tall = 8 + (LANE - 14) * (Math.max(0, event.contribution) / most);
    const kind = event.exception && !["WARN", "ERROR", "FATAL"].includes(event.level) ? "level-WARN" : levelClass(event.level);
    const tick = svg("rect", { class: `event ${kind}`, x: x.of(index) - 1.5, y: (event.session + 1) * LANE - tall, width: 4, height: tall, rx: 1 },
      svg("title", {}, `${time(event.time)}  ${event.level}  ${event.text.slice(0, 200)}`));
    tick.addEventListener("click", () => reveal(index));
    return tick;
  });
}

// An SVG element. Only these attributes, so that no text can become a handler or an address.
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (!NAMES.has(name)) throw new Error(`svg: attribute ${name}`);
    node.setAttribute(name, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  }
  node.append(...children);
  return node;
}

function shortened(name) {
  return name.length > 20 ? `${name.slice(0, 19)}…` : name;
}
