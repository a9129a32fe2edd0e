// The charts, drawn by uPlot: a timeline that can be zoomed, sessions by score, a sparkline. Colours are those of the style sheet.

import { count, element, percent, time } from "./text.js";
import uPlot from "./uplot/uPlot.esm.js";

// Ticks of an axis of time: from which step on in ms, the label, what is added to it where a year or a day begins (uPlot's format).
const DATES = "\n{YYYY}-{MM}-{DD}";
const STAMPS = [
  [365 * 86_400_000, "{YYYY}", null, null, null, null, null, null, 1],
  [86_400_000, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60_000, "{HH}:{mm}", DATES, null, DATES, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DATES, null, DATES, null, null, null, 1],
];
const WHOLE_STEPS = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((factor) => factor * 10 ** power)).flat();
// Of the height of the plot, so that one session beside a burst is still seen.
const BAR_LEAST = 0.02;
const HEADROOM = 1.05;

const shown = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of shown) chart.redraw();
});

// A variable of the style sheet.
function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function plot(place, width, height, options, data) {
  const chart = new uPlot({
    width, height, ms: 1, tzDate: (at) => uPlot.tzDate(new Date(at), "Etc/UTC"), legend: { show: false }, ...options,
    hooks: { destroy: [(gone) => shown.delete(gone)], ...options.hooks },
  }, data, place);
  shown.add(chart);
  return chart;
}

// A chart that stays as wide as its place.
function plotWide(place, height, options, data) {
  const width = () => Math.max(300, place.clientWidth);
  const chart = plot(place, width(), height, options, data);
  new ResizeObserver(() => width() !== chart.width && chart.setSize({ width: width(), height })).observe(place);
  return chart;
}

function axis(options) {
  return {
    stroke: () => style("--dim"), font: `11px ${style("--sans")}`, lineGap: 1.2,
    grid: { stroke: () => style("--line"), width: 1 }, ticks: { show: false }, ...options,
  };
}

// Bars around the places of their data.
function bars(scale, colour, { gap, alpha = 1 }) {
  return { scale, alpha, width: 0, fill: () => style(colour), points: { show: false }, paths: uPlot.paths.bars({ size: [1], gap }) };
}

// Flagged sessions as bars, the share of scored ones as a line. Dragging over it, or Enter on the bar that is pointed at, zooms in.
export class Timeline {
  constructor(zoom) {
    this.zoom = zoom;
    this.root = element("div", { class: "timeline", tabindex: "0", role: "application", "aria-label": "flagged sessions over time; arrow keys move, Enter zooms in, Escape zooms out" });
    this.tip = element("p", { class: "tip", role: "status" });
    this.tip.hidden = true;
    this.root.append(this.tip);
    this.at = -1;
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  // `data`: from, to, step_ms, points.
  show(data) {
    this.from = Date.parse(data.from);
    this.to = Date.parse(data.to);
    this.step = data.step_ms;
    const first = Math.floor(this.from / this.step) * this.step;
    this.bars = [];
    for (let at = first; at < this.to; at += this.step) this.bars.push({ at, flagged: 0, scored: 0 });
    for (const point of data.points) {
      const bar = this.bars[Math.round((Date.parse(point.time) - first) / this.step)];
      if (bar) Object.assign(bar, { flagged: point.flagged, scored: point.scored });
    }
    const drawn = this.columns();
    if (this.chart) this.chart.setData(drawn);
    else this.draw(drawn);
    this.say();
  }

  // Middles of bars, their heights, and shares: nothing where nothing was scored.
  columns() {
    const shares = this.bars.map((bar) => (bar.scored > 0 ? Math.min(1, bar.flagged / bar.scored) : null));
    this.most = Math.max(...this.bars.map((bar) => bar.flagged));
    this.mostShare = Math.max(...shares);
    return [
      this.bars.map((bar) => bar.at + this.step / 2),
      this.bars.map((bar) => (bar.flagged > 0 ? Math.max(bar.flagged, BAR_LEAST * this.most) : 0)),
      shares];
  }

  draw(drawn) {
    this.chart = plotWide(this.root, 200, {
      padding: [8, 0, 0, 0],
      scales: {
        x: { range: () => [this.from, this.to] },
        flagged: { range: () => [0, Math.max(1, HEADROOM * this.most)] },
        share: { range: () => [0, this.mostShare > 0 ? Math.min(1, HEADROOM * this.mostShare) : 1] },
      },
      series: [{}, bars("flagged", "--high", { gap: 1 }), { scale: "share", stroke: () => style("--less"), width: 1.5, points: { show: false } }],
      axes: [
        axis({ values: STAMPS, space: 70, size: 34 }),
        axis({ scale: "flagged", size: 48, incrs: WHOLE_STEPS, values: (_, splits) => splits.map(short) }),
        axis({ scale: "share", side: 1, size: 52, stroke: () => style("--less"), grid: { show: false }, values: (_, splits) => splits.map((split) => (this.mostShare > 0 ? percent(split) : "")) }),
      ],
      cursor: {
        y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 4 },
        bind: { dblclick: () => () => this.zoom(null, null) },
      },
      hooks: { setSelect: [() => this.selected()], setCursor: [() => this.say()], setSize: [() => this.say()] },
    }, drawn);
  }

  // Whole bars, as far as the dragging went.
  selected() {
    const { left, width } = this.chart.select;
    if (width === 0) return;
    const [from, to] = [left, left + width].map((x) => this.chart.posToVal(x, "x"));
    this.chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    const floor = Math.floor(from / this.step) * this.step;
    this.zoom(floor, Math.max(floor + this.step, Math.ceil(to / this.step) * this.step));
  }

