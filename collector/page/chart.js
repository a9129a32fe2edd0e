// Charts as SVG: a timeline that can be zoomed, a histogram, a sparkline. Colours are classes of the style sheet.

import { count, element, percent, time } from "./text.js";

const NAMES = new Set(["x", "y", "x1", "x2", "y1", "y2", "width", "height", "points", "class", "viewBox", "text-anchor", "rx", "role",
  "aria-label", "tabindex", "preserveAspectRatio", "d"]);

// An SVG element. Only these attributes, so that no text can become a handler or an address.
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (!NAMES.has(name)) throw new Error(`svg: attribute ${name}`);
    node.setAttribute(name, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// The least round number not below `value`: 1, 2, 5, 10...
function round(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999_999);
}

const STEPS_MS = [1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 43200, 525600].map((minutes) => minutes * 60_000);

// Times for the ticks of an axis, at most `most` of them.
function ticks(from, to, most) {
  const step = STEPS_MS.find((candidate) => (to - from) / candidate <= most) ?? (to - from) / most;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) found.push(at);
  return { step, found };
}

// A tick's label: the day where it begins, else the time of day.
function tickLabel(at, step) {
  const text = new Date(at).toISOString();
  if (step >= 86_400_000 || text.slice(11, 16) === "00:00") return text.slice(step >= 31_536_000_000 ? 0 : 5, 10);
  return text.slice(11, 16);
}

const HEIGHT = 190;
const LEFT = 44;
const RIGHT = 46;
const TOP = 8;
const BOTTOM = 22;