  key(event) {
    if (!this.chart) return;
    const last = this.bars.length - 1;
    if (event.key === "ArrowLeft") this.point(this.at < 0 ? last : Math.max(0, this.at - 1));
    else if (event.key === "ArrowRight") this.point(this.at < 0 ? 0 : Math.min(last, this.at + 1));
    else if (event.key === "Enter" && this.at >= 0) this.zoom(this.bars[this.at].at - this.step, this.bars[this.at].at + 2 * this.step);
    else if (event.key === "Escape") this.zoom(null, null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Puts the cursor on the part of a bar that is in the range.
  point(index) {
    const from = Math.max(this.from, this.bars[index].at);
    const to = Math.min(this.to, this.bars[index].at + this.step);
    this.chart.setCursor({ left: this.chart.valToPos((from + to) / 2, "x"), top: 0 });
  }

  // Says what the bar under the cursor stands for.
  say() {
    const left = this.chart?.cursor.left ?? -1;
    this.at = left < 0 ? -1 : Math.floor((this.chart.posToVal(left, "x") - this.bars[0].at) / this.step);
    const bar = this.bars[this.at];
    this.tip.hidden = bar === undefined;
    if (!bar) return;
    const rate = bar.scored > 0 ? `, ${percent(bar.flagged / bar.scored)} of ${count(bar.scored)} scored` : "";
    this.tip.textContent = `${time(new Date(bar.at).toISOString())}  ${count(bar.flagged)} flagged${rate}`;
    const { offsetLeft, clientWidth } = this.chart.over;
    const right = left > clientWidth / 2;
    this.tip.style.left = right ? "" : `${offsetLeft + left + 10}px`;
    this.tip.style.right = right ? `${this.chart.width - offsetLeft - left + 10}px` : "";
  }
}

// Sessions by score, on a scale that is logarithmic but has a zero, and where the threshold is.
export class Histogram {
  constructor() {
    this.root = element("div", { class: "histogram", role: "img", "aria-label": "sessions by score" });
  }

  // `scores`: bounds of bins, which end at them, and how many sessions each has.
  show(scores, threshold) {
    this.scores = scores;
    this.threshold = threshold;
    const high = (bin) => threshold !== null && bin.bound > threshold;
    const drawn = [
      scores.map((_, index) => index + 0.5),
      scores.map((bin) => (high(bin) ? 0 : bin.sessions)),
      scores.map((bin) => (high(bin) ? bin.sessions : 0))];
    if (this.chart) this.chart.setData(drawn);
    else this.draw(drawn);
  }

  draw(drawn) {
    const bounds = () => this.scores.map((_, index) => index + 1);
    this.chart = plotWide(this.root, 160, {
      padding: [22, 4, 0, 4],
      scales: {
        x: { time: false, range: () => [0, this.scores.length] },
        y: { distr: 4, asinh: 1, range: (_, least, most) => [0, Math.max(1, most)] },
      },
      series: [{}, bars("y", "--less", { gap: 2, alpha: 0.75 }), bars("y", "--high", { gap: 2 })],
      axes: [
        axis({ splits: bounds, values: () => this.scores.map((bin) => String(bin.bound).replace(/^0(?=\.)/, "")), size: 20, gap: 3, align: 2, grid: { show: false } }),
        { show: false },
      ],
      cursor: { show: false },
      hooks: { draw: [(u) => this.label(u)] },
    }, drawn);
  }

  // How many sessions over each bar, and the threshold.
  label(u) {
    const { ctx, bbox } = u;
    const x = (at) => u.valToPos(at, "x", true);
    ctx.save();
    ctx.font = `${11 * uPlot.pxRatio}px ${style("--sans")}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    ctx.fillStyle = style("--dim");
    this.scores.forEach((bin, index) => {
      if (bin.sessions > 0) ctx.fillText(short(bin.sessions), x(index + 0.5), u.valToPos(bin.sessions, "y", true) - uPlot.pxRatio);
    });
    const over = this.scores.findIndex((bin) => this.threshold !== null && bin.bound > this.threshold);
    if (over >= 0) {
      const before = over > 0 ? this.scores[over - 1].bound : 0;
      const at = x(over + (this.threshold - before) / (this.scores[over].bound - before));
      ctx.strokeStyle = ctx.fillStyle = style("--high");
      ctx.setLineDash([3 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
      ctx.beginPath();
      ctx.moveTo(at, 0);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.textAlign = "right";
      ctx.fillText(`threshold ${this.threshold}`, at - 4 * uPlot.pxRatio, 12 * uPlot.pxRatio);
    }
    ctx.restore();
  }
}

// A small line of bars, evenly apart. It lasts until `end`.
export class Sparkline {
  constructor(label) {
    this.root = element("div", { class: "sparkline", role: "img", "aria-label": label });
  }

  show(values) {
    const drawn = [values.map((_, index) => index + 0.5), values];
    if (this.chart) this.chart.setData(drawn);
    else this.draw(drawn);
  }

  draw(drawn) {
    this.chart = plot(this.root, 120, 18, {
      padding: [0, 0, 0, 0],
      scales: { x: { time: false, range: (u) => [0, u.data[0].length] }, y: { range: (_, least, most) => [0, Math.max(1, most)] } },
      series: [{}, bars("y", "--less", { gap: 0.5, alpha: 0.75 })],
      axes: [{ show: false }, { show: false }],
      cursor: { show: false },
    }, drawn);
  }

  end() {
    this.chart?.destroy();
  }
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