// Flagged sessions as bars, the share of scored ones as a line. Dragging over it, or Enter on the marked bar, zooms in.
export class Timeline {
  constructor(zoom) {
    this.zoom = zoom;
    this.root = element("div", { class: "timeline", tabindex: "0", role: "application", "aria-label": "flagged sessions over time; arrow keys move, Enter zooms in, Escape zooms out" });
    this.tip = element("p", { class: "tip" });
    this.tip.hidden = true;
    this.at = -1;
    this.drag = null;
    this.root.addEventListener("pointermove", (event) => this.move(event));
    this.root.addEventListener("pointerleave", () => this.point(-1));
    this.root.addEventListener("pointerdown", (event) => this.press(event));
    this.root.addEventListener("pointerup", (event) => this.release(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.data && this.draw()).observe(this.root);
  }

  // `data`: from, to, step_ms, points.
  show(data) {
    this.from = Date.parse(data.from);
    this.to = Date.parse(data.to);
    this.step = data.step_ms;
    this.data = data;
    const first = Math.floor(this.from / this.step) * this.step;
    this.bars = [];
    for (let at = first; at < this.to; at += this.step) this.bars.push({ at, flagged: 0, scored: 0 });
    for (const point of data.points) {
      const bar = this.bars[Math.round((Date.parse(point.time) - first) / this.step)];
      if (bar) Object.assign(bar, { flagged: point.flagged, scored: point.scored });
    }
    this.draw();
  }

  x(at) {
    return LEFT + ((at - this.from) / (this.to - this.from)) * (this.width - LEFT - RIGHT);
  }

  draw() {
    if (this.drag) return;
    this.width = Math.max(320, this.root.clientWidth);
    const plot = HEIGHT - TOP - BOTTOM;
    const most = round(Math.max(1, ...this.bars.map((bar) => bar.flagged)));
    const share = (bar) => (bar.scored > 0 ? Math.min(1, bar.flagged / bar.scored) : null);
    const highest = Math.max(0, ...this.bars.map((bar) => share(bar) ?? 0));
    const mostShare = Math.min(1, round(highest));
    const y = (value) => TOP + plot * (1 - value / most);
    const parts = [];
    for (const line of [0, 0.5, 1]) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y(line * most), y2: y(line * most) }));
      if (line * most === Math.round(line * most)) {
        parts.push(svg("text", { x: LEFT - 6, y: y(line * most) + 4, "text-anchor": "end" }, count(line * most)));
      }
      if (highest > 0) {
        parts.push(svg("text", { class: "share", x: this.width - RIGHT + 6, y: y(line * most) + 4 }, percent(line * mostShare)));
      }
    }
    const { step, found } = ticks(this.from, this.to, Math.max(2, Math.floor((this.width - LEFT - RIGHT) / 90)));
    for (const at of found) {
      parts.push(svg("line", { class: "tick", x1: this.x(at), x2: this.x(at), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
      parts.push(svg("text", { x: this.x(at), y: HEIGHT - 6, "text-anchor": "middle" }, tickLabel(at, step)));
    }
    const width = Math.max(1, (this.step / (this.to - this.from)) * (this.width - LEFT - RIGHT) - 1);
    this.marks = this.bars.map((bar) => {
      const left = Math.max(LEFT, this.x(bar.at));
      const height = bar.flagged > 0 ? Math.max(2, plot * (bar.flagged / most)) : 0;
      return svg("rect", { class: "bar", x: left, width: Math.max(1, Math.min(width, this.width - RIGHT - left)), y: HEIGHT - BOTTOM - height, height });
    });
    parts.push(...this.marks);
    if (highest > 0) parts.push(...this.shareLines(share, (value) => TOP + plot * (1 - value / mostShare)));
    this.selection = svg("rect", { class: "selection", x: 0, y: TOP, width: 0, height: plot });
    parts.push(this.selection);
    const drawing = svg("svg", { viewBox: `0 0 ${this.width} ${HEIGHT}`, width: this.width, height: HEIGHT, role: "img", "aria-label": "flagged sessions over time" }, ...parts);
    this.root.replaceChildren(drawing, this.tip);
    this.point(this.at);
  }

  // The line is broken where nothing was scored.
  shareLines(share, y) {
    const lines = [];
    let points = [];
    const end = () => {
      if (points.length > 1) lines.push(svg("polyline", { class: "share-line", points: points.join(" ") }));
      points = [];
    };
    for (const bar of this.bars) {
      const value = share(bar);
      if (value === null) end();
      else points.push(`${this.x(bar.at + this.step / 2).toFixed(1)},${y(value).toFixed(1)}`);
    }
    end();
    return lines;
  }

  timeOf(event) {
    const x = event.clientX - this.root.getBoundingClientRect().left;
    const share = (x - LEFT) / (this.width - LEFT - RIGHT);
    return this.from + Math.min(1, Math.max(0, share)) * (this.to - this.from);
  }

  move(event) {
    if (!this.data) return;
    const at = this.timeOf(event);
    if (this.drag !== null) {
      const [from, to] = [this.drag, at].sort((a, b) => a - b);
      this.selection.setAttribute("x", String(this.x(from)));
      this.selection.setAttribute("width", String(this.x(to) - this.x(from)));
    }
    this.point(Math.floor((at - this.bars[0].at) / this.step));
  }

  press(event) {
    if (!this.data || event.button !== 0) return;
    this.drag = this.timeOf(event);
    this.root.setPointerCapture(event.pointerId);
  }

  release(event) {
    if (this.drag === null) return;
    const [from, to] = [this.drag, this.timeOf(event)].sort((a, b) => a - b);
    this.drag = null;
    this.selection.setAttribute("width", "0");
    // A click is no drag.
    if (this.x(to) - this.x(from) < 4) return;
    const floor = Math.floor(from / this.step) * this.step;
    this.zoom(floor, Math.max(floor + this.step, Math.ceil(to / this.step) * this.step));
  }

  key(event) {
    if (!this.data) return;
    const last = this.bars.length - 1;
    if (event.key === "ArrowLeft") this.point(this.at < 0 ? last : Math.max(0, this.at - 1));
    else if (event.key === "ArrowRight") this.point(this.at < 0 ? 0 : Math.min(last, this.at + 1));
    else if (event.key === "Enter" && this.at >= 0) this.zoom(this.bars[this.at].at - this.step, this.bars[this.at].at + 2 * this.step);
    else if (event.key === "Escape") this.zoom(null, null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Marks a bar and says what it stands for.
  point(index) {
    this.marks?.[this.at]?.classList.remove("at");
    this.at = this.bars?.[index] ? index : -1;
    const bar = this.bars?.[this.at];
    this.tip.hidden = bar === undefined;
    if (!bar) return;
    this.marks[this.at].classList.add("at");
    const rate = bar.scored > 0 ? `, ${percent(bar.flagged / bar.scored)} of ${count(bar.scored)} scored` : "";
    this.tip.textContent = `${time(new Date(bar.at).toISOString())}  ${count(bar.flagged)} flagged${rate}`;
    const left = this.x(bar.at);
    this.tip.style.left = `${Math.min(left + 10, this.width - 290)}px`;
  }
}

// Sessions by score, on a logarithmic scale, and where the threshold is.
export function histogram(scores, threshold) {
  const [width, height, left, bottom] = [420, 150, 4, 20];
  const most = Math.log10(Math.max(10, ...scores.map((bin) => bin.sessions)));
  const each = (width - 2 * left) / Math.max(1, scores.length);
  const parts = [];
  scores.forEach((bin, index) => {
    const tall = bin.sessions > 0 ? Math.max(2, (height - bottom - 14) * (Math.log10(bin.sessions + 1) / (most + 0.05))) : 0;
    const x = left + index * each;
    const below = threshold === null || bin.bound <= threshold;
    parts.push(svg("rect", { class: below ? "bar calm" : "bar", x: x + 1, width: each - 2, y: height - bottom - tall, height: tall }));
    if (bin.sessions > 0) parts.push(svg("text", { x: x + each / 2, y: height - bottom - tall - 3, "text-anchor": "middle" }, short(bin.sessions)));
    parts.push(svg("text", { x: x + each - 1, y: height - 5, "text-anchor": "end" }, String(bin.bound).replace(/^0(?=\.)/, "")));
  });
  const over = scores.findIndex((bin) => threshold !== null && bin.bound > threshold);
  if (over >= 0) {
    const before = over > 0 ? scores[over - 1].bound : 0;
    const x = left + (over + (threshold - before) / (scores[over].bound - before)) * each;
    parts.push(svg("line", { class: "threshold", x1: x, x2: x, y1: 4, y2: height - bottom }));
    parts.push(svg("text", { class: "threshold", x: x - 4, y: 12, "text-anchor": "end" }, `threshold ${threshold}`));
  }
  parts.push(svg("line", { class: "grid", x1: left, x2: width - left, y1: height - bottom, y2: height - bottom }));
  return svg("svg", { class: "histogram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "sessions by score" }, ...parts);
}

// A small line of bars; `values` evenly apart.
export function sparkline(values, label) {
  const [width, height] = [120, 18];
  const most = Math.max(1, ...values);
  const each = width / Math.max(1, values.length);
  const bars = values.map((value, index) => {
    const tall = value > 0 ? Math.max(1, height * (value / most)) : 0;
    return svg("rect", { class: "bar calm", x: index * each, width: Math.max(0.8, each - 0.4), y: height - tall, height: tall });
  });
  return svg("svg", { class: "sparkline", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...bars);
}

// A count in four characters: 12.3k.
function short(number) {
  if (number < 1000) return String(number);
  const units = ["k", "M", "G", "T"];
  let unit = -1;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${number >= 100 ? Math.round(number) : number.toFixed(1)}${units[unit]}`;
}
